"""The light tier's near-duplicate embedding: what is shown, where it is, on a scale the 0.985 threshold fits.

Pooled ImageNet features alone do not do: a JPEG copy of a drawing can fall to cosine 0.7 while two different
pictures reach 0.65. A 12 x 12 layout of colour is steady under recompression and resizing but knows no
objects. Together they separate; docs/light-models.md has the figures.
"""

from __future__ import annotations

import cv2
import numpy as np

from lensdata.models.light.efficientnet import POOLED_DIM

NAME = "efficientnet-lite0+layout"
LAYOUT_SIDE = 12
LAYOUT_SHARE = 0.7
DIM = POOLED_DIM + 3 * LAYOUT_SIDE**2 + 1
# The joint cosine at which two pictures count as one, and the paper's threshold for CLIP that it moves to.
OWN_THRESHOLD, PAPER_THRESHOLD = 0.90, 0.985
# One constant coordinate turns cosine c into share * c + (1 - share): order is kept, 0.90 becomes 0.985.
MOVING_SHARE = (1 - PAPER_THRESHOLD) / (1 - OWN_THRESHOLD)


def layout(rgb: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] -> float32 [432]: 12 x 12 mean colours less the picture's mean brightness, unit length.

    A picture of one grey has no layout and gives zeros.
    """
    height, width = rgb.shape[:2]
    if min(height, width) < LAYOUT_SIDE:
        rgb = np.repeat(np.repeat(rgb, -(-LAYOUT_SIDE // height), axis=0), -(-LAYOUT_SIDE // width), axis=1)
    cells = (
        cv2.resize(rgb, (LAYOUT_SIDE, LAYOUT_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    )
    return _unit((cells - cells.mean())[None])[0]


def embed(rgb: list[np.ndarray], pooled: np.ndarray) -> np.ndarray:
    """N images and their pooled features [N, 1280] -> float32 [N, DIM]: unit rows, or NaN where they are."""
    layouts = np.stack([layout(image) for image in rgb])
    fine = np.isfinite(pooled).all(axis=1)
    pooled = np.where(fine[:, None], pooled, 0)
    content = np.sqrt(MOVING_SHARE * (1 - LAYOUT_SHARE)) * _unit(pooled)
    constant = np.full((len(rgb), 1), np.sqrt(1 - MOVING_SHARE))
    joint = np.concatenate([content, np.sqrt(MOVING_SHARE * LAYOUT_SHARE) * layouts, constant], axis=1)
    joint = _unit(joint)
    joint[~fine] = np.nan
    return joint.astype(np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows at length 1; a row of zeros stays zeros."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
