"""Damage of known severity, for training the aesthetic stand-in.

Every kind takes a uint8 [H, W, 3] image, a severity in [0, 1] and a numpy Generator, and returns a new
image of the same size. Severities are made for a short side of 224 to 300, near what the head sees.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np


def blur(rgb: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(rgb, (0, 0), 0.3 + 5.0 * severity * min(rgb.shape[:2]) / 224)


def noise(rgb: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    grain = rng.normal(0, 90 * severity, rgb.shape).astype(np.float32)
    return np.clip(rgb + grain, 0, 255).astype(np.uint8)


def jpeg_blocks(rgb: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    quality = round(42 * (1 - severity) ** 1.5) + 1
    code = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    back = cv2.imdecode(code, cv2.IMREAD_COLOR)
    assert back is not None  # it was encoded a line ago
    return np.ascontiguousarray(back[..., ::-1])


def exposure(rgb: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Crushed into the dark, burnt into the light, or washed out to a flat grey."""
    kind, x = int(rng.integers(3)), rgb.astype(np.float32)
    if kind == 0:
        x = x * (1 - 0.95 * severity)
    elif kind == 1:
        x = 255 - (255 - x * (1 + severity)) * (1 - 0.95 * severity)
    else:
        x = 128 + (x - 128) * (1 - 0.95 * severity)
    return np.clip(x, 0, 255).astype(np.uint8)


def posterise(rgb: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    step = 256 / max(2, round(2 + 10 * (1 - severity) ** 2))
    return np.clip((np.floor(rgb / step) + 0.5) * step, 0, 255).astype(np.uint8)


def pixelate(rgb: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    height, width = rgb.shape[:2]
    cell = (1 + 13 * severity) * min(height, width) / 224
    small = cv2.resize(
        rgb, (max(1, int(width / cell)), max(1, int(height / cell))), interpolation=cv2.INTER_AREA
    )
    mode = cv2.INTER_NEAREST if rng.random() < 0.5 else cv2.INTER_LINEAR
    return cv2.resize(small, (width, height), interpolation=mode)


DAMAGE: dict[str, Callable[[np.ndarray, float, np.random.Generator], np.ndarray]] = {
    "blur": blur,
    "noise": noise,
    "jpeg": jpeg_blocks,
    "exposure": exposure,
    "posterise": posterise,
    "pixelate": pixelate,
}


def nothing(rng: np.random.Generator, side: int = 224) -> np.ndarray:
    """A picture of nothing: one colour, a bare ramp, a little grain on one colour, or pure noise."""
    kind, tint = int(rng.integers(4)), rng.integers(0, 256, 3).astype(np.float32)
    flat = np.broadcast_to(tint, (side, side, 3)).astype(np.float32)
    if kind == 1:
        ramp = np.linspace(0, 1, side, dtype=np.float32)[:, None, None]
        ramp = ramp if rng.random() < 0.5 else ramp.transpose(1, 0, 2)
        flat = flat * (1 - ramp) + rng.integers(0, 256, 3).astype(np.float32) * ramp
    elif kind == 2:
        flat = flat + rng.normal(0, rng.uniform(1, 8), flat.shape).astype(np.float32)
    elif kind == 3:
        channels = 3 if rng.random() < 0.5 else 1
        flat = np.broadcast_to(
            rng.uniform(0, 255, (side, side, channels)).astype(np.float32), (side, side, 3)
        )
    return np.clip(flat, 0, 255).astype(np.uint8)
