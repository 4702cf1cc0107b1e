"""Pairs within one cell: every row against the leaders before it, in blocks of matrix products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lensdata.dedup.rows import Rows

Agree = Callable[[np.ndarray, np.ndarray], np.ndarray]

BLOCK_ROWS = 512
LEADER_ROWS = 2_048  # leaders against one block at once: the product stays a few megabytes
AGREE_PAIRS = 65_536
ROUNDING = (
    1e-5  # a cosine from an fp32 product is surer than this; closer to the threshold it is computed again
)


@dataclass(frozen=True)
class Pairs:
    """Pairs of near-duplicate rows, left < right."""

    left: np.ndarray
    right: np.ndarray
    cosine: np.ndarray

    @classmethod
    def join(cls, parts: Sequence[Pairs]) -> Pairs:
        if not parts:
            return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        return cls(
            np.concatenate([part.left for part in parts]),
            np.concatenate([part.right for part in parts]),
            np.concatenate([part.cosine for part in parts]),
        )

    def __getitem__(self, which: np.ndarray) -> Pairs:
        return Pairs(self.left[which], self.right[which], self.cosine[which])

    def __len__(self) -> int:
        return len(self.left)


class Search:
    """Finds pairs above `threshold` that `agree` does not veto. Memory is bounded by the blocks, not by the cell."""

    def __init__(self, rows: Rows, threshold: float, agree: Agree | None = None) -> None:
        self.rows, self.threshold, self.agree = rows, threshold, agree

    def leaders(self, members: np.ndarray) -> tuple[Pairs, np.ndarray]:
        """Apply the greedy rule to the rows `members` (ascending) alone.

        Returns every pair of a leader (a row no earlier leader covers) with a later member, and the covered rows.
        """
        found: list[Pairs] = []
        leaders: list[np.ndarray] = []
        covered: list[np.ndarray] = []
        for start in range(0, len(members), BLOCK_ROWS):
            block = members[start : start + BLOCK_ROWS]
            unit = self.rows.take(block)
            dropped = np.zeros(len(block), dtype=bool)
            before = np.concatenate(leaders) if leaders else members[:0]
            for chunk in _chunks(before, LEADER_ROWS):
                pairs = self._between(chunk, self.rows.take(chunk), block, unit)
                dropped[np.searchsorted(block, pairs.right)] = True
                found.append(pairs)
            free = ~dropped
            pairs = self._between(block[free], unit[free], block, unit)
            found.append(_led(pairs, block, dropped))
            leaders.append(block[~dropped])
            covered.append(block[dropped])
        return Pairs.join(found), np.concatenate(covered) if covered else members[:0]

    def later(self, left: np.ndarray, members: np.ndarray) -> Pairs:
        """Every pair of a row in `left` with a later row in `members`, both ascending."""
        found = []
        for chunk in _chunks(left, LEADER_ROWS):
            unit = self.rows.take(chunk)
            for block in _chunks(members[np.searchsorted(members, chunk[0]) :], BLOCK_ROWS):
                found.append(self._between(chunk, unit, block, self.rows.take(block)))
        return Pairs.join(found)

    def _between(self, left: np.ndarray, a: np.ndarray, right: np.ndarray, b: np.ndarray) -> Pairs:
        """Pairs of rows `left` (units a) with later rows of `right` (units b), in order of left, then right."""
        cosine = a @ b.T
        i, j = np.nonzero(cosine > self.threshold - ROUNDING)
        pairs = Pairs(left[i], right[j], np.minimum(cosine[i, j], np.float32(1)))
        pairs = pairs[pairs.left < pairs.right]
        close = np.flatnonzero(pairs.cosine <= self.threshold + ROUNDING)
        if len(close):
            true = np.ones(len(pairs), dtype=bool)
            true[close] = self.rows.cosine(pairs.left[close], pairs.right[close]) > self.threshold
            pairs = pairs[true]
        if self.agree is not None and len(pairs):
            verdicts = [
                np.asarray(self.agree(pairs.left[part], pairs.right[part]), dtype=bool)
                for part in _slices(len(pairs), AGREE_PAIRS)
            ]
            pairs = pairs[np.concatenate(verdicts)]
        return pairs


def _led(pairs: Pairs, block: np.ndarray, dropped: np.ndarray) -> Pairs:
    """Walk a block in order of rank: keep the pairs of its new leaders and mark in `dropped` what they cover."""
    if not len(pairs):
        return pairs
    lefts, starts = np.unique(pairs.left, return_index=True)
    stops = np.append(starts[1:], len(pairs))
    at, to = np.searchsorted(block, lefts), np.searchsorted(block, pairs.right)
    kept = np.zeros(len(pairs), dtype=bool)
    for row, start, stop in zip(at.tolist(), starts.tolist(), stops.tolist(), strict=True):
        if not dropped[row]:
            dropped[to[start:stop]] = True
            kept[start:stop] = True
    return pairs[kept]


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]


def _chunks(ids: np.ndarray, size: int) -> list[np.ndarray]:
    return [ids[part] for part in _slices(len(ids), size)]
