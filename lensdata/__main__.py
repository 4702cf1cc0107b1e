"""The command lensdata, also as `python -m lensdata`."""

from __future__ import annotations

import os
import sys

from catalog import metrics
from catalog.errors import BadInput


def main() -> None:
    """Entry point. Metrics of one's own are registered first, since options are made from the registry."""
    try:
        metrics.load_own()
    except BadInput as error:
        if os.environ.get("LENS_TRACEBACK"):
            raise
        print(f"lensdata: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    from lensdata.cli import main as command

    command()


if __name__ == "__main__":
    main()
