"""What ingest learns of an item by reading it once: the hash and header of its bytes, and its text."""

from __future__ import annotations

import hashlib
import json
from contextlib import nullcontext
from typing import Any

from catalog import pixels
from catalog.bytes import locate
from catalog.bytes.locate import Reading
from catalog.errors import LensError
from catalog.extras import Missing
from lensdata.sources.item import BRIEF_NAMES, DENSE_NAMES, Item, Range

MAX_IMAGE_BYTES = 2**30
MAX_TEXT_BYTES = 2**24
KEYS = {
    "alt_text": ("caption", "text", "alt", "alt_text", "title", "description"), "brief_text": BRIEF_NAMES,
    "dense_text": DENSE_NAMES,
}  # fmt: skip
TEXT_COLUMNS = ("alt_text", "brief_text", "dense_text", "alt_error", "licence", "url")


def describe(item: Item, reading: Reading = nullcontext) -> dict[str, Any]:
    """The columns of `images` that the item itself decides. Whatever is wrong with it becomes its status: a single
    item raises nothing. What is waited for is waited for within `reading()`. Raises Missing where nothing installed
    reads its scheme."""
    try:
        if item.failed:
            status, reason = item.failed
            return _text(item, reading) | {"status": status, "status_reason": clean(reason)}
        return _text(item, reading) | _image(item, reading)
    except Missing:  # of the whole installation, no fault of the item
        raise
    except MemoryError:
        return {"status": pixels.TOO_LARGE, "status_reason": "not enough memory to read it"}
    except Exception as error:  # one item must never stop a job of millions
        reason = clean(f"{type(error).__name__}: {error}")
        return {"status": pixels.CORRUPT, "status_reason": reason}


def clean(text: str) -> str:
    """`text` without what UTF-8 cannot hold (lone surrogates)."""
    return text.encode("utf-8", "ignore").decode()


def _image(item: Item, reading: Reading) -> dict[str, Any]:
    try:
        with reading():
            data = locate.read(item.uri, item.offset, item.length, most=MAX_IMAGE_BYTES)
    except Missing:
        raise
    except LensError as error:  # Unreadable, or a scheme that nothing here reads
        status, passing = getattr(error, "status", pixels.MISSING), getattr(error, "passing", False)
        return {"status": status, "status_reason": clean(str(error)), "passing": passing or None}
    header = pixels.probe(data)
    return {
        "byte_length": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "format": header.format,
        "width": header.width,
        "height": header.height,
        "frames": header.frames,
        "status": header.status,
        "status_reason": clean(header.reason) if header.reason else None,
    }


def _text(item: Item, reading: Reading) -> dict[str, Any]:
    """The texts, licence and url from the sidecars. alt_text is the .txt, else a caption field of the .json; brief_text
    and dense_text are fields of the .json."""
    found = dict(item.given or {})
    problems = []
    if item.json:
        try:
            fields = json.loads(_sidecar(item.json, reading))
            if not isinstance(fields, dict):
                raise ValueError("it is not an object")
            found["licence"] = _string(fields.get("licence") or fields.get("license"))
            found["url"] = _string(fields.get("url"))
            for column, keys in KEYS.items():
                found[column] = next((text for key in keys if (text := _string(fields.get(key)))), None)
        except (ValueError, LensError, RecursionError) as error:
            problems.append(f"sidecar .json: {error}")
    if item.text:
        try:
            found["alt_text"] = _sidecar(item.text, reading).decode("utf-8-sig").strip() or found.get(
                "alt_text"
            )
        except (ValueError, LensError) as error:
            problems.append(f"sidecar .txt: {error}")
    if url := found.get("url"):
        found["url"] = locate.without_login(url)
    for column, text in found.items():
        mended = clean(text or "").replace("\0", "")
        found[column] = mended.strip() or None
        if text and mended != text:
            problems.append("NUL characters removed" if "\0" in text else "lone surrogates removed")
    return {**found, "alt_error": clean("; ".join(dict.fromkeys(problems))) or None}


def _sidecar(where: Range, reading: Reading) -> bytes:
    if where[2] > MAX_TEXT_BYTES:
        raise ValueError(f"{where[2]} bytes; the most that is read is {MAX_TEXT_BYTES}")
    with reading():
        return locate.read(*where)


def _string(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None
