"""From pixels to shapes: what a picture shows, without knowing what it should show.

Every pixel goes to the nearest of the eight colours or to the background; connected pixels of one colour are a
thing; a thing is the shape whose drawing, at the same centre of mass and of the same area (both outlive a blur),
differs least from it, if the difference is small enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from lensmodel.shapes.geometry import SHAPES, TEXTURES, coverage, distance, pattern
from lensmodel.shapes.render import CONTRAST
from lensmodel.shapes.scene import COLOURS, SIZES, TONES

LONGEST = 64  # pixels of the short side; a larger picture is shrunk first
SPECK = 0.014  # things of a smaller area than this times the short side squared are dirt
WORST_FIT = 0.14  # largest squared difference from a drawing, over the area, beyond what noise explains
RADII = (0.095, 0.26)  # of a shape, over the short side
BLURS = (0.6, 1.0)  # pixels; drawings are compared sharp and so blurred
MOST_NOISE = 0.02  # variance of the background, as a share of a thing's contrast, that fits are excused for
_PALETTE = np.array(list(COLOURS.values()), np.float32)
_NAMES = list(COLOURS)


@dataclass(frozen=True)
class Thing:
    """`shape` is None for what is none of the six. `x`, `y`, `r` are in pixels of the picture, `size` is small or
    large."""

    shape: str | None
    colour: str
    size: str
    x: float
    y: float
    r: float


@dataclass(frozen=True)
class Seen:
    """`tone` and `texture` are None where no grey background was found; then there are no things either."""

    width: int
    height: int
    things: tuple[Thing, ...]
    tone: str | None
    texture: str | None


def look(image: np.ndarray) -> Seen:
    """What `image`, uint8 [H, W, 3], shows. Raises ValueError for another type or form."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"expected a picture uint8 [H, W, 3], got {image.dtype} {image.shape}")
    height, width = image.shape[:2]
    scale = min(1.0, LONGEST / min(width, height))
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    rgb = image.astype(np.float32)
    calm = cv2.GaussianBlur(rgb, (3, 3), 0.5)
    grey = calm.mean(axis=2)
    ground = (calm.max(axis=2) - calm.min(axis=2) < 60) & (grey > 58) & (grey < 196)
    if ground.mean() < 0.25:
        return Seen(width, height, (), None, None)
    base = calm[ground].mean(axis=0)
    cast = np.clip(base - base.mean(), -20, 20)  # backgrounds are neutral: what tints them tints everything
    rgb, calm, base = rgb - cast, calm - cast, base - cast
    labels = _label(calm, base)
    around = cv2.erode((labels < 0).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    if not around.any():
        return Seen(width, height, (), None, None)
    plane = rgb.mean(axis=2)
    tone = min(TONES, key=lambda name: abs(TONES[name] - float(plane[around].mean())))
    texture, waves = _texture(plane, around)
    return Seen(width, height, _things(rgb, labels, waves, scale), tone, texture)


def _label(calm: np.ndarray, base: np.ndarray) -> np.ndarray:
    """int8 [H, W]: the colour's number, -1 for the background. The texture's own range counts as no distance.

    Brightness counts three quarters: else a blend of light grey and black would be nearest to green.
    """
    flat = calm.reshape(-1, 3)
    lift = np.clip(flat.mean(axis=1) - base.mean(), -CONTRAST - 2, CONTRAST + 2)[:, None]
    rest, flat, palette = _dimmed(flat - base - lift), _dimmed(flat), _dimmed(_PALETTE)
    squares = (flat * flat).sum(axis=1)[:, None] - 2 * flat @ palette.T + (palette * palette).sum(axis=1)
    nearest = squares.argmin(axis=1)
    nearest[squares.min(axis=1) >= (rest * rest).sum(axis=1)] = -1
    return nearest.astype(np.int8).reshape(calm.shape[:2])


def _dimmed(colours: np.ndarray) -> np.ndarray:
    return colours - (1 - 0.75**0.5) * colours.mean(axis=1, keepdims=True)


def _things(rgb: np.ndarray, labels: np.ndarray, waves: np.ndarray, scale: float) -> tuple[Thing, ...]:
    short = min(labels.shape)
    found = []
    for colour in np.unique(labels[labels >= 0]):
        mask = (labels == colour).astype(np.uint8)
        count, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        for part in range(1, count):
            left, top, wide, high, area = (int(v) for v in stats[part])
            if area < SPECK * short * short:
                continue
            window = np.s_[max(0, top - 3) : top + high + 3, max(0, left - 3) : left + wide + 3]
            shape, x, y, r = _fit(
                rgb[window], labels[window], parts[window] == part, waves[window], int(colour), short
            )
            size = "large" if r > short * sum(SIZES.values()) / 2 else "small"
            x, y = x + max(0, left - 3), y + max(0, top - 3)
            found.append(Thing(shape, _NAMES[colour], size, x / scale, y / scale, r / scale))
    return tuple(found)


def _fit(
    rgb: np.ndarray, labels: np.ndarray, own: np.ndarray, waves: np.ndarray, colour: int, short: int
) -> tuple[str | None, float, float, float]:
    """(shape or None, x, y, r) of the thing `own` in a window."""
    others = (
        cv2.dilate(((labels >= 0) & ~own).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~own
    )
    beside = (
        (labels < 0) & ~others & ~cv2.dilate(own.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    )
    if not beside.any():
        return None, 0.0, 0.0, 0.0
    near = (rgb[beside] - waves[beside]).mean(
        axis=0
    ) + waves  # the background as it would be without the thing
    towards = _PALETTE[colour] - near
    ink = ((rgb - near) * towards).sum(axis=2) / (towards * towards).sum(axis=2)
    ink[others] = 0
    peak = min(max(float(np.percentile(ink[own], 90)), 0.5), 1.3)
    gains = (
        (1.0,) if 0.95 < peak < 1.05 else (1.0, peak)
    )  # blurred, or paler or stronger than the palette's colour
    rows, columns = (np.arange(n, dtype=np.float32) + 0.5 for n in ink.shape)
    total = max(float(ink.sum()), 1.0)
    x, y = float(ink.sum(axis=0) @ columns) / total, float(ink.sum(axis=1) @ rows) / total
    dx, dy = columns[None, :] - np.float32(x), rows[:, None] - np.float32(y)
    best: tuple[float, str | None, float] = (WORST_FIT, None, (total / np.pi) ** 0.5)
    pixels, dirt = np.count_nonzero(~others), min(float((ink[beside] ** 2).mean()), MOST_NOISE)
    for gain in gains:
        area, scaled = total / gain, ink / gain
        excused = pixels * dirt / gain**2
        for shape, unit in SHAPES.items():
            r = (area / unit) ** 0.5
            if not RADII[0] < r / short < RADII[1]:
                continue
            sharp = coverage(distance(shape, dx, dy, r))
            for drawn in (sharp, *(cv2.GaussianBlur(sharp, (5, 5), sigma) for sigma in BLURS)):
                rest = (scaled - drawn)[~others]
                best = min(best, ((float(rest @ rest) - excused) / area, shape, r), key=lambda fit: fit[0])
    return best[1], x, y, best[2]


def _texture(grey: np.ndarray, around: np.ndarray) -> tuple[str, np.ndarray]:
    """The texture that explains most of the background, and its part of the grey levels, float32 [H, W, 1]."""
    rest = grey - grey[around].mean()
    best, strength, waves = "plain", 0.4 * CONTRAST, np.zeros_like(grey)
    for texture, field in _patterns(grey.shape[1], grey.shape[0]).items():
        swing = np.where(around, field - field[around].mean(), 0)
        found = float((swing * rest).sum() / max(float((swing * swing).sum()), 1e-6))
        if found > strength:
            best, strength, waves = texture, found, found * (field - field[around].mean())
    return best, waves[..., None]


@lru_cache(maxsize=64)
def _patterns(width: int, height: int) -> dict[str, np.ndarray]:
    return {texture: pattern(texture, width, height) for texture in TEXTURES if texture != "plain"}
