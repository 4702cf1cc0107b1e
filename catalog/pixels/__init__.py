"""Bytes to pixels by one set of rules, for scoring and training alike.

Every image becomes upright (EXIF) 8-bit sRGB. 16-bit samples are scaled, CMYK and embedded profiles converted
(littleCMS), transparency laid over a background, and of an animation the first composited frame is taken. The
decoder's verdict is a status, not a yes or no: damaged bytes never raise.
"""

from __future__ import annotations

from catalog.pixels import _exif, _formats, _jpeg, _raster
from catalog.pixels._listen import listening
from catalog.pixels._types import (
    CORRUPT,
    FAILURES,
    MISSING,
    OK,
    OK_WARNINGS,
    TIMEOUT,
    TOO_LARGE,
    TRUNCATED,
    UNSUPPORTED,
    Damaged,
    Decoded,
    Header,
)

__all__ = [
    "CORRUPT",
    "FAILURES",
    "MAX_PIXELS",
    "MISSING",
    "OK",
    "OK_WARNINGS",
    "TIMEOUT",
    "TOO_LARGE",
    "TRUNCATED",
    "UNSUPPORTED",
    "Decoded",
    "Header",
    "decode",
    "probe",
]

MOST = 2**31 - 1  # of a side's pixels, and of frames: what the catalog's columns hold
MAX_PIXELS = 2**27  # 134 million: every camera in use but a few; 400 MB of RGB in one worker


def probe(data: bytes) -> Header:
    """Format, oriented size and frame count by the header alone; no pixel is decoded and nothing raises.

    The status is `ok` (the header is fine; the pixels may yet prove damaged), `ok-warnings` (so it is, though its
    reader had something to say), `truncated`, `corrupt`, `unsupported`, or `too-large` for more than MAX_PIXELS, with
    the true size. A side is at most MOST; more frames than that count as so many.
    """
    return _inspect(data)[0]


def decode(
    data: bytes,
    side: int | tuple[int, int] | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
) -> Decoded:
    """The image as upright sRGB uint8 [H, W, 3], or a Decoded without pixels that says why; data never raise.

    `side` is a hint that saves time: a JPEG comes at the smallest of the scales 1/8, 1/4, 1/2, 1 (sizes round
    down) whose short side is still at least `side` pixels, or that still has the (width, height) `side`.
    `background`, (r, g, b) in 0..255, shows where the image is see-through.
    """
    header, opened = _inspect(data)
    if opened is None:
        return _failed(header, header.status, header.reason)
    try:
        if isinstance(opened, _jpeg.JpegHeader):
            least = (side, side) if isinstance(side, int) else side
            if least and _exif.swaps_sides(header.orientation):
                least = least[1], least[0]
            rgb, warnings = _jpeg.decode(data, opened, least)
            alpha = False
        else:
            assert header.format is not None
            rgb, alpha, warnings = _raster.decode(data, header.format, opened, background)
    except Damaged as damage:
        return _failed(header, damage.status, damage.reason)
    except MemoryError:
        return _failed(header, TOO_LARGE, "not enough memory for the pixels")
    warnings = list(dict.fromkeys([*([header.reason] if header.reason else []), *warnings]))
    return Decoded(
        _exif.upright(rgb, header.orientation),
        header.width,
        header.height,
        header.format,
        header.frames,
        alpha,
        OK_WARNINGS if warnings else OK,
        "; ".join(warnings) or None,
    )


def _failed(header: Header, status: str, reason: str | None) -> Decoded:
    return Decoded(None, header.width, header.height, header.format, header.frames, False, status, reason)


def _inspect(data: bytes) -> tuple[Header, _formats.Opened | None]:
    """The header, and what reading it has opened, so that decoding need not open it again; None for a failure."""
    fmt = None
    try:
        fmt = _formats.sniff(data)
        if fmt in _formats.PILLOWS:
            with listening(fmt) as heard:
                opened = _formats.read_header(data, fmt)
        else:
            heard, opened = [], _formats.read_header(data, fmt)
    except Exception as error:  # whatever a reader raises on damaged bytes is its verdict on them
        damage = _formats.verdict(error, data, fmt or "")
        return Header(fmt, status=damage.status, reason=damage.reason), None
    width, height, orientation = opened.width, opened.height, opened.orientation
    frames = min(max(opened.frames, 1), MOST)
    if _exif.swaps_sides(orientation):
        width, height = height, width
    if not (1 <= width <= MOST and 1 <= height <= MOST):
        return Header(fmt, status=CORRUPT, reason=f"an image of {width}x{height} pixels"), None
    if width * height > MAX_PIXELS:
        reason = f"{width}x{height} is more than {MAX_PIXELS} pixels"
        return Header(fmt, width, height, frames, TOO_LARGE, reason, orientation), None
    said = "; ".join([*heard, *filter(None, [opened.complaint])])
    return Header(fmt, width, height, frames, OK_WARNINGS if said else OK, said or None, orientation), opened
