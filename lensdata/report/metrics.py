"""The measurements the report draws: what each is called, its unit, and how its axis runs."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One measured value of an image. `rule` is the name in its thresholds `min_RULE` and `max_RULE`.

    `low` and `high` are the ends of its axis where the range is known; `log` asks for a logarithmic axis;
    `learned` says that a model gives it, not a formula.
    """

    name: str
    title: str
    unit: str
    rule: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    learned: bool = False

    def show(self, value: float) -> str:
        """The value as a reader expects it."""
        if self.name != "resolution":
            return f"{value:.4g}"
        side = math.isqrt(int(value))
        return f"{side}²" if side * side == value else f"{int(value):,}"


METRICS = (
    Metric("resolution", "Resolution", "area in pixels", "area", log=True),
    Metric("nsfw", "NSFW", "probability", "nsfw", 0.0, 1.0, learned=True),
    Metric("aesthetic", "Aesthetic", "about 1 to 10", "aesthetic", learned=True),
    Metric("watermark", "Watermark", "probability", "watermark", 0.0, 1.0, learned=True),
    Metric("clarity", "Clarity", "variance of the Laplacian", "clarity", log=True),
    Metric("entropy", "Entropy", "bits", "entropy", 0.0, 8.0),
    Metric("luminance", "Luminance", "mean of HSV's V, 0 to 1", "luminance", 0.0, 1.0),
)
