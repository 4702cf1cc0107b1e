"""Ratios of speeds on a machine that others use too: the contenders take turns, in CPU time, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import TypeVar

Item = TypeVar("Item")


def interleaved(
    contenders: dict[str, Callable[[Item], object]], items: Sequence[Item], rounds: int = 7
) -> dict[str, float]:
    """Items a second of CPU time for each contender: the median of `rounds` passes over `items`.

    In every round each contender passes over all items before the next one does, so that a busy spell of the
    machine hits all of them. One pass beforehand, uncounted, warms caches.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for counted in range(-1, rounds):
        for name, work in contenders.items():
            start = time.process_time()
            for item in items:
                work(item)
            if counted >= 0:
                seconds[name].append(time.process_time() - start)
    return {name: len(items) / median(taken) for name, taken in seconds.items()}


def report(rates: dict[str, float], ratios: Sequence[tuple[str, str]], unit: str = "images/s/core") -> None:
    """Print every rate, then the ratio of each (numerator, denominator) pair of contenders."""
    width = max(map(len, rates))
    for name, rate in rates.items():
        print(f"{name:<{width}}  {rate:10.0f} {unit}")
    for above, below in ratios:
        print(f"{above} / {below} = {rates[above] / rates[below]:.3f}")
