"""Reading somebody else's JSON: whatever is wrong with it is said in plain words."""

from __future__ import annotations

import json
from typing import Any

DEEP = "JSON that is nested too deeply"


def from_json(text: str | bytes) -> Any:
    """The value that `text` holds. A whole number of more digits than Python reads is one without bound. Raises
    ValueError, of which the message is the reason."""
    try:
        return _loaded(text)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not JSON ({error})") from None
    except RecursionError:
        raise ValueError(DEEP) from None


def _loaded(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except ValueError:  # of Python's limit on the digits of a whole number
        return json.loads(text, parse_int=float)
