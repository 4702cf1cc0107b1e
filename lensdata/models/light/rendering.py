"""Pictures with known labels for training the watermark detector: marks, and honest text that is none.

Every function takes a uint8 [H, W, 3] image and a numpy Generator, and returns a new image of the same size.
Marks scale with the picture's short side, so that they mean the same after the detector's resize to 224.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MARK_WORDS = (
    "SAMPLE",
    "PREVIEW",
    "stock",
    "PROOF",
    "© photo",
    "watermark",
    "demo",
    "DO NOT COPY",
    "draft",
    "COPYRIGHT",
)
SYLLABLES = (
    "ba",
    "ko",
    "ri",
    "men",
    "sta",
    "vel",
    "tor",
    "lu",
    "pix",
    "an",
    "der",
    "shi",
    "gra",
    "no",
    "fo",
    "to",
)
Fonts = list[Path]


def font(rng: np.random.Generator, fonts: Fonts, size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """One of `fonts` at random at `size` pixels; Pillow's built-in one when the list is empty."""
    size = max(8, round(size))
    pick = int(rng.integers(len(fonts) + 1))
    return ImageFont.load_default(size) if pick == len(fonts) else ImageFont.truetype(fonts[pick], size)


def words(rng: np.random.Generator, low: int, high: int) -> str:
    """Between `low` and `high` pronounceable invented words."""
    out = ["".join(rng.choice(SYLLABLES, rng.integers(1, 4))) for _ in range(rng.integers(low, high + 1))]
    return " ".join(word.capitalize() if rng.random() < 0.4 else word for word in out)


def _mark_text(rng: np.random.Generator) -> str:
    kind = rng.random()
    if kind < 0.4:
        return str(rng.choice(MARK_WORDS))
    name = words(rng, 1, 1)
    if kind < 0.6:
        return f"www.{name.lower()}.com"
    return f"© {name}" if kind < 0.8 else name.upper() + str(rng.choice(["", " images", "stock", " STUDIO"]))


