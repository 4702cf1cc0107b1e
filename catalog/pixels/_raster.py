"""Everything but JPEG: the first composited frame of any mode as sRGB on a background."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from catalog.pixels import _colour, _png, _webp
from catalog.pixels._formats import Opened, PillowHeader, open_pillow, verdict
from catalog.pixels._listen import listening
from catalog.pixels._png import PngHeader
from catalog.pixels._types import Damaged
from catalog.pixels._webp import WebpHeader

_WITH_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")
_WIDE = ("I", "F")  # and every I;16 variant


def decode(
    data: bytes, fmt: str, opened: Opened, background: tuple[int, int, int]
) -> tuple[np.ndarray, bool, list[str]]:
    """(stored sRGB pixels uint8 [h, w, 3], whether anything was see-through, warnings). Raises Damaged."""
    said: list[str | None] = []
    heard: list[str] = []
    plain = None
    try:
        with listening(fmt) as heard:
            if isinstance(opened, PngHeader):
                plain = _png.plain(data, opened)
            if plain is None:
                image, icc = _open(data, fmt, opened)
                image.load()
                flat, alpha, warning = _flatten(image, data, opened)
                icc = None if image.mode == "LAB" else icc  # Lab is converted already
                said.append(warning)
        if plain is not None:
            assert isinstance(opened, PngHeader)
            if opened.icc is None:
                return (plain if plain.ndim == 3 else cv2.cvtColor(plain, cv2.COLOR_GRAY2RGB)), False, heard
            flat, alpha, icc = Image.fromarray(plain), None, opened.icc
        base, warning = _colour.to_srgb(flat, icc)
        said.append(warning)
        seen_through = False
        if alpha is not None:
            base, seen_through = _colour.onto(base, alpha, background)
    except Exception as error:  # whatever a decoder raises on damaged bytes is its verdict on them
        damage = verdict(error, data, fmt)
        raise Damaged(damage.status, ": ".join([damage.reason, *filter(None, ["; ".join(heard)])])) from None
    if isinstance(opened, PngHeader) and plain is None:
        said.append(_png.complaint(data))
    return np.asarray(base), seen_through, [line for line in (*said, *heard) if line]


def _open(data: bytes, fmt: str, opened: Opened) -> tuple[ImageFile, bytes | None]:
    """The image behind Pillow's reader, which sees the picture alone where that can be had, and its profile."""
    if isinstance(opened, PngHeader):
        return open_pillow(_png.picture(data), fmt), opened.icc
    if isinstance(opened, WebpHeader):
        return open_pillow(_webp.picture(data), fmt), opened.icc
    assert isinstance(opened, PillowHeader)
    return opened.image, opened.image.info.get("icc_profile")


def _flatten(
    image: ImageFile, data: bytes, opened: Opened
) -> tuple[Image.Image, Image.Image | None, str | None]:
    """(an L, RGB or CMYK image in its own colours, its alpha as L or None, a warning)."""
    mode = image.mode
    note = None
    if isinstance(opened, PngHeader) and opened.depth == 16:
        samples = _png.samples_of_16_bits(data)
        if samples is not None:
            return _of_16_bits(samples, image, opened)
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


def _of_16_bits(
    samples: np.ndarray, image: ImageFile, header: PngHeader
) -> tuple[Image.Image, Image.Image | None, str | None]:
    """As `_flatten` gives it, of OpenCV's samples of a PNG."""
    eight, _ = _colour.eight_bits(samples)
    if eight.ndim == 2:
        key = image.info.get("transparency")
        alpha = None if key is None else Image.fromarray(np.where(samples == key, 0, 255).astype(np.uint8))
        return Image.fromarray(eight), alpha, None
    if eight.shape[2] == 3:
        return Image.fromarray(cv2.cvtColor(eight, cv2.COLOR_BGR2RGB)), None, None
    colours = cv2.cvtColor(eight, cv2.COLOR_BGRA2RGB)
    grey = header.colour == 4  # grey + alpha
    return (
        Image.fromarray(np.ascontiguousarray(colours[..., 0]) if grey else colours),
        Image.fromarray(np.ascontiguousarray(eight[..., 3])),
        None,
    )
