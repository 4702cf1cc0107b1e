"""Any colour space to sRGB, any sample type to 8 bits, any transparency onto a background."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

_MODES_BY_SPACE = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_MOST_KEPT = 2**18  # bytes of a profile whose transform is kept
_SAME = 2  # of 255: what two writers' profiles of the same sRGB differ by


def _transform(profile: bytes) -> tuple[str, Any]:
    """As `_built`, from memory where the profile is of a common size: the same few keep coming."""
    return (_kept if len(profile) <= _MOST_KEPT else _built)(profile)


def _built(profile: bytes) -> tuple[str, Any]:
    """(the mode the profile describes, the transform to sRGB, or None if that changes nothing).

    Building one costs far more than applying it. Raises ValueError if the profile cannot be used.
    """
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES_BY_SPACE.get(opened.profile.xcolor_space.strip())
        if mode is None:
            raise ValueError(f"it describes {opened.profile.xcolor_space.strip()} colours")
        transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (OSError, ImageCms.PyCMSError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    if mode != "CMYK":
        grid = np.arange(0, 256, 17, dtype=np.uint8)
        axes = (grid, grid, grid) if mode == "RGB" else (np.arange(256, dtype=np.uint8),) * 3
        cube = np.stack(np.meshgrid(*axes, indexing="ij") if mode == "RGB" else axes, -1).reshape(1, -1, 3)
        source = Image.fromarray(np.ascontiguousarray(cube if mode == "RGB" else cube[..., 0]))
        out = np.asarray(ImageCms.applyTransform(source, transform))
        if np.abs(out.astype(np.int16) - cube).max() <= _SAME:
            return mode, None
    return mode, transform


_kept = lru_cache(maxsize=64)(_built)


def to_srgb(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, str | None]:
    """An L, RGB or CMYK image as RGB by its profile, and a warning if that could not be used."""
    warning = None
    if icc:
        try:
            mode, transform = _transform(icc)
            if mode == "RGB" and image.mode == "L":  # an RGB profile on a grey image is common and harmless
                image = image.convert("RGB")
            if mode != image.mode:
                raise ValueError(f"it describes {mode} and the image is {image.mode}")
            if transform is not None:
                converted = ImageCms.applyTransform(image, transform)
                assert converted is not None
                return converted, None
        except (ValueError, ImageCms.PyCMSError) as error:
            warning = f"colour profile not used: {error}"
    return (image if image.mode == "RGB" else image.convert("RGB")), warning


def from_lab(image: Image.Image) -> Image.Image:
    """CIE Lab (D50) as sRGB."""
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return converted


def eight_bits(samples: np.ndarray) -> tuple[np.ndarray, str | None]:
    """Integer or float samples as uint8, and a warning where the range had to be guessed.

    uint16 is value * 255 / 65535, rounded. Wider integers are read as 16-bit values while they fit, else as
    32-bit ones. Floats are read over 0..1, 0..255 or 0..65535, the smallest that holds the largest; NaN and
    infinities are black.
    """
    if samples.dtype == np.uint16:  # the usual case, in integers: 65535 / 255 = 257 exactly
        return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8), None
    if samples.dtype.kind in "iu":
        wide = samples.astype(np.int64)
        if wide.min() >= 0 and wide.max() <= 65535:
            return ((wide + 128) // 257).astype(np.uint8), None
        return ((wide & 0xFFFFFFFF) >> 24).astype(np.uint8), "32-bit samples, read over 0..2^32-1"
    finite = np.nan_to_num(samples.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    top = float(finite.max())
    span = 1.0 if top <= 1 else 255.0 if top <= 255 else 65535.0
    scaled = np.clip(np.rint(finite * (255.0 / span)), 0, 255).astype(np.uint8)
    return scaled, f"floating-point samples, read over 0..{span:.0f}"


def onto(
    image: Image.Image, alpha: Image.Image, background: tuple[int, int, int]
) -> tuple[Image.Image, bool]:
    """RGB `image` laid over `background` by `alpha` (L); and whether anything was see-through."""
    lowest = alpha.getextrema()[0]
    if lowest == 255:
        return image, False
    canvas = Image.new("RGB", image.size, background)
    canvas.paste(image, mask=alpha)
    return canvas, True
