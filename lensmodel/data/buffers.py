"""Arrays that are used again: memory that is fresh costs a page fault every 4 kB, which for floats is felt."""

from __future__ import annotations

import math
import sys

import numpy as np


def _free(kept: list[np.ndarray], size: int, references: int) -> np.ndarray | None:
    """The first array of `kept` that has this size and as many references as one that nobody uses."""
    for buffer in kept:
        if buffer.size >= size and sys.getrefcount(buffer) == references:
            return buffer
    return None


def _references() -> int:
    """What `_free` counts of a buffer that nobody uses. Not every Python counts what a loop and a call hold."""
    kept = [np.empty(1, dtype=np.float32)]
    return next(n for n in range(1, 9) if _free(kept, 0, n) is not None)


_UNUSED = _references()


class Buffers:
    """At most `keep` float32 buffers. One is free when nothing refers to it any more: every view of an array, also
    `torch.from_numpy`, holds on to the array that owns the memory. So whoever keeps a batch keeps it unchanged.

    For one thread.
    """

    def __init__(self, keep: int) -> None:
        self._keep, self._kept = keep, list[np.ndarray]()

    def empty(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array of this shape, its values whatever they were."""
        size = math.prod(shape)
        found = _free(self._kept, size, _UNUSED)
        if found is not None:
            return found[:size].reshape(shape)
        fresh = np.empty(max([size, *(buffer.size for buffer in self._kept)]), dtype=np.float32)
        self._kept = [fresh, *self._kept][: self._keep]
        return fresh[:size].reshape(shape)
