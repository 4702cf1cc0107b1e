"""How an image becomes a training picture of its bucket.

The rule: scale the whole image, keeping its aspect, until it just covers the target (each side at least the
target's, one of them equal); then cut the target out of it: at a place drawn from (seed, epoch, image id) in
training, in the middle for validation. Nothing is stretched beyond rounding to whole pixels.

Shrinking to half or less averages areas. Anything else, which is what decoding a JPEG at a scale leaves, is bicubic
(a = -0.5), widened when shrinking so that nothing aliases: averaging areas would mix some pixels and copy others,
and it takes longer than decoding does.
"""

from __future__ import annotations

import cv2
import numpy as np

from lensmodel.data.plan import key_of

_UNIT = (np.arange(256, dtype=np.float32) / 127.5 - 1.0).reshape(1, 256)  # of each 8-bit value


def cover_size(width: int, height: int, target_w: int, target_h: int) -> tuple[int, int]:
    """(width, height) of the smallest scaling of an image that covers the target."""
    scale = max(target_w / width, target_h / height)
    return max(round(width * scale), target_w), max(round(height * scale), target_h)


def cover(rgb: np.ndarray, target_w: int, target_h: int) -> np.ndarray:
    """`rgb` uint8 [H, W, 3] scaled to cover target_w x target_h; its memory may be planar."""
    width, height = cover_size(rgb.shape[1], rgb.shape[0], target_w, target_h)
    if rgb.shape[:2] == (height, width):
        return rgb
    if min(rgb.shape[1] / width, rgb.shape[0] / height) >= 2:
        return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    import torch  # here, since the world of shapes only asks for sizes

    image = torch.from_numpy(rgb if rgb.flags.writeable else rgb.copy()).permute(2, 0, 1)[None]
    scaled = torch.nn.functional.interpolate(image, size=(height, width), mode="bicubic", antialias=True)
    return scaled[0].permute(1, 2, 0).numpy()


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


def to_unit(rgb: np.ndarray, out: np.ndarray) -> None:
    """uint8 [H, W, 3] in [0, 255] -> `out`, float32 [3, H, W] in [-1, 1]. No copy of the floats is made on the way."""
    for channel in range(3):
        cv2.LUT(rgb[:, :, channel], _UNIT, out[channel])
