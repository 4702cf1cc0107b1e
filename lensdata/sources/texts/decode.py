"""Bytes to text by fixed rules, which never guess: what is not surely text of one encoding is refused.

In this order: a byte order mark decides; strict UTF-8; UTF-16 without a mark, if the zero bytes of its Latin letters
show which half of each unit is which; Windows-1252 (of which Latin-1 is a part), if the text reads like a Western
European language in it (`_western`). Everything else raises `Undecodable`: a caption that was not understood is worse
than none. Libraries that guess an encoding answer otherwise from release to release, and always answer something.
"""

from __future__ import annotations

import codecs
import io
import re
from typing import IO

MARKS = (  # UTF-32's little-endian mark begins like UTF-16's
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
WIDE = tuple(name for _, name in MARKS if name != "utf-8")
WESTERN = "cp1252"
READ_AS_WESTERN = "read as Windows-1252, since it is not UTF-8"
NOT_TEXT = "neither UTF-8 nor UTF-16, and not surely Windows-1252"
SAMPLE = 2**18  # bytes of a file by which its encoding is known

# Two or more bytes that are one character of UTF-8, or its start at the end: a text that has them and is no UTF-8 was
# damaged, cut or mixed.
UTF8_PIECE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}|[\xe0-\xf4][\x80-\xbf]{1,2}\Z"
)
CONTROLS = re.compile(rb"[\x01-\x08\x0e-\x1f]")
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
LETTER = r"[^\W\d_]"
# No Western language has a sign within a word (as other code pages have their letters there), three accented letters
# in a row, or an accented capital after a small letter.
SIGN_IN_WORD = re.compile(
    rf"{LETTER}[\u00a1-\u00a9\u00ab\u00ac\u00ae-\u00b6\u00b8\u00b9\u00bb-\u00bf\u00d7\u00f7]{LETTER}"
)
MANY_ACCENTS = re.compile(r"(?:(?=[^\W\d_])[^\x00-\x7f]){3}")
CAPITAL_WITHIN = re.compile(
    r"[a-z\u00df-\u00f6\u00f8-\u00ff\u0161\u017e\u0153][\u00c0-\u00d6\u00d8-\u00de\u0160\u017d\u0152\u0178]"
)


class Undecodable(ValueError):
    """Bytes that are not surely text."""

    def __init__(self) -> None:
        super().__init__(NOT_TEXT)


def encoding_of(data: bytes, whole: bool = True) -> str:
    """The encoding of `data`, the start of a text or, if `whole`, all of it; a mark is no part of what it names.

    Raises Undecodable.
    """
    for mark, name in MARKS:
        if data.startswith(mark):
            return _sure(data[len(mark) :], name, whole)
    if wide := _wide(data):
        return _sure(data, wide, whole)
    if _is(data, "utf-8", whole):
        if _is_binary(data):
            raise Undecodable
        return "utf-8"
    return _sure(data, WESTERN, whole)


def decode(data: bytes) -> tuple[str, str | None]:
    """The text, without a mark, and what is to be told of its encoding. Raises Undecodable."""
    name = encoding_of(data)
    mark = next((mark for mark, _ in MARKS if data.startswith(mark)), b"")
    return data[len(mark) :].decode(name), READ_AS_WESTERN if name == WESTERN else None


def stream(file: IO[bytes]) -> tuple[io.TextIOWrapper, bool]:
    """A text file for reading line by line, and whether its start reads as Windows-1252.

    Wide encodings are decoded strictly and raise UnicodeError on the way. Of the others each piece is for `piece` to
    decode: what is not UTF-8 stands in it as lone surrogates. Raises Undecodable for what is no text at its start, and
    OSError.
    """
    start = file.read(SAMPLE)
    try:
        name = encoding_of(start, whole=len(start) < SAMPLE)
    except Undecodable:
        if (
            b"\0" in start
            or _is_binary(start)
            or start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        ):
            raise
        name = "utf-8"  # some of its pieces may be decoded
    mark = next((len(mark) for mark, _ in MARKS if start.startswith(mark)), 0)
    file.seek(mark)
    if name in WIDE:
        return io.TextIOWrapper(file, name, newline=""), False
    return io.TextIOWrapper(file, "utf-8", errors="surrogateescape", newline=""), name == WESTERN


def piece(text: str, western: bool) -> tuple[str, str | None]:
    """A piece of a `stream`, and what is to be told of it. In a `western` file what can be Windows-1252 is that, be it
    too short to show it. Raises Undecodable."""
    if text.isascii():
        return text, None
    try:
        text.encode()
        return text, None
    except UnicodeEncodeError:
        data = text.encode("utf-8", "surrogateescape")
    if (
        western
        and not UTF8_PIECE.search(data)
        and _is(data, WESTERN)
        and not CONTROL.search(data.decode(WESTERN))
    ):
        return data.decode(WESTERN), READ_AS_WESTERN
    return decode(data)


def _sure(data: bytes, name: str, whole: bool) -> str:
    if name == WESTERN and not _western(data):
        raise Undecodable
    if not _is(data, name, whole):
        raise Undecodable
    return name


def _is(data: bytes, name: str, whole: bool = True) -> bool:
    try:
        codecs.getincrementaldecoder(name)().decode(data, final=whole)
    except UnicodeError:
        return False
    return True


def _wide(data: bytes) -> str | None:
    """UTF-16 without a mark: one half of the units' bytes has no zero, and of the other three quarters are
    zero; fewer may be a text that NUL characters got into."""
    first, second = data[0::2].count(0), data[1::2].count(0)
    units = len(data) // 2
    if units < 2 or not (first or second) or (first and second):
        return None
    return ("utf-16-be" if first else "utf-16-le") if 4 * max(first, second) >= 3 * units else None


def _is_binary(data: bytes) -> bool:
    """Whether control characters are too many for a text: UTF-16 of other scripts looks like this without a mark."""
    return 10 * len(CONTROLS.findall(data)) > len(data)


def _western(data: bytes) -> bool:
    """Whether the bytes read like a Western European language in Windows-1252: words with a few accented letters. What
    other code pages, double-byte encodings and broken UTF-8 look like in it does not."""
    if UTF8_PIECE.search(data) or not _is(data, WESTERN):
        return False
    text = data.decode(WESTERN)
    if CONTROL.search(text):
        return False
    plain = sum(char.isalpha() for char in text if char.isascii())
    accented = sum(char.isalpha() for char in text if not char.isascii())
    if accented > plain:
        return False
    return not any(rule.search(text) for rule in (SIGN_IN_WORD, MANY_ACCENTS, CAPITAL_WITHIN))
