"""What text is rendered onto: plain colours, gradients, noise, stripes, paper, or crops of given pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from catalog.errors import BadInput

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
DRAWN = ("solid", "gradient", "noise", "stripes", "paper")
MAX_PIXELS = 40_000_000  # a larger picture costs more to decode than the crop is worth


def find_pictures(folder: Path) -> list[Path]:
    """The picture files under `folder`, sorted. Raises BadInput if it is no folder or holds none."""
    if not folder.is_dir():
        raise BadInput(f"backgrounds: there is no folder {folder}")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    if not found:
        raise BadInput(f"backgrounds: {folder} holds no pictures ({', '.join(sorted(PICTURES))})")
    return found


def make(rng: Random, width: int, height: int, pictures: Sequence[Path] = ()) -> tuple[np.ndarray, str]:
    """(uint8 [height, width, 3], kind). With `pictures`, two in three backgrounds are crops of them."""
    if pictures and rng.random() < 2 / 3:
        for path in rng.sample(pictures, min(4, len(pictures))):
            crop = _crop(rng, path, width, height)
            if crop is not None:
                return crop, f"picture {path.name}"
    kind = rng.choice(DRAWN)
    noise = np.random.default_rng(rng.getrandbits(64))
    first, second = _colour(rng), _colour(rng)
    if kind == "solid":
        field = np.broadcast_to(first, (height, width, 3))
    elif kind == "gradient":
        field = _mix(first, second, _ramp(rng, width, height))
    elif kind == "stripes":
        period = rng.uniform(0.03, 0.2) * max(width, height)
        wave = _ramp(rng, width, height) * max(width, height) / period % 1 < rng.uniform(0.3, 0.7)
        field = _mix(first, first + rng.uniform(0.15, 0.5) * (second - first), wave.astype(np.float32))
    elif kind == "paper":
        light = 255 - rng.uniform(0.0, 0.25) * (255 - first)
        grain = noise.normal(0, rng.uniform(2, 8), (height, width, 1)).astype(np.float32)
        field = light + grain + 14 * (_clouds(noise, width, height, 5) - 0.5)[..., None]
    else:
        field = _mix(
            first,
            first + rng.uniform(0.3, 1.0) * (second - first),
            _clouds(noise, width, height, rng.randint(2, 7)),
        )
    return np.clip(field, 0, 255).astype(np.uint8), kind


def _colour(rng: Random) -> np.ndarray:
    return np.array([rng.uniform(0, 255) for _ in range(3)], dtype=np.float32)


def _mix(first: np.ndarray, second: np.ndarray, amount: np.ndarray) -> np.ndarray:
    return first + amount[..., None] * (second - first)


def _ramp(rng: Random, width: int, height: int) -> np.ndarray:
    """float32 [height, width], 0 to 1 along a random direction or outwards from a random point."""
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    if rng.random() < 0.3:
        ramp = np.hypot(x - np.float32(rng.random()), y - np.float32(rng.random()))
    else:
        angle = rng.uniform(0, 2 * np.pi)
        ramp = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    low, high = ramp.min(), ramp.max()
    return (ramp - low) / (high - low)


def _clouds(noise: np.random.Generator, width: int, height: int, octaves: int) -> np.ndarray:
    """Smooth noise, float32 [height, width] in [0, 1]: grids, each twice as fine and half as strong."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cells = 2 ** (octave + 1)
        grid = Image.fromarray(noise.random((cells + 1, cells + 1), dtype=np.float32))
        total += np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC)) / 2**octave
    low, high = total.min(), total.max()
    return (total - low) / (high - low)


def _crop(rng: Random, path: Path, width: int, height: int) -> np.ndarray | None:
    """A random crop of the wanted aspect, resized to width x height; None if the file will not decode."""
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                return None
            picture.draft("RGB", (width, height))
            rgba = picture.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    on_white = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    scale = min(on_white.width / width, on_white.height / height) * rng.uniform(0.6, 1.0)
    wide, high = max(1, int(width * scale)), max(1, int(height * scale))
    left, top = rng.randint(0, on_white.width - wide), rng.randint(0, on_white.height - high)
    return np.asarray(
        on_white.resize((width, height), Image.Resampling.BICUBIC, (left, top, left + wide, top + high))
    )
