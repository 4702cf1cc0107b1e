"""Arrays that are used again: memory that is fresh costs a page fault every 4 kB, which for floats is felt."""

from __future__ import annotations

import math
import sys

import numpy as np

_OURS = 3  # references to a buffer nobody uses: the list's, the loop's, and that of the call that counts


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
        for buffer in self._kept:
            if buffer.size >= size and sys.getrefcount(buffer) == _OURS:
                return buffer[:size].reshape(shape)
        fresh = np.empty(max([size, *(buffer.size for buffer in self._kept)]), dtype=np.float32)
        self._kept = [fresh, *self._kept][: self._keep]
        return fresh[:size].reshape(shape)
