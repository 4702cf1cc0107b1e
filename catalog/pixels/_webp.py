"""WebP: the header by its chunks, and the picture freed of all that surrounds it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from catalog.pixels import _exif
from catalog.pixels._types import CORRUPT, TRUNCATED, Damaged

_START = 12  # behind RIFF, the size and WEBP
_PIXELS = (b"VP8 ", b"VP8L", b"ANMF")
_PICTURE = (b"VP8X", b"ALPH", b"ANIM", *_PIXELS)
_SURROUNDINGS = 0x20 | 0x08 | 0x04  # the flags of VP8X that announce a profile, EXIF and XMP


@dataclass(slots=True)
class WebpHeader:
    """Stored (not yet oriented) size, what surrounds the picture, and what is wrong with it (`complaint`)."""

    width: int
    height: int
    frames: int = 1
    orientation: int = 1
    icc: bytes | None = None
    complaint: str | None = None


def read_header(data: bytes) -> WebpHeader:
    """Pillow's reader reserves the whole canvas before it tells the size. Raises Damaged (truncated, corrupt)."""
    if len(data) < 30:
        raise Damaged(TRUNCATED, "the file ends inside the WebP header")
    header = _size(data)
    frames = 0
    for name, at, size in _chunks(data):
        if at + 8 + size > len(data) and name not in _PICTURE:
            header.complaint = f"the file ends inside its {name.decode('ascii', 'replace').strip()} chunk"
        if name == b"ANMF":
            frames += 1
        elif name == b"EXIF":
            header.orientation = _exif.orientation(data[at + 8 : at + 8 + size])
        elif name == b"ICCP":
            header.icc = data[at + 8 : at + 8 + size]
    header.frames = max(frames, 1)
    return header


def picture(data: bytes) -> bytes:
    """The file with nothing but the chunks that make the picture, its claimed size theirs."""
    kept, claimed = [], 4
    for name, at, size in _chunks(data):
        if name in _PICTURE:
            chunk = data[at : at + 8 + size + (size & 1)]
            if name == b"VP8X":
                chunk = chunk[:8] + bytes([chunk[8] & ~_SURROUNDINGS]) + chunk[9:]
            if size & 1 and len(chunk) == 8 + size:  # the file ends where the padding would be
                chunk += b"\0"
            kept.append(chunk)
            claimed += 8 + size + (size & 1)
    return b"".join((b"RIFF", struct.pack("<I", claimed & 0xFFFFFFFF), b"WEBP", *kept))


def _size(data: bytes) -> WebpHeader:
    kind = data[12:16]
    if kind == b"VP8 ":
        if data[23:26] != b"\x9d\x01\x2a":
            raise Damaged(CORRUPT, "no VP8 start code")
        width, height = struct.unpack_from("<HH", data, 26)
        return WebpHeader(width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        if data[20] != 0x2F:
            raise Damaged(CORRUPT, "no VP8L signature")
        (bits,) = struct.unpack_from("<I", data, 21)
        return WebpHeader((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind != b"VP8X":
        raise Damaged(CORRUPT, f"unknown first WebP chunk {kind!r}")
    return WebpHeader(1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little"))


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, where it starts, its size) of every chunk up to the end that the file claims, or beyond that up to the
    picture's; the last may reach beyond the data."""
    end = struct.unpack_from("<I", data, 4)[0] + 8
    at, found = _START, False
    while at + 8 <= len(data) and (at < end or not found):
        name, size = struct.unpack_from("<4sI", data, at)
        found = found or name in _PIXELS
        yield name, at, size
        at += 8 + size + (size & 1)
