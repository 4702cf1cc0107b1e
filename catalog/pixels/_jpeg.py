"""JPEG: the header by its markers, the pixels by libjpeg-turbo, Pillow for what that refuses."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import simplejpeg
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from catalog.pixels import _colour, _exif
from catalog.pixels._types import CORRUPT, TRUNCATED, UNSUPPORTED, Damaged

_EOI = b"\xff\xd9"
_SOS = 0xDA
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = (0xC2, 0xCA)
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_SCALES = (8, 4, 2)  # the DCT scales with fast code paths; others decode slower than full size
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}


@dataclass(slots=True)
class JpegHeader:
    """Stored (not yet oriented) size and what decides how to decode."""

    width: int
    height: int
    components: int
    precision: int
    frame: int  # SOF marker
    scan_at: int = 0  # where the first scan starts
    exif: bytes | None = None
    icc_chunks: list[tuple[int, bytes]] = field(default_factory=list)

    frames: ClassVar[int] = 1
    complaint: ClassVar[None] = None

    @property
    def orientation(self) -> int:
        return _exif.orientation(self.exif)

    @property
    def icc(self) -> bytes | None:
        return b"".join(chunk for _, chunk in sorted(self.icc_chunks)) or None


def read_header(data: bytes) -> JpegHeader:
    """Walk the markers up to the first scan. Raises Damaged (truncated, corrupt)."""
    at, end = 2, len(data)
    header: JpegHeader | None = None
    exif: bytes | None = None
    icc_chunks: list[tuple[int, bytes]] = []
    while True:
        at = data.find(b"\xff", at)
        while 0 <= at < end - 1 and data[at + 1] == 0xFF:  # fill bytes
            at += 1
        if at < 0 or at + 4 > end:
            raise Damaged(TRUNCATED, "the file ends inside the JPEG header")
        marker = data[at + 1]
        if marker == 0xD9:
            raise Damaged(CORRUPT, "the JPEG ends before any image data")
        if marker == 0 or marker in _STANDALONE:
            at += 2
            continue
        length = (data[at + 2] << 8) | data[at + 3]
        body, after = at + 4, at + 2 + length
        if length < 2:
            raise Damaged(CORRUPT, f"JPEG segment of impossible length {length}")
        if after > end:
            raise Damaged(TRUNCATED, "the file ends inside the JPEG header")
        if marker in _FRAME_MARKERS and header is None:
            if length < 8:
                raise Damaged(CORRUPT, "the JPEG frame header is too short")
            precision, height, width, components = struct.unpack_from(">BHHB", data, body)
            if not width or not height:
                raise Damaged(CORRUPT, f"JPEG of {width}x{height} pixels")
            header = JpegHeader(width, height, components, precision, marker)
        elif marker == 0xE1 and exif is None and data.startswith(b"Exif\0", body):
            exif = data[body:after]
        elif marker == 0xE2 and data.startswith(b"ICC_PROFILE\0", body) and length >= 16:
            icc_chunks.append((data[body + 12], data[body + 14 : after]))
        elif marker == _SOS:
            if header is None:
                raise Damaged(CORRUPT, "the JPEG has image data but no frame header")
            header.scan_at, header.exif, header.icc_chunks = after, exif, icc_chunks
            return header
        at = after


def picture(data: bytes, scan_at: int) -> bytes:
    """The file with nothing before its first scan, which starts at `scan_at`, but what makes the picture: Pillow
    stumbles over malformed segments of applications. JFIF and Adobe say how colours are meant."""
    kept, at = [data[:2]], data.find(b"\xff", 2)
    while at < scan_at:
        marker = data[at + 1]
        if marker == 0xFF or marker == 0 or marker in _STANDALONE:
            at = data.find(b"\xff", at + (1 if marker == 0xFF else 2))
            continue
        after = at + 2 + ((data[at + 2] << 8) | data[at + 3])
        jfif = marker == 0xE0 and data.startswith(b"JFIF\0", at + 4) and after - at >= 18
        if jfif or marker == 0xEE or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(data[at:after])
        at = after if after >= scan_at else data.find(b"\xff", after)
    return b"".join([*kept, data[scan_at:]])


def decode(data: bytes, header: JpegHeader, least: tuple[int, int] | None) -> tuple[np.ndarray, list[str]]:
    """Stored (not yet oriented) sRGB pixels uint8 [h, w, 3] and the decoder's warnings.

    With `least`, the smallest of the scales 1/8, 1/4, 1/2, 1 whose stored (width, height) is at least that.
    Raises Damaged (truncated, corrupt, unsupported).
    """
    mode = _MODES.get(header.components)
    if mode is None:
        raise Damaged(UNSUPPORTED, f"JPEG with {header.components} colour components")
    icc = header.icc
    asked = {"L": "RGB" if icc is None else "GRAY", "RGB": "RGB", "CMYK": "CMYK"}[mode]
    factor = _scale_factor(header, least)
    rows, columns = header.height // factor, header.width // factor
    scale = {}
    if factor > 1:
        scale = {
            "min_factor": factor,
            "min_height": -(-header.height // factor),
            "min_width": -(-header.width // factor),
        }
    warnings: list[str] = []
    try:
        pixels = simplejpeg.decode_jpeg(data, asked, **scale)
    except ValueError as strict_error:
        pixels, warning = _second_opinion(data, header, asked, scale, _plain(strict_error))
        warnings += [warning] if warning else []
    if factor > 1 and pixels.shape[:2] != (rows, columns):
        # a last row or column made of less than `factor` pixels; full-size box averaging has none either
        pixels = np.ascontiguousarray(pixels[:rows, :columns])
    if asked == "CMYK":
        pixels = 255 - pixels  # as Adobe writes it, and so everyone: 255 is no ink
    if icc is None and asked == "RGB":
        return pixels, warnings
    image = Image.fromarray(
        pixels[:, :, 0] if pixels.shape[2] == 1 else pixels, mode=None if asked != "CMYK" else "CMYK"
    )
    converted, warning_or_none = _colour.to_srgb(image, icc)
    if warning_or_none:
        warnings.append(warning_or_none)
    return (pixels if converted is image and asked == "RGB" else np.asarray(converted)), warnings


def _scale_factor(header: JpegHeader, least: tuple[int, int] | None) -> int:
    if least is None:
        return 1
    width, height = least
    fits = (f for f in _SCALES if header.width // f >= width and header.height // f >= height)
    return next(fits, 1)


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())


def _second_opinion(
    data: bytes, header: JpegHeader, asked: str, scale: dict[str, int], complaint: str
) -> tuple[np.ndarray, str | None]:
    """The strict decoder complained: is the picture whole? Returns pixels and the warning, if one is left."""
    if "Premature end of JPEG file" in complaint:
        # Only the end marker may be lacking. A progressive file could equally lack its last scans, which no
        # decoder tells, so it gets no benefit of the doubt.
        if header.frame not in _PROGRESSIVE:
            try:
                return simplejpeg.decode_jpeg(data + _EOI, asked, **scale), "no end-of-image marker"
            except ValueError:
                pass
        raise Damaged(TRUNCATED, complaint)
    if "premature end of data segment" in complaint:
        raise Damaged(CORRUPT, f"{complaint}: part of the picture is filler")
    if data.find(_EOI, header.scan_at) < 0:
        raise Damaged(TRUNCATED, f"{complaint}, and no end-of-image marker")
    try:
        return simplejpeg.decode_jpeg(data, asked, strict=False, **scale), complaint
    except ValueError as fatal:
        pixels = _by_pillow(data, header, asked, scale, _plain(fatal))
        # an uncommon but valid subsampling is TurboJPEG's limit, not the file's fault
        return pixels, None if "subsampling" in str(fatal) else _plain(fatal)


def _by_pillow(
    data: bytes, header: JpegHeader, asked: str, scale: dict[str, int], complaint: str
) -> np.ndarray:
    """The pixels of a JPEG that TurboJPEG refuses, at the same scale."""
    try:
        image = JpegImageFile(io.BytesIO(picture(data, header.scan_at)))
        if scale:
            image.draft(
                image.mode, (header.width // scale["min_factor"], header.height // scale["min_factor"])
            )
        image.load()
    except Exception as error:  # whatever a decoder raises on damaged bytes is its verdict on them
        unusual = header.precision != 8 or header.frame not in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
        raise Damaged(UNSUPPORTED if unusual else CORRUPT, f"{complaint}; {_plain(error)}") from None
    if asked == "CMYK":
        return 255 - np.asarray(image.convert("CMYK"))
    pixels = np.asarray(image.convert("L" if asked == "GRAY" else "RGB"))
    return pixels[:, :, None] if asked == "GRAY" else pixels
