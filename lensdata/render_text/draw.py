"""One picture of rendered text, as a pure function of (seed, index) and of the fonts and pictures at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageFilter

from catalog.buckets import ASPECTS
from lensdata.render_text import backgrounds
from lensdata.render_text.corpus import RIGHT_TO_LEFT, Text, pick_script, write
from lensdata.render_text.fonts import Face
from lensdata.render_text.layout import Block, contrast, luminance, set_block

LONG_SIDE = (512, 1152)  # pixels
MIN_AREA = 384**2  # pixels; the paper's resolution filter removes anything smaller
MIN_EM = 16  # pixels an em
MIN_CONTRAST = 3.0  # WCAG ratio of the text to what surrounds it
MARGIN = 0.03  # of the short side, kept free of text all around


@dataclass(frozen=True)
class Picture:
    """`rgb` uint8 [H, W, 3]; `ink` uint8 [H, W], how far the text covers a pixel before any blur; `caption`,
    the exact text, its lines joined by newlines; `facts`, how it was made."""

    rgb: np.ndarray
    ink: np.ndarray
    caption: str
    facts: dict[str, Any]


def draw(
    seed: int, index: int, faces: Mapping[str, Sequence[Face]], pictures: Sequence[Path] = ()
) -> Picture:
    """Picture `index` of the series `seed`: text rendered onto a randomly sampled background, varied in blur,
    colour, font, scale and rotation (paper, section "Pre-training Data", source 4).

    `faces`: script -> faces that can set it (`fonts.by_script`). The text lies wholly inside the picture, and
    its contrast with its surroundings, measured on the result, is at least MIN_CONTRAST.
    """
    rng = Random(f"{seed}/{index}")
    width, height = _size(rng)
    text, face = _text(rng, faces)
    block, turned, angle = _fit(rng, text, face, width, height)
    margin = round(MARGIN * min(width, height))
    left = rng.randint(margin, width - margin - turned.width)
    top = rng.randint(margin, height - margin - turned.height)
    canvas, kind = backgrounds.make(rng, width, height, pictures)
    ink = np.zeros((height, width), np.uint8)
    ink[top : top + turned.height, left : left + turned.width] = np.asarray(turned)

    ring = _ring(ink, block.smallest)
    colour, ratio = _colour(rng, canvas[ring])
    plate = ratio < MIN_CONTRAST * 1.2 or rng.random() < 0.1
    box = (left, top, turned.width, turned.height)
    if plate:
        ground = rng.choice(((255, 255, 255), (12, 12, 14), tuple(rng.randrange(256) for _ in range(3))))
        pad = round(rng.uniform(0.05, 0.12) * min(block.ink.size)) + 6
        canvas = _plate(canvas, ground, block.ink.size, pad, box, angle)
        colour, _ = _colour(rng, np.array([ground], np.uint8))
    opacity = rng.uniform(0.88, 1.0)
    soften = rng.uniform(0.2, 0.05 * block.smallest) if rng.random() < 0.35 else 0.0
    blur = rng.uniform(0.2, 0.04 * block.smallest) if rng.random() < 0.2 else 0.0
    rgb = _compose(canvas, ink, colour, opacity, soften, blur)
    measured = _measure(rgb, ink, ring)
    if measured < MIN_CONTRAST:  # thin strokes pale when blurred or seen through
        opacity, soften, blur = 1.0, 0.0, 0.0
        rgb = _compose(canvas, ink, colour, opacity, soften, blur)
        measured = _measure(rgb, ink, ring)
    if measured < MIN_CONTRAST:  # hairlines in a colour near the limit: black on white
        plate, colour = True, (0, 0, 0)
        canvas = _plate(canvas, (255, 255, 255), block.ink.size, 12, box, angle)
        rgb = _compose(canvas, ink, colour, opacity, soften, blur)
        measured = _measure(rgb, ink, ring)
    facts = {
        "index": index, "seed": seed, "script": text.script, "language": text.language, "kind": text.kind,
        "font": face.name, "size": block.size, "rotation": round(angle, 2), "lines": len(block.lines),
        "colour": f"#{bytes(colour).hex()}", "opacity": round(opacity, 3), "background": kind, "plate": plate,
        "text_blur": round(soften, 2), "image_blur": round(blur, 2), "contrast": round(measured, 2),
        "width": width, "height": height, "box": list(box),
    }  # fmt: skip
    return Picture(rgb, ink, "\n".join(block.lines), facts)


def _size(rng: Random) -> tuple[int, int]:
    wide, high = (int(part) for part in rng.choice(ASPECTS).split(":"))
    ratio = max(wide, high) / min(wide, high)
    long = rng.randint(max(LONG_SIDE[0], int((MIN_AREA * ratio) ** 0.5) + 2), LONG_SIDE[1])
    short = round(long / ratio)
    return (long, short) if wide >= high else (short, long)


def _text(rng: Random, faces: Mapping[str, Sequence[Face]]) -> tuple[Text, Face]:
    """A text and a face that has a glyph for every character of it."""
    script = pick_script(rng, tuple(faces))
    while True:  # ends: a face is listed for a script only if it has nearly all of the script's characters
        text = write(rng, script)
        able = [face for face in faces[script] if all(face.covers(part.text) for part in text.paragraphs)]
        if able:
            return text, rng.choice(able)


def _fit(rng: Random, text: Text, face: Face, width: int, height: int) -> tuple[Block, Image.Image, float]:
    """Set the text as large as drawn by lot, then smaller, straighter and shorter until it fits the
    picture."""
    short = min(width, height)
    room = (width - 2 * round(MARGIN * short), height - 2 * round(MARGIN * short))
    angle = rng.choice(
        (
            0.0,
            0.0,
            rng.uniform(-6, 6),
            rng.uniform(-20, 20),
            rng.uniform(-45, 45),
            rng.choice((-90.0, 90.0, 0.0)),
        )
    )
    largest = 0.09 if text.kind == "paragraph" else 0.22
    size = max(MIN_EM, round(short * rng.uniform(0.035, largest)))
    share, spacing = rng.uniform(0.5, 0.98), rng.uniform(1.0, 1.5)
    align = rng.choice(
        ("right", "center") if text.script in RIGHT_TO_LEFT else ("left", "left", "center", "right")
    )
    paragraphs = len(text.paragraphs)
    while True:
        reach = room[1] if abs(angle) == 90 else room[0]
        block = set_block(text, face, size, share * reach, align, spacing, paragraphs)
        if block is not None:
            turned = block.ink.rotate(angle, Image.Resampling.BICUBIC, expand=True) if angle else block.ink
            if turned.width <= room[0] and turned.height <= room[1]:
                return block, turned, angle
        if size > MIN_EM:
            size = max(MIN_EM, int(size * 0.85))
        elif angle or share < 0.98:
            angle, share = 0.0, 0.98
        elif paragraphs > 1:
            paragraphs -= 1
        elif size > 4:  # a single very long word or a face with very wide letters
            size -= 1
        else:
            raise ValueError(f"{face.name} cannot set {text.paragraphs[0].text!r} in {width}x{height} pixels")


def _ring(ink: np.ndarray, em: int) -> np.ndarray:
    """bool [H, W]: the pixels around the letters, within an eighth of an em, but not on them."""
    reach = 2 * max(1, em // 8) + 1
    return (cv2.dilate(ink, np.ones((reach, reach), np.uint8)) > 0) & (ink == 0)


def _colour(rng: Random, ground: np.ndarray) -> tuple[tuple[int, int, int], float]:
    """(colour, ratio): a random colour that stands out from all but the extreme pixels of `ground` uint8 [N,
    3], or else the better of black and white."""
    low, high = (float(edge) for edge in np.percentile(luminance(ground), (2, 98)))

    def worst(colour: tuple[int, int, int]) -> float:
        own = float(luminance(np.array(colour)))
        return 1.0 if low < own < high else min(contrast(own, low), contrast(own, high))

    for _ in range(24):
        colour = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
        if worst(colour) >= MIN_CONTRAST * 1.4:
            return colour, worst(colour)
    best = max(((0, 0, 0), (255, 255, 255)), key=worst)
    return best, worst(best)


def _plate(
    canvas: np.ndarray,
    ground: tuple[int, ...],
    size: tuple[int, int],
    pad: int,
    box: tuple[int, int, int, int],
    angle: float,
) -> np.ndarray:
    """Put a plain panel in the colour `ground` behind the text: its `size`, `pad` pixels wider all around,
    turned like it, centred on its `box` (left, top, width, height)."""
    panel = Image.new("L", (size[0] + 2 * pad, size[1] + 2 * pad), 255)
    turned = panel.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    left, top, wide, high = box
    picture = Image.fromarray(canvas)
    picture.paste(ground, (left + (wide - turned.width) // 2, top + (high - turned.height) // 2), turned)
    return np.asarray(picture)


def _compose(
    canvas: np.ndarray,
    ink: np.ndarray,
    colour: tuple[int, int, int],
    opacity: float,
    soften: float,
    blur: float,
) -> np.ndarray:
    """Lay the text, blurred by `soften` pixels, over the canvas, then blur the whole by `blur` (Gaussian)."""
    cover = Image.fromarray(ink)
    if soften:
        cover = cover.filter(ImageFilter.GaussianBlur(soften))
    cover = cover.point(lambda value: round(value * opacity))
    picture = Image.fromarray(canvas)
    picture.paste(colour, (0, 0), cover)
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(blur)) if blur else picture)


def _measure(rgb: np.ndarray, ink: np.ndarray, ring: np.ndarray) -> float:
    """Contrast of the letters' median luminance with that of their surroundings, in the finished picture."""
    letters = luminance(rgb[ink > 112])
    if not letters.size or not ring.any():
        return 1.0
    return contrast(float(np.median(letters)), float(np.median(luminance(rgb[ring]))))
