"""The second look at a pair before one of it is dropped: do the pictures agree, not only their embeddings?

Embeddings of flat pictures and of text are alike whatever the colour or the words. So thumbnails are compared, area
by area: a copy differs a little everywhere, since recompression and resizing shift few of many pixels; other words
differ much in some areas, another colour somewhat in all. Both errors of a copy grow as the picture shrinks, an area
having fewer pixels, so both limits are c + d / s for the shorter side s, in pixels, of the smaller picture.
docs/dedup.md says how the constants were chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lensdata.dedup.gather import Thumbnails

HASH_BITS = 12  # of 64: perceptual hashes of copies differ by no more
GREATEST = (6.0, 8500.0)  # difference in any one area, of 255
MEAN = (3.0, 500.0)  # difference over all areas
MOST_PAIRS = 4_096  # compared at once


class Pictures:
    """What is compared: thumbnails uint8 [N, S, S, 3] (an array, or what reads them when asked for some), shorter
    sides [N], hashes uint64 [N] and which are known."""

    def __init__(
        self, thumbnails: np.ndarray | Thumbnails, sides: np.ndarray, hashes: np.ndarray, known: np.ndarray
    ) -> None:
        self.thumbnails, self.sides, self.hashes, self.known = thumbnails, sides, hashes, known

    def agree(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """bool per pair of row numbers: could one be a copy of the other?"""
        bits = np.bitwise_count(self.hashes[i] ^ self.hashes[j])
        verdict = (bits <= HASH_BITS) | ~(self.known[i] & self.known[j])
        left = np.flatnonzero(verdict)
        for start in range(0, len(left), MOST_PAIRS):
            part = left[start : start + MOST_PAIRS]
            verdict[part] = self._alike(i[part], j[part])
        return verdict

    def _alike(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        a, b = self.thumbnails[i], self.thumbnails[j]
        difference = (np.maximum(a, b) - np.minimum(a, b)).reshape(len(i), -1)
        side = np.maximum(np.minimum(self.sides[i], self.sides[j]), 1)
        greatest = difference.max(axis=1) <= GREATEST[0] + GREATEST[1] / side
        return greatest & (difference.mean(axis=1) <= MEAN[0] + MEAN[1] / side)
