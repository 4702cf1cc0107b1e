"""The 27 resolution buckets of mixed-resolution training (paper, section "Pre-training")."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Bucket:
    """One training resolution. `base` is the side of the square with about the same area, in pixels."""

    base: int
    aspect: str
    width: int
    height: int

    @property
    def name(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def area(self) -> int:
        return self.width * self.height


ASPECTS = ("1:2", "9:16", "2:3", "3:4", "1:1", "4:3", "3:2", "16:9", "2:1")
_PORTRAIT_SIZES = {  # (width, height) from 1:2 to 1:1; the landscape ones are their transposes
    512: ((352, 704), (384, 672), (416, 640), (448, 608), (512, 512)),
    768: ((544, 1088), (576, 1024), (640, 960), (672, 896), (768, 768)),
    1024: ((736, 1472), (768, 1376), (832, 1248), (864, 1152), (1024, 1024)),
}


def _sizes(base: int) -> list[tuple[int, int]]:
    upright = list(_PORTRAIT_SIZES[base])
    return upright + [(h, w) for w, h in reversed(upright[:-1])]


BUCKETS: tuple[Bucket, ...] = tuple(
    Bucket(base, aspect, *size)
    for base in _PORTRAIT_SIZES
    for aspect, size in zip(ASPECTS, _sizes(base), strict=True)
)
BY_NAME: dict[str, Bucket] = {bucket.name: bucket for bucket in BUCKETS}


def assign(width: int, height: int) -> Bucket:
    """The bucket of an image of `width` x `height` pixels (oriented size).

    Of each base the bucket nearest in aspect (smallest |log ratio|; on a tie the one listed first), and of those
    the one of the largest base whose area the image reaches, so that nothing is upscaled. An image smaller than
    every base goes to the smallest one: between the paper's minimum of 384^2 and 512^2 pixels it is enlarged by at
    most 4/3 a side.

    Raises ValueError if a side is not positive.
    """
    if width <= 0 or height <= 0:
        raise ValueError(f"an image of {width}x{height} pixels has no bucket; both sides must be positive")
    ratio = math.log(width / height)
    nearest = [
        min((b for b in BUCKETS if b.base == base), key=lambda b: abs(math.log(b.width / b.height) - ratio))
        for base in _PORTRAIT_SIZES
    ]
    reached = [bucket for bucket in nearest if width * height >= bucket.area]
    return reached[-1] if reached else nearest[0]
