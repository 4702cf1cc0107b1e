"""PNG: the header by its chunks, and the picture freed of all that surrounds it.

Texts, profiles, times and private chunks say nothing of the pixels, whatever their size or state: no decoder sees
them, and no text is decompressed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from catalog.pixels import _exif
from catalog.pixels._types import CORRUPT, TRUNCATED, Damaged

MAX_PROFILE = 2**24  # bytes of a colour profile, unpacked; camera makers' stay below 4 MB
_START = 8  # behind the signature
_PICTURE = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # what the pixels are made of
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # by colour type
_PLAIN = {0: cv2.IMREAD_GRAYSCALE, 2: cv2.IMREAD_COLOR_RGB}  # colour types: grey, RGB


@dataclass(slots=True)
class PngHeader:
    """Stored (not yet oriented) size, what decides how to decode, and what is wrong around it (`complaint`)."""

    width: int
    height: int
    depth: int  # bits a sample
    colour: int  # type: 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGBA
    frames: int = 1
    orientation: int = 1
    see_through: bool = False  # has a tRNS chunk
    icc: bytes | None = None
    complaint: str | None = None


def read_header(data: bytes) -> PngHeader:
    """Walk the chunks up to the first of the picture's data. Raises Damaged (truncated, corrupt)."""
    header: PngHeader | None = None
    animated, first_is_frame, exif = 0, False, b""
    for kind, at, after in _chunks(data):
        if after > len(data) and kind != b"IDAT":
            break
        body = slice(at + 8, after - 4)
        if header is None:
            header = _size(kind, data[body], data[after - 4 : after])
        elif kind == b"IHDR":
            raise Damaged(CORRUPT, "two IHDR chunks")
        elif kind == b"IDAT":
            if animated:  # where the picture itself is no frame, it is one more
                header.frames = animated + (not first_is_frame)
            header.orientation = _exif.orientation(exif)
            return header
        elif kind == b"IEND":
            raise Damaged(CORRUPT, "no IDAT chunk")
        elif kind == b"acTL":
            animated = struct.unpack_from(">I", data, at + 8)[0] if after - at >= 20 and not animated else 0
        elif kind == b"fcTL":
            first_is_frame = True
        elif kind == b"tRNS":
            header.see_through = True
        elif kind == b"eXIf":
            exif = data[body]
        elif kind == b"iCCP":
            try:
                header.icc = _profile(data[body])
            except (ValueError, zlib.error) as error:
                header.complaint = f"colour profile not used: {error}"
    raise Damaged(TRUNCATED, "the file ends inside the PNG header")


def complaint(data: bytes, checksums: bool = True) -> str | None:
    """What is wrong with the chunks: the end missing, or a checksum that Pillow does not look at."""
    damaged = None
    view = memoryview(data)
    for kind, at, after in _chunks(data):
        if after > len(data):
            break
        if checksums and damaged is None and kind == b"IDAT":
            (stored,) = struct.unpack_from(">I", data, after - 4)
            if zlib.crc32(view[at + 4 : after - 4]) != stored:
                damaged = "wrong checksum in an IDAT chunk"
        if kind == b"IEND":
            return damaged
    return damaged or "no IEND chunk"


def picture(data: bytes) -> bytes:
    """The file with nothing but the chunks that make the picture: what a cut file has of them."""
    kept, seen_data = [data[:_START]], False
    for kind, at, after in _chunks(data):
        seen_data |= kind == b"IDAT"
        if kind in _PICTURE and not (seen_data and kind in (b"PLTE", b"tRNS")):
            kept.append(data[at:after])
        if kind == b"IEND":
            break
    return b"".join(kept)


def plain(data: bytes, header: PngHeader) -> np.ndarray | None:
    """The pixels, uint8 [h, w] or [h, w, 3], of an undamaged picture of 8-bit grey or RGB without transparency by
    libpng, which is faster than Pillow; None for any other, which Pillow is to judge."""
    if header.depth != 8 or header.colour not in _PLAIN or header.see_through or complaint(data) is not None:
        return None
    return cv2.imdecode(np.frombuffer(picture(data), np.uint8), _PLAIN[header.colour])


def samples_of_16_bits(data: bytes) -> np.ndarray | None:
    """The samples, uint16 [h, w(, c)] in OpenCV's order, of a picture of 16 bits; None where libpng refuses it. Pillow
    keeps 16 bits of grey only."""
    samples = cv2.imdecode(np.frombuffer(picture(data), np.uint8), cv2.IMREAD_UNCHANGED)
    return samples if samples is not None and samples.dtype == np.uint16 else None


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, where it starts, where the next one starts) of every chunk; the last may reach beyond the data."""
    at = _START
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, at, at + 12 + length
        at += 12 + length


def _size(kind: bytes, body: bytes, checksum: bytes) -> PngHeader:
    if kind != b"IHDR" or len(body) < 13:
        raise Damaged(CORRUPT, "the first chunk is no IHDR")
    if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(checksum, "big"):
        raise Damaged(CORRUPT, "wrong checksum in the IHDR chunk")
    width, height, depth, colour, packing, filtering, _ = struct.unpack_from(">IIBBBBB", body)
    if depth not in _DEPTHS.get(colour, ()) or packing or filtering:
        what = f"colour type {colour} of {depth} bits, compression {packing}, filter {filtering}"
        raise Damaged(CORRUPT, f"a PNG of {what}")
    return PngHeader(width, height, depth, colour)


def _profile(body: bytes) -> bytes:
    """The profile of an iCCP chunk. Raises ValueError or zlib.error if it cannot be used."""
    name, _, packed = body.partition(b"\0")
    if packed[:1] != b"\0" or len(name) > 79:
        raise ValueError("its chunk is malformed")
    unpacking = zlib.decompressobj()
    found = unpacking.decompress(packed[1:], MAX_PROFILE)
    if unpacking.unconsumed_tail:
        raise ValueError(f"it is larger than {MAX_PROFILE} bytes")
    return found
