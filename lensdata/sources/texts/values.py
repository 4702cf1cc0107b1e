"""What a field of JSON or a cell of a table is as a text, by what names it is known, and why it is none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from catalog.bytes import locate
from lensdata.sources.texts.decode import READ_AS_WESTERN, Undecodable, decode, piece

# What sources call the three texts, best first, in whatever case.
NAMES = {
    "alt_text": ("text", "caption", "alt_text", "alt", "txt", "captions", "texts"),
    "brief_text": ("brief", "brief_caption", "short_caption"),
    "dense_text": ("dense", "dense_caption", "long_caption", "detailed_caption", "recaption"),
}
OF_JSON = NAMES | {
    "alt_text": ("caption", "text", "alt", "alt_text", "title", "description", "captions", "texts")
}
ORIGIN = {"url": ("url",), "licence": ("licence", "license")}
FIRST = "only the first of several texts is used"
NULS, SURROGATES = "NUL characters removed", "lone surrogates removed"
MENDED = (
    FIRST,
    NULS,
    SURROGATES,
    READ_AS_WESTERN,
)  # told of a text that is used; all else of one that is not

ROW = "its row of the table: "  # before what is wrong with that

Read = tuple[str | None, str | None]  # a text, and what is to be told of it


def as_text(value: Any, western: bool | None = None) -> Read:
    """`value` as a text. Of a list the first text counts, and that there are more is told; numbers and objects are no
    text, and that is told. With `western`, strings are pieces of a decode.stream."""
    if value is None:
        return None, None
    if type(value) is str and (western is None or value.isascii()):  # nearly all
        return value.strip() or None, None
    try:
        if isinstance(value, bytes):
            text, told = decode(value)
            return text.strip() or None, told
        if isinstance(value, str):
            text, told = piece(value, bool(western))
            return text.strip() or None, told
    except Undecodable as error:
        return None, str(error)
    if isinstance(value, list | tuple):
        read = [as_text(part, western) for part in value if not isinstance(part, list | tuple | dict)]
        texts = [part for part in read if part[0]]
        if not texts:
            return None, next((told for _, told in read if told), "a list without a text" if value else None)
        return texts[0] if len(texts) == 1 else (texts[0][0], told_once([texts[0][1], FIRST]))
    kind = "a number" if isinstance(value, int | float) else "an object"
    return None, f"{kind}, no text"


def mended(text: str | None) -> Read:
    """`text` as the catalog can hold it: without NUL characters and lone surrogates."""
    if text is None:
        return None, None
    told = NULS if "\0" in text else None
    if not text.isascii() and (clean := text.encode("utf-8", "ignore").decode()) != text:
        text, told = clean, told or SURROGATES
    return text.replace("\0", "").strip() or None, told


def texts_of(fields: dict[str, Any], names: Mapping[str, Sequence[str]]) -> dict[str, str | None]:
    """The texts, origin and alt_error in an object's `fields`: of each the first of its `names` that holds one."""
    lowered = {key.lower(): value for key, value in reversed(fields.items())}
    found: dict[str, str | None] = {}
    told: list[str | None] = []
    for column, keys in names.items():
        there = [(key, as_text(lowered[key])) for key in keys if lowered.get(key) is not None]
        used = [(key, read) for key, read in there if read[0]]
        plain = [(key, read) for key, read in used if isinstance(lowered[key], str)]  # before a list
        key, (text, why) = (plain or used or there or [("", (None, None))])[0]
        found[column] = text
        if why and column in NAMES:
            told.append(why if text else f"{key}: {why}")
    return found | {"alt_error": told_once(told)}


def finished(found: dict[str, str | None], told: Iterable[str | None] = ()) -> dict[str, str | None]:
    """What was found of an image, as the catalog holds it, with all that is told of its texts as alt_error."""
    problems = [found.get("alt_error"), *told]
    done: dict[str, str | None] = {}
    for column, text in found.items():
        if column == "alt_error":
            continue
        done[column], why = mended(locate.without_login(text) if column == "url" and text else text)
        problems.append(why)
    return done | {"alt_error": mended(told_once(problems))[0]}


def told_once(told: Iterable[str | None]) -> str | None:
    """Several things that are told, as one text."""
    return "; ".join(dict.fromkeys(one for one in told if one)) or None


def kinds_of(alt_error: str) -> list[tuple[str, bool]]:
    """What an alt_error tells, without what is of this image alone (in brackets), and whether that text is used."""
    kinds = dict.fromkeys(re.sub(r" \(.*", "", one) for one in alt_error.split("; "))
    return [(kind, kind in MENDED) for kind in kinds]


def counted(errors: Iterable[str]) -> tuple[Counter[str], Counter[str]]:
    """How many texts were not used, and how many mended, by reason."""
    unused, repaired = Counter[str](), Counter[str]()
    for error in errors:
        for kind, used in kinds_of(error):
            (repaired if used else unused)[kind] += 1
    return unused, repaired


def guess(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    """The first of `wanted` among `names`, in whatever case, that stands there once."""
    for want in wanted:
        same = [name for name in names if name.lower() == want]
        exact = [name for name in same if name == want] or same
        if len(exact) == 1:
            return exact[0]
    return None
