"""The horizontal axis of a histogram: where it begins and ends, and which values it names.

No library of the base install gives round ticks to Python (DuckDB's equi_width_bins gives them to SQL alone).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from catalog.metrics import AREA, Metric

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

    def labels(self, width: float) -> list[tuple[float, str]]:
        """The ticks whose labels do not touch if the axis is `width` wide, in units of 1/11 of the font's size."""
        shown: list[tuple[float, str]] = []
        end = -math.inf
        for value, text in self.ticks:
            x, half = width * self.at(value), 3.5 * len(text) + 4
            if x - half >= end:
                shown.append((value, text))
                end = x + half
        return shown


def axis(metric: Metric, lowest: float, highest: float, thresholds: Sequence[float]) -> Axis:
    """An axis over the metric's range, else the values (positive ones if logarithmic), and the thresholds."""
    if metric.log:
        positive = [value for value in (lowest, highest, *thresholds) if value > 0]
        return powers(positive or [1.0], 4 if metric is AREA else 10, metric)
    if metric.low is not None and metric.high is not None:
        lowest, highest = metric.low, metric.high
    return linear([lowest, highest, *thresholds])


def linear(values: Sequence[float]) -> Axis:
    """A linear axis over `values`, with four to ten round ticks."""
    low, high = min(values), max(values)
    if high - low <= 1e-6 * max(abs(low), abs(high), 1):
        low, high = low - 0.5, high + 0.5
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next(factor for factor in (1, 2, 5) if (high - low) / (step * factor) <= 10 or factor == 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple((n * step, _label(n * step)) for n in range(first, last + 1))
    return Axis(first * step, last * step, False, ticks)


def powers(values: Sequence[float], base: int, metric: Metric) -> Axis:
    """A logarithmic axis over positive `values`, with a tick at each power of `base`."""
    high = math.ceil(math.log(max(values), base) - 1e-9)
    low = math.floor(math.log(min(values), base) + 1e-9)
    low = min(max(low, high - math.floor(DECADES / math.log10(base))), high - 1)
    ticks = tuple((float(base) ** n, written(metric, float(base) ** n)) for n in range(low, high + 1))
    return Axis(low * math.log10(base), high * math.log10(base), True, ticks)


def written(metric: Metric, value: float, digits: int = 10) -> str:
    """A value as a reader expects it; an area by the side of its square."""
    if metric is not AREA:
        return _label(value, digits)
    side = math.isqrt(int(value))
    return f"{side}²" if side * side == value else f"{int(value):,}"


def _label(value: float, digits: int = 10) -> str:
    return f"{value:,.{digits}g}"
