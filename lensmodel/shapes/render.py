"""Drawing a scene at any size, with smooth edges: the same scene, only finer."""

from __future__ import annotations

import math

import numpy as np

from catalog.errors import BadInput
from lensmodel.shapes.geometry import REACH, coverage, distance, pattern
from lensmodel.shapes.scene import COLOURS, TONES, Scene

CONTRAST = 13  # of the texture, grey levels up and down


def render(scene: Scene, width: int | None = None, height: int | None = None) -> np.ndarray:
    """uint8 [height, width, 3]; the scene's own size by default.

    At another aspect centres move with the sides, and shapes stay undistorted. Raises BadInput below 16 pixels.
    """
    width, height = width or scene.width, height or scene.height
    if min(width, height) < 16:
        raise BadInput(f"a picture of {width}x{height} pixels is too small for shapes; the least is 16")
    ground = TONES[scene.tone] + CONTRAST * pattern(scene.texture, width, height)
    rgb = np.repeat(ground[..., None], 3, axis=2)
    wide, high = width / scene.width, height / scene.height
    for shape in scene.shapes:
        x, y, r = shape.x * wide, shape.y * high, shape.r * min(wide, high)
        reach = REACH * r + 1
        left, top = max(0, math.floor(x - reach)), max(0, math.floor(y - reach))
        right, bottom = min(width, math.ceil(x + reach)), min(height, math.ceil(y + reach))
        columns = np.arange(left, right, dtype=np.float32)[None, :] + np.float32(0.5 - x)
        rows = np.arange(top, bottom, dtype=np.float32)[:, None] + np.float32(0.5 - y)
        ink = coverage(distance(shape.shape, columns, rows, r))[..., None]
        window = rgb[top:bottom, left:right]
        window += ink * (np.array(COLOURS[shape.colour], np.float32) - window)
    return np.rint(rgb).astype(np.uint8)
