"""Rows of a matrix of vectors as unit vectors in fp32, a few at a time: the matrix may be larger than memory."""

from __future__ import annotations

import numpy as np

from catalog.errors import BadInput

STREAM_ROWS = 8_192  # converted at once in a pass over all rows
PAIR_ROWS = 1_024
CACHED_ROWS = 128  # of halves, whose conversion stays in the processor's cache
INFINITE = np.int16(0x7C00)  # the exponent of a half that is not finite
SIGN_AND_VALUE = np.int32(-0x70000001)  # 0x8FFFFFFF


class Rows:
    """Unit rows of `vectors` [M, D], a float array or memory map that is never converted as a whole.

    Row n is vectors[at[n]], `scale[n]` one over its length; left out, n itself, and its length is measured.
    Raises BadInput for vectors that are not finite, all zero, or not two-dimensional.
    """

    def __init__(
        self, vectors: np.ndarray, at: np.ndarray | None = None, scale: np.ndarray | None = None
    ) -> None:
        if vectors.ndim != 2:
            raise BadInput(f"near_duplicates takes an [N, D] array, not one of shape {vectors.shape}")
        self.vectors, self.at = vectors, at
        if scale is not None:
            self.scale = scale
            return
        self.scale = np.empty(len(vectors), dtype=np.float32)
        for start in range(0, len(vectors), STREAM_ROWS):
            scale = scales(vectors[start : start + STREAM_ROWS])
            bad = np.isnan(scale)
            if bad.any():
                row = start + int(np.argmax(bad))
                raise BadInput(f"row {row} of the vectors is zero or not finite; leave such rows out")
            self.scale[start : start + len(scale)] = scale

    def __len__(self) -> int:
        return len(self.scale)

    def _raw(self, ids: np.ndarray) -> np.ndarray:
        return self.vectors[ids if self.at is None else self.at[ids]]

    def take(self, ids: np.ndarray) -> np.ndarray:
        """Unit rows float32 [len(ids), D]."""
        rows = self._raw(ids)
        if rows.dtype == np.float16:
            return _widened(rows, self.scale[ids])
        rows = rows.astype(np.float32, copy=False)
        return np.multiply(rows, self.scale[ids, None], out=rows)

    def cosine(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Cosines of pairs of rows, float64: what a verdict near the threshold rests on, however rows are blocked."""
        found = np.empty(len(left))
        for start in range(0, len(left), PAIR_ROWS):
            part = slice(start, start + PAIR_ROWS)
            a = self._raw(left[part]).astype(np.float64)
            b = self._raw(right[part]).astype(np.float64)
            lengths = np.einsum("ij,ij->i", a, a) * np.einsum("ij,ij->i", b, b)
            found[part] = np.einsum("ij,ij->i", a, b) / np.sqrt(lengths)
        return found


def scales(vectors: np.ndarray) -> np.ndarray:
    """float32 [n]: one over the length of each row, NaN where that is zero or not finite."""
    block = np.asarray(vectors)
    if block.dtype == np.float16:
        finite = ((block.view(np.int16) & INFINITE) != INFINITE).all(axis=1)
        block = _widened(block, np.ones(len(block), dtype=np.float32))
    else:
        block = block.astype(np.float32, copy=False)
        finite = np.isfinite(block).all(axis=1)
    norms = np.sqrt(np.einsum("ij,ij->i", block, block))
    good = finite & np.isfinite(norms) & (norms > 0)
    return np.divide(1, norms, out=np.full(len(block), np.nan, dtype=np.float32), where=good)


def _widened(halves: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Finite float16 [n, D] as float32, times scale [n]: exact, and five times as fast as NumPy's conversion.

    A half's exponent and fraction are moved to where a float32 has its own; what is left is the difference of the
    exponents' biases, 2^112.
    """
    words = np.empty(halves.shape, dtype=np.int32)
    floats, bits = words.view(np.float32), np.ascontiguousarray(halves).view(np.int16)
    factor = scale[:, None] * np.float32(2.0**112)
    for start in range(0, len(halves), CACHED_ROWS):
        part = slice(start, start + CACHED_ROWS)
        word = words[part]
        word[...] = bits[part]
        word <<= 13
        word &= SIGN_AND_VALUE
        floats[part] *= factor[part]
    return floats
