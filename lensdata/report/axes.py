"""The horizontal axis of a histogram: where it begins and ends, and which values it names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from catalog.metrics import Metric

BINS = 48
DECADES = 8  # of a logarithmic axis at most; smaller values are counted in its first bin


@dataclass(frozen=True)
class Axis:
    """`low` and `high` are values, or their log10 if `log`; `ticks` are (value, label)."""

    low: float
    high: float
    log: bool
    ticks: tuple[tuple[float, str], ...]

    def at(self, value: float) -> float:
        """Where `value` stands: 0 at the low end, 1 at the high end."""
        x = math.log10(max(value, 1e-9)) if self.log else value
        return min(max((x - self.low) / (self.high - self.low), 0.0), 1.0)

    def edge(self, number: int) -> float:
        """The value at which bin `number` of BINS begins."""
        x = self.low + (self.high - self.low) * number / BINS
        return 10**x if self.log else x


def axis(metric: Metric, lowest: float, highest: float, thresholds: Sequence[float]) -> Axis:
    """An axis over the metric's range, else the values (positive ones if logarithmic), and the thresholds."""
    if metric.name == "area":
        return _area([lowest, highest, *thresholds])
    if metric.log:
        return _decades([lowest, highest, *(value for value in thresholds if value > 0)])
    fixed = metric.low is not None and metric.high is not None
    ends = [metric.low, metric.high] if fixed else [lowest, highest]
    return linear([*(end for end in ends if end is not None), *thresholds])


def linear(values: Sequence[float]) -> Axis:
    """A linear axis over `values`, with four to ten round ticks."""
    low, high = min(values), max(values)
    if high - low <= 1e-6 * max(abs(low), abs(high), 1):
        low, high = low - 0.5, high + 0.5
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next(factor for factor in (1, 2, 5) if (high - low) / (step * factor) <= 10 or factor == 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple((n * step, f"{n * step:.6g}") for n in range(first, last + 1))
    return Axis(first * step, last * step, False, ticks)


def _decades(values: Sequence[float]) -> Axis:
    high = math.ceil(math.log10(max(values)) - 1e-9)
    low = max(math.floor(math.log10(min(values)) + 1e-9), high - DECADES)
    low = min(low, high - 1)
    ticks = tuple((10.0**n, f"{10**n:,}" if n >= 0 else f"{10.0**n:g}") for n in range(low, high + 1))
    return Axis(low, high, True, ticks)


def _area(values: Sequence[float]) -> Axis:
    """Powers of four, named by the side of the square: 256², 512², ..."""
    positive = [value for value in values if value >= 1] or [1.0]
    high = math.ceil(math.log(max(positive), 4) - 1e-9)
    low = min(math.floor(math.log(min(positive), 4) + 1e-9), high - 1)
    ticks = tuple((4.0**n, f"{2**n}²") for n in range(low, high + 1))
    return Axis(math.log10(4) * low, math.log10(4) * high, True, ticks)
