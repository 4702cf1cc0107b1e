"""How an image becomes a training picture of its bucket.

The rule: scale the whole image, keeping its aspect, until it just covers the target (each side at least the
target's, one of them equal), averaging areas when shrinking; then cut the target out of it: at a place drawn
from (seed, epoch, image id) in training, in the middle for validation. Nothing is stretched beyond rounding
to whole pixels.
"""

from __future__ import annotations

import cv2
import numpy as np

from lensmodel.data.plan import key_of


def cover_size(width: int, height: int, target_w: int, target_h: int) -> tuple[int, int]:
    """(width, height) of the smallest scaling of an image that covers the target."""
    scale = max(target_w / width, target_h / height)
    return max(round(width * scale), target_w), max(round(height * scale), target_h)


def cover(rgb: np.ndarray, target_w: int, target_h: int) -> np.ndarray:
    """`rgb` uint8 [H, W, 3] scaled to cover target_w x target_h: area averaging down, bicubic up."""
    height, width = rgb.shape[:2]
    size = cover_size(width, height, target_w, target_h)
    if size == (width, height):
        return np.ascontiguousarray(rgb)
    how = cv2.INTER_AREA if size[0] <= width else cv2.INTER_CUBIC
    return cv2.resize(rgb, size, interpolation=how)


def crop(covered: np.ndarray, target_w: int, target_h: int, place: tuple[float, float]) -> np.ndarray:
    """Cut target_h x target_w out of `covered`; `place` in [0, 1) x [0, 1) spans free rows and columns."""
    free_rows, free_columns = covered.shape[0] - target_h, covered.shape[1] - target_w
    top, left = int(place[0] * (free_rows + 1)), int(place[1] * (free_columns + 1))
    return covered[top : top + target_h, left : left + target_w]


CENTRE = (0.5, 0.5)


def random_place(seed: int, epoch: int, image_id: int) -> tuple[float, float]:
    """Where to crop in training: a pure function of its arguments, uniform in [0, 1) x [0, 1)."""
    key = key_of("crop", seed, epoch, image_id)
    return (key >> 32) / 2**31, (key & 0xFFFFFFFF) / 2**32


def to_unit(rgb: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] in [0, 255] -> float32 [3, H, W] in [-1, 1]."""
    return np.ascontiguousarray(rgb.transpose(2, 0, 1), dtype=np.float32) / 127.5 - 1.0
