"""What a cell of an image column holds: bytes, however they are written, or a path or URL."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from catalog import pixels

MAX_PATH = 4096  # bytes of a path, and characters of a URL, beyond which a text is neither
BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]{32,}={0,2}\s*")
NOT_A_PLACE = "too long a text for a path or URL, and no image in base64"
NOT_DATA = "a data: URI that cannot be decoded"

Cell = tuple[
    bytes | None, str | None, str | None
]  # bytes, or a path or URL, or why there is neither; or nothing


def image_of(value: Any) -> Cell:
    """The image in a cell. A `data:` URI is what it holds, and so is base64, if that decodes to an image."""
    parts = [value.get("bytes"), value.get("path")] if isinstance(value, dict) else [value]
    data = next((found for part in parts if (found := _bytes(part))), None)
    text = next((part.strip() for part in parts if isinstance(part, str) and part.strip()), None)
    if data or text is None:
        return data, text, None
    if text[:5].lower() == "data:":
        written = _data_uri(text)
        return written, None, None if written else NOT_DATA
    if written := _base64(text):
        return written, None, None
    return (None, text, None) if len(text) <= MAX_PATH else (None, None, NOT_A_PLACE)


def _bytes(part: Any) -> bytes | None:
    if isinstance(part, bytes):
        return part
    if isinstance(part, list) and part and all(type(n) is int and 0 <= n < 256 for n in part):
        return bytes(part)
    return None


def _data_uri(text: str) -> bytes | None:
    head, comma, rest = text.partition(",")
    if not comma:
        return None
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(rest)
    return _decoded(unquote_to_bytes(rest).decode("ascii", "replace"))


def _base64(text: str) -> bytes | None:
    """The image that `text` is in base64: a path may look like base64, but does not decode to an image's header."""
    if len(text) < 32 or not BASE64.fullmatch(text):
        return None
    start = _decoded(re.sub(r"\s", "", text[:512])[:256])  # enough to see of most paths that they are none
    if start is None or pixels.probe(start).format is None:
        return None
    data = _decoded(text)
    return data if data and (pixels.probe(data).width or len(text) > MAX_PATH) else None


def _decoded(text: str) -> bytes | None:
    """The bytes of base64, of either alphabet, also without what fills its end."""
    text = re.sub(r"\s", "", text).rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
