"""Rows of a matrix of vectors as unit vectors in fp32, a few at a time: the matrix may be larger than memory."""

from __future__ import annotations

import numpy as np

from catalog.errors import BadInput

STREAM_ROWS = 8_192  # converted at once in a pass over all rows
PAIR_ROWS = 4_096


class Rows:
    """Unit rows of `vectors` [N, D], a float array or memory map that is never converted as a whole.

    Raises BadInput for vectors that are not finite, all zero, or not two-dimensional.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        if vectors.ndim != 2:
            raise BadInput(f"near_duplicates takes an [N, D] array, not one of shape {vectors.shape}")
        self.vectors = vectors
        self.scale = np.empty(len(vectors), dtype=np.float32)
        for start in range(0, len(vectors), STREAM_ROWS):
            block = np.asarray(vectors[start : start + STREAM_ROWS], dtype=np.float32)
            norms = np.sqrt(np.einsum("ij,ij->i", block, block))
            bad = ~np.isfinite(norms) | (norms == 0)
            if bad.any():
                row = start + int(np.argmax(bad))
                raise BadInput(f"row {row} of the vectors is zero or not finite; leave such rows out")
            self.scale[start : start + len(block)] = 1 / norms

    def __len__(self) -> int:
        return len(self.scale)

    def take(self, ids: np.ndarray) -> np.ndarray:
        """Unit rows float32 [len(ids), D]."""
        rows = self.vectors[ids].astype(np.float32, copy=False)
        return np.multiply(rows, self.scale[ids, None], out=rows)

    def cosine(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Cosines of pairs of rows, float64: what a verdict near the threshold rests on, however rows are blocked."""
        found = np.empty(len(left))
        for start in range(0, len(left), PAIR_ROWS):
            part = slice(start, start + PAIR_ROWS)
            a = self.vectors[left[part]].astype(np.float64)
            b = self.vectors[right[part]].astype(np.float64)
            lengths = np.einsum("ij,ij->i", a, a) * np.einsum("ij,ij->i", b, b)
            found[part] = np.einsum("ij,ij->i", a, b) / np.sqrt(lengths)
        return found
