"""The outlines of the shapes and the patterns of the backgrounds, shared by drawing and by seeing."""

from __future__ import annotations

import math

import numpy as np

# A shape has a radius r, and its centre of mass at its centre. Value: area / r^2.
SHAPES: dict[str, float] = {
    "circle": math.pi,
    "square": 1.8**2,
    "triangle": 1.8 * 0.92**2,
    "diamond": 2 * 1.08**2,
    "cross": 4 * 0.72 - 0.72**2,
    "ring": math.pi * (1 - 0.44**2),
}
REACH = 1.11  # no shape extends further than this times r from its centre, along an axis
TEXTURES = ("plain", "horizontal stripes", "vertical stripes", "checks", "dots")


def distance(shape: str, x: np.ndarray, y: np.ndarray, r: float) -> np.ndarray:
    """How far points (x, y), relative to the centre and y downwards, lie outside a shape of radius r; negative
    inside. Exact along straight edges and circles, too small in absolute value near corners."""
    if shape == "circle":
        return np.hypot(x, y) - r
    if shape == "ring":
        return np.abs(np.hypot(x, y) - 0.72 * r) - 0.28 * r
    a, b = np.abs(x), np.abs(y)
    if shape == "square":
        return np.maximum(a, b) - 0.9 * r
    if shape == "diamond":
        return (a + b - 1.08 * r) / math.sqrt(2)
    if shape == "cross":
        arm = 0.36 * r
        return np.minimum(np.maximum(a - r, b - arm), np.maximum(a - arm, b - r))
    s = 0.92 * r  # triangle: 2s wide, 1.8s high, its apex 1.2s above the centre
    return np.maximum(y - 0.6 * s, (1.8 * a - (y + 1.2 * s)) / math.hypot(1.8, 1))


def coverage(outside: np.ndarray, soft: float = 1.0) -> np.ndarray:
    """The share of each pixel that is inside, from its `distance` in pixels; the edge is `soft` pixels wide."""
    return np.clip(0.5 - outside / soft, 0, 1)


def pattern(texture: str, width: int, height: int) -> np.ndarray:
    """float32 [height, width] in [-1, 1] with a mean near 0. Stripes and checks are an eighth of the short side
    wide, so their edges fall between pixels where that is divisible by 8. The phase is fixed."""
    unit = min(width, height) / 8
    x = (np.arange(width, dtype=np.float32) + 0.5)[None, :] / unit
    y = (np.arange(height, dtype=np.float32) + 0.5)[:, None] / unit
    if texture == "horizontal stripes":
        field = 1 - 2 * (np.floor(y) % 2) + 0 * x
    elif texture == "vertical stripes":
        field = 1 - 2 * (np.floor(x) % 2) + 0 * y
    elif texture == "checks":
        field = 1 - 2 * ((np.floor(x) + np.floor(y)) % 2)
    elif texture == "dots":  # one in every square of 2 x 2 units, a quarter of the area
        field = 0.33 - 1.33 * coverage((np.hypot(x % 2 - 1, y % 2 - 1) - 0.56) * unit)
    else:
        field = np.zeros((height, width))
    return field.astype(np.float32)
