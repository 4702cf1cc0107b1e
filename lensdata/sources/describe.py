"""What ingest learns of an item by reading it once: the hash and header of its bytes, and its text."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from pathlib import PurePosixPath
from typing import Any

from catalog import pixels
from catalog.bytes import locate
from catalog.bytes.locate import Reading
from catalog.errors import LensError, Unreadable
from catalog.extras import Missing
from lensdata.sources.item import Item, Range
from lensdata.sources.texts import values
from lensdata.sources.texts.decode import decode
from lensdata.sources.texts.json_text import from_json

MAX_IMAGE_BYTES = 2**30
NO_FIELD = "sidecar .json: no field that is known to be a text"
MAX_TEXT_BYTES = 2**24
TEXT_COLUMNS = ("alt_text", "brief_text", "dense_text", "alt_error", "licence", "url")


def describe(item: Item, reading: Reading = nullcontext) -> dict[str, Any]:
    """The columns of `images` that the item itself decides. Whatever is wrong with it becomes its status: a single
    item raises nothing. What is waited for is waited for within `reading()`. Raises Missing where nothing installed
    reads its scheme."""
    try:
        if item.failed:
            status, reason = item.failed
            return describe_text(item, reading) | {"status": status, "status_reason": clean(reason)}
        return describe_text(item, reading) | _image(item, reading)
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


def describe_text(item: Item, reading: Reading = nullcontext) -> dict[str, Any]:
    """Of the columns of `describe` the texts, licence and url: what the source gives, else a sidecar. alt_text is the
    .txt or .caption, else a caption field of the .json; brief_text and dense_text are fields of the .json. What could
    not be used, and what was mended, is alt_error."""
    found = dict.fromkeys(TEXT_COLUMNS) | dict(item.given or {})
    told: list[str | None] = []
    passing = False  # a storage did not answer
    if item.text and not found["alt_text"]:
        ending = PurePosixPath(item.text[0]).suffix.lower()
        kind = f"sidecar {ending if ending == '.caption' else '.txt'}"
        try:
            text, why = decode(_sidecar(item.text, reading))
            found["alt_text"] = text.strip() or None
            told.append(why)
        except (ValueError, LensError) as error:
            told.append(f"{kind}: {_why(error)}")
            passing = passing or getattr(error, "passing", False)
    if item.json:
        try:
            fields = _fields(item.json, reading)
            why = fields.pop("alt_error")
            told.append(None if why == NO_FIELD and any(found[name] for name in values.NAMES) else why)
            found = fields | {column: text for column, text in found.items() if text}
        except (ValueError, LensError) as error:
            told.append(f"sidecar .json: {_why(error)}")
            passing = passing or getattr(error, "passing", False)
    return values.finished(found, told) | ({"passing": True} if passing else {})


def _why(error: Exception) -> str:
    return f"cannot be read ({error})" if isinstance(error, Unreadable) else str(error)


def _fields(where: Range, reading: Reading) -> dict[str, Any]:
    """The texts and origin in a .json."""
    data, told = _sidecar(where, reading), None
    if b"\0" in data[:4]:  # JSON begins with ASCII, so that its zero bytes tell UTF-16 and UTF-32 for sure
        fields = from_json(data)
    else:
        text, told = decode(data)
        fields = from_json(text)
    if not isinstance(fields, dict):
        raise ValueError("not an object of JSON")
    found: dict[str, Any] = values.texts_of(fields, values.OF_JSON | values.ORIGIN)
    problems = [found["alt_error"], told]
    if "imported_from" in fields:  # what was told of the row that we copied
        problems.append(values.as_text(fields.get("alt_error"))[0])
    elif _has_others(fields):
        problems.append(NO_FIELD)
    return found | {"alt_error": values.told_once(problems)}


def _has_others(fields: dict[str, Any]) -> bool:
    """Whether no field has a name that is known to be a text's, and another may be one."""
    known = {key for names in values.OF_JSON.values() for key in names}
    origin = {key for names in values.ORIGIN.values() for key in names}
    return known.isdisjoint(key.lower() for key in fields) and any(
        isinstance(value, str) and key.lower() not in origin for key, value in fields.items()
    )


def _sidecar(where: Range, reading: Reading) -> bytes:
    if where[2] > MAX_TEXT_BYTES:
        raise ValueError(f"too long ({where[2]} bytes; the most that is read is {MAX_TEXT_BYTES})")
    with reading():
        return locate.read(*where)
