"""Everything but JPEG: the first composited frame of any mode as sRGB on a background."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from catalog.pixels import _colour
from catalog.pixels._formats import listening, open_pillow, png_complaint, verdict

_WITH_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")
_WIDE = ("I", "F")  # and every I;16 variant
_PLAIN = {0: cv2.IMREAD_GRAYSCALE, 2: cv2.IMREAD_COLOR_RGB}  # PNG colour types: grey, RGB


def decode(
    data: bytes, fmt: str, image: ImageFile | None, background: tuple[int, int, int]
) -> tuple[np.ndarray, bool, list[str]]:
    """(stored sRGB pixels uint8 [h, w, 3], whether anything was see-through, warnings). Raises Damaged."""
    try:
        with listening(fmt) as heard:
            if image is None:
                image = open_pillow(data, fmt)
            plain = _plain_png(data) if fmt == "png" else None
            if plain is not None:
                if not image.info.get("icc_profile"):
                    return (plain if plain.ndim == 3 else cv2.cvtColor(plain, cv2.COLOR_GRAY2RGB)), False, []
                flat, alpha, warning = Image.fromarray(plain), None, None
            else:
                image.load()
                flat, alpha, warning = _flatten(image, data, fmt)
        icc = None if image.mode == "LAB" else image.info.get("icc_profile")  # Lab is converted already
        base, colour_warning = _colour.to_srgb(flat, icc)
        seen_through = False
        if alpha is not None:
            base, seen_through = _colour.onto(base, alpha, background)
    except Exception as error:  # whatever a decoder raises on damaged bytes is its verdict on them
        raise verdict(error, data, fmt) from None
    complaint = png_complaint(data) if fmt == "png" and plain is None else None
    return np.asarray(base), seen_through, [w for w in (complaint, warning, colour_warning, *heard) if w]


def _plain_png(data: bytes) -> np.ndarray | None:
    """The pixels, uint8 [h, w] or [h, w, 3], of an undamaged PNG of 8-bit grey or RGB without transparency by libpng,
    which is faster than Pillow; None for any other, which Pillow is to judge.

    libpng gets the picture alone: other chunks would have it warn of profiles and OpenCV turn by EXIF.
    """
    if data[12:16] != b"IHDR" or data[24] != 8 or data[25] not in _PLAIN or png_complaint(data) is not None:
        return None
    kept, at, kind = [data[:8]], 8, b""
    while kind != b"IEND":
        before = kind
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind in (b"tRNS", b"acTL") or (kind == b"IDAT" != before and len(kept) > 2):
            return None
        if kind in (b"IHDR", b"IDAT", b"IEND"):
            kept.append(data[at : at + 12 + length])
        at += 12 + length
    return cv2.imdecode(np.frombuffer(b"".join(kept), np.uint8), _PLAIN[data[25]])


def _flatten(image: ImageFile, data: bytes, fmt: str) -> tuple[Image.Image, Image.Image | None, str | None]:
    """(an L, RGB or CMYK image in its own colours, its alpha as L or None, a warning)."""
    mode = image.mode
    note = None
    if fmt == "png" and data[24] == 16:
        samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if samples is not None and samples.dtype == np.uint16:
            return _png_of_16_bits(samples, image, data)
        note = "16-bit samples by Pillow, which may keep 8 bits, as libpng refuses the file"
    if mode in _WIDE or mode.startswith("I;16"):
        samples, warning = _colour.eight_bits(np.asarray(image))
        return Image.fromarray(samples), None, note or warning
    if mode == "LAB":
        return _colour.from_lab(image), None, None
    if mode in _WITH_ALPHA or "transparency" in image.info:
        rgba = image.convert("RGBA")
        colours = image.getchannel("L") if mode == "LA" else rgba.convert("RGB")
        return colours, rgba.getchannel("A"), note
    if mode == "1":
        return image.convert("L"), None, None
    return (image if mode in ("L", "RGB", "CMYK") else image.convert("RGB")), None, note


def _png_of_16_bits(
    samples: np.ndarray, image: ImageFile, data: bytes
) -> tuple[Image.Image, Image.Image | None, str | None]:
    """OpenCV keeps all 16 bits of every PNG colour type; Pillow keeps them for grey only."""
    eight, _ = _colour.eight_bits(samples)
    if eight.ndim == 2:
        key = image.info.get("transparency")
        alpha = None if key is None else Image.fromarray(np.where(samples == key, 0, 255).astype(np.uint8))
        return Image.fromarray(eight), alpha, None
    if eight.shape[2] == 3:
        return Image.fromarray(cv2.cvtColor(eight, cv2.COLOR_BGR2RGB)), None, None
    colours = cv2.cvtColor(eight, cv2.COLOR_BGRA2RGB)
    grey = data[25] == 4  # colour type grey + alpha
    return (
        Image.fromarray(np.ascontiguousarray(colours[..., 0]) if grey else colours),
        Image.fromarray(np.ascontiguousarray(eight[..., 3])),
        None,
    )