def _text_stencil(rng: np.random.Generator, fonts: Fonts, text: str, size: float) -> Image.Image:
    """A tight L-mode mask of one line of text, sometimes only its outline."""
    face = font(rng, fonts, size)
    left, top, right, bottom = face.getbbox(text)
    mask = Image.new("L", (max(1, int(right - left)) + 4, max(1, int(bottom - top)) + 4), 0)
    draw = ImageDraw.Draw(mask)
    if rng.random() < 0.15:
        draw.text(
            (2 - left, 2 - top),
            text,
            fill=0,
            font=face,
            stroke_width=max(1, int(size // 24)),
            stroke_fill=255,
        )
    else:
        draw.text((2 - left, 2 - top), text, fill=255, font=face)
    return mask


def _logo_stencil(rng: np.random.Generator, fonts: Fonts, size: float) -> Image.Image:
    """A ring, a disc, a cross or a polygon with a letter in it."""
    side = max(12, round(size))
    mask = Image.new("L", (side, side), 0)
    draw, pen = ImageDraw.Draw(mask), max(1, side // 12)
    box = (1, 1, side - 2, side - 2)
    shape = int(rng.integers(4))
    if shape == 0:
        draw.ellipse(box, outline=255, width=pen)
    elif shape == 1:
        draw.ellipse(box, fill=255)
    elif shape == 2:
        draw.line((0, 0, side, side), fill=255, width=pen)
        draw.line((0, side, side, 0), fill=255, width=pen)
    else:
        draw.regular_polygon(
            (side / 2, side / 2, side / 2 - 1), int(rng.integers(3, 8)), outline=255, width=pen
        )
    letter = str(rng.choice(list(string.ascii_uppercase)))
    face = font(rng, fonts, side * 0.5)
    draw.text((side / 2, side / 2), letter, fill=0 if shape == 1 else 255, font=face, anchor="mm")
    return mask


def _blend(rgb: np.ndarray, mask: Image.Image, colour: np.ndarray, opacity: float) -> np.ndarray:
    weight = np.asarray(mask, np.float32)[..., None] * np.float32(opacity / 255)
    return np.round(rgb * (1 - weight) + colour.astype(np.float32) * weight).astype(np.uint8)


def _visible_colour(rng: np.random.Generator, rgb: np.ndarray, mask: Image.Image) -> np.ndarray:
    """Mostly white, grey or black, as stock marks are; never a colour that cannot be seen where it goes.

    A white mark on white paper would be a positive without a mark: a wrong label.
    """
    covered = np.asarray(mask) > 127
    under = rgb[covered].mean(0) if covered.any() else np.full(3, 128.0)
    for _ in range(8):
        grey = rng.choice([255, 255, 255, 230, 200, 128, 40, 0])
        colour = np.full(3, grey) if rng.random() < 0.75 else rng.integers(0, 256, 3)
        if np.abs(colour - under).max() >= 90:
            return colour
    return np.full(3, 0 if under.mean() > 127 else 255)


def tiled_mark(rgb: np.ndarray, rng: np.random.Generator, fonts: Fonts) -> np.ndarray:
    """A semi-transparent text or logo repeated on a tilted grid over the whole picture."""
    height, width = rgb.shape[:2]
    short = min(height, width)
    size = short * rng.uniform(0.05, 0.13)
    stamp = (
        _logo_stencil(rng, fonts, size * 2)
        if rng.random() < 0.2
        else _text_stencil(rng, fonts, _mark_text(rng), size)
    )
    reach = int(np.hypot(height, width)) + 2 * max(stamp.size)
    sheet = Image.new("L", (reach, reach), 0)
    step_x = int(stamp.width * rng.uniform(1.15, 1.8)) + 4
    step_y = int(max(stamp.height * rng.uniform(1.8, 4.0), short * 0.09)) + 4
    shift = rng.random() < 0.6
    for row, y in enumerate(range(0, reach, step_y)):
        for x in range(-(step_x // 2) * (row % 2 if shift else 0), reach, step_x):
            sheet.paste(stamp, (x, y))
    angle = float(rng.choice([0, 30, 45, -30, -45, rng.uniform(-60, 60)]))
    sheet = sheet.rotate(angle, resample=Image.Resampling.BILINEAR)
    left, top = (reach - width) // 2, (reach - height) // 2
    mask = sheet.crop((left, top, left + width, top + height))
    return _blend(rgb, mask, _visible_colour(rng, rgb, mask), rng.uniform(0.2, 0.65))


def _placed(rgb: np.ndarray, stamp: Image.Image, x: float, y: float) -> Image.Image:
    mask = Image.new("L", (rgb.shape[1], rgb.shape[0]), 0)
    mask.paste(stamp, (round(x), round(y)))
    return mask


def centre_mark(rgb: np.ndarray, rng: np.random.Generator, fonts: Fonts) -> np.ndarray:
    """One large semi-transparent text or logo, often along a diagonal."""
    height, width = rgb.shape[:2]
    if rng.random() < 0.25:
        stamp = _logo_stencil(rng, fonts, min(height, width) * rng.uniform(0.3, 0.6))
    else:
        stamp = _text_stencil(rng, fonts, _mark_text(rng), min(height, width) * 0.2)
        scale = min(width * rng.uniform(0.55, 0.95) / stamp.width, height * 0.4 / stamp.height)
        stamp = stamp.resize((max(1, int(stamp.width * scale)), max(1, int(stamp.height * scale))))
        if rng.random() < 0.5:
            angle = float(rng.choice([-1, 1]) * rng.uniform(15, 50))
            stamp = stamp.rotate(angle, expand=True, resample=Image.Resampling.BILINEAR)
    mask = _placed(rgb, stamp, (width - stamp.width) / 2, (height - stamp.height) * rng.uniform(0.35, 0.65))
    return _blend(rgb, mask, _visible_colour(rng, rgb, mask), rng.uniform(0.25, 0.65))


def corner_mark(rgb: np.ndarray, rng: np.random.Generator, fonts: Fonts) -> np.ndarray:
    """A semi-transparent signature, address or logo in a corner or at the bottom."""
    height, width = rgb.shape[:2]
    size = min(height, width) * rng.uniform(0.06, 0.11)
    stamp = (
        _logo_stencil(rng, fonts, size * 2)
        if rng.random() < 0.25
        else _text_stencil(rng, fonts, _mark_text(rng), size)
    )
    margin = min(height, width) * rng.uniform(0.01, 0.05)
    x = float(rng.choice([margin, (width - stamp.width) / 2, width - stamp.width - margin]))
    y = height - stamp.height - margin if rng.random() < 0.75 else margin
    mask = _placed(rgb, stamp, max(x, 0), max(y, 0))
    return _blend(rgb, mask, _visible_colour(rng, rgb, mask), rng.uniform(0.35, 0.8))


MARKS: dict[str, Callable[[np.ndarray, np.random.Generator, Fonts], np.ndarray]] = {
    "tiled": tiled_mark,
    "centre": centre_mark,
    "corner": corner_mark,
}


def solid_text(rgb: np.ndarray, rng: np.random.Generator, fonts: Fonts) -> np.ndarray:
    """Opaque lettering that is content, not a mark: a headline, a caption bar, a sign. A hard negative."""
    height, width = rgb.shape[:2]
    image = Image.fromarray(rgb)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 4))):
        face = font(rng, fonts, min(height, width) * rng.uniform(0.05, 0.16))
        text = words(rng, 1, 4)
        left, top, right, bottom = draw.textbbox((0, 0), text, font=face)
        x = rng.uniform(0, max(1, width - (right - left)))
        y = rng.uniform(0, max(1, height - (bottom - top)))
        under = (
            np.asarray(image)[int(y + top) : int(y + bottom) + 1, int(x) : int(x + right) + 1]
            .reshape(-1, 3)
            .mean(0)
        )
        tint = rng.integers(0, 256, 3) if rng.random() < 0.5 else np.full(3, rng.choice([0, 255]))
        # opaque ink stands out; a pale word on white would be what a faint mark looks like
        colour = tint if np.abs(tint - under).max() >= 150 else np.full(3, 0 if under.mean() > 127 else 255)
        ink = tuple(int(v) for v in colour)
        if rng.random() < 0.4:
            paper = tuple(255 - v for v in ink)
            draw.rectangle((x - 4, y + top - 4, x + right + 4, y + bottom + 4), fill=paper)
        draw.text((x, y), text, fill=ink, font=face)
    return np.asarray(image)


def text_page(rng: np.random.Generator, fonts: Fonts, side: int = 448) -> np.ndarray:
    """A page or poster of printed words: clean, full of letters, and without a watermark."""
    paper = rng.integers(200, 256, 3) if rng.random() < 0.7 else rng.integers(0, 90, 3)
    ink = tuple(int(v) for v in (rng.integers(0, 90, 3) if paper.mean() > 127 else rng.integers(170, 256, 3)))
    image = Image.new("RGB", (side, side), tuple(int(v) for v in paper))
    draw, y = ImageDraw.Draw(image), side * 0.05
    face = font(rng, fonts, side * rng.uniform(0.03, 0.12))
    while y < side * 0.92:
        if rng.random() < 0.12:
            face = font(rng, fonts, side * rng.uniform(0.03, 0.12))
        text = words(rng, 1, 6)
        draw.text((side * 0.05, y), text, fill=ink, font=face)
        y += (draw.textbbox((0, 0), text, font=face)[3] + side * 0.01) * rng.uniform(1.0, 1.5)
    return np.asarray(image)
