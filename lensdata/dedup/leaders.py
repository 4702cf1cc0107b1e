"""Pairs within one cell: rows against the leaders before them, in blocks of matrix products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lensdata.dedup.rows import Rows

Agree = Callable[[np.ndarray, np.ndarray], np.ndarray]

BLOCK_ROWS = 512
LEADER_ROWS = 2_048  # leaders against one block at once: the product stays a few megabytes
AGREE_PAIRS = 65_536
WHOLE_ROWS = 2_048  # cells up to this are held as fp32
ROUNDING = 1e-5  # an fp32 product's cosine is surer than this; closer to the threshold it is computed again

# What a row is in a cell. OLD: covered by another row, and all its pairs with keepers are known. DONE: a keeper whose
# pairs with all rows but FRESH ones are known. FRESH: no pair is known. FREED: what covered it has gone.
OLD, DONE, FRESH, FREED = 0, 1, 2, 3


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

    def cell(self, members: np.ndarray, role: np.ndarray | None = None) -> tuple[Pairs, np.ndarray]:
        """Look for the duplicates of one cell's `members` (ascending), whose roles default to FRESH.

        In order of rank a FRESH or FREED row leads unless a DONE row or an earlier leader of this cell covers it.
        Returns every pair of a leader with a later member and of a DONE row with a later FRESH one (cosines as fp64
        gives them, however rows are blocked), and the FRESH and FREED rows that do not lead.
        """
        if role is None:
            role = np.full(len(members), FRESH, dtype=np.uint8)
        units = _Units(self.rows, members)
        may_lead = role >= FRESH
        dropped = np.zeros(len(members), dtype=bool)
        found: list[Pairs] = []
        fresh = np.flatnonzero(role == FRESH)
        if len(fresh):
            for chunk in _chunks(np.flatnonzero(role == DONE), LEADER_ROWS):
                for block in _chunks(fresh, BLOCK_ROWS):
                    found.append(self._between(members, chunk, units[chunk], block, units[block]))
                    dropped[found[-1].right] = True
        leaders: list[np.ndarray] = []
        for block in _chunks(np.arange(len(members)), BLOCK_ROWS):
            if not leaders and not may_lead[block].any():
                continue
            unit = units[block]
            before = np.concatenate(leaders) if leaders else block[:0]
            for chunk in _chunks(before, LEADER_ROWS):
                found.append(self._between(members, chunk, units[chunk], block, unit))
                dropped[found[-1].right] = True
            free = may_lead[block] & ~dropped[block]
            pairs = self._between(members, block[free], unit[free], block, unit)
            found.append(_led(pairs, dropped))
            leaders.append(block[may_lead[block] & ~dropped[block]])
        pairs = Pairs.join(found)
        left, right = members[pairs.left], members[pairs.right]
        cosine = np.minimum(self.rows.cosine(left, right), 1).astype(np.float32)
        return Pairs(left, right, cosine), members[may_lead & dropped]

    def _between(
        self, members: np.ndarray, left: np.ndarray, a: np.ndarray, right: np.ndarray, b: np.ndarray
    ) -> Pairs:
        """Pairs of places `left` in `members` (units a) with later `right` (units b), in order of left, then right."""
        cosine = a @ b.T
        i, j = np.nonzero(cosine > self.threshold - ROUNDING)
        pairs = Pairs(left[i], right[j], cosine[i, j])
        pairs = pairs[pairs.left < pairs.right]
        close = np.flatnonzero(pairs.cosine <= self.threshold + ROUNDING)
        if len(close):
            true = np.ones(len(pairs), dtype=bool)
            true[close] = (
                self.rows.cosine(members[pairs.left[close]], members[pairs.right[close]]) > self.threshold
            )
            pairs = pairs[true]
        if self.agree is not None and len(pairs):
            verdicts = [
                np.asarray(self.agree(members[pairs.left[part]], members[pairs.right[part]]), dtype=bool)
                for part in _slices(len(pairs), AGREE_PAIRS)
            ]
            pairs = pairs[np.concatenate(verdicts)]
        return pairs


class _Units:
    """Unit rows of a cell by their places in it: an ordinary cell's are converted once."""

    def __init__(self, rows: Rows, members: np.ndarray) -> None:
        self._rows, self._members = rows, members
        self._whole = rows.take(members) if len(members) <= WHOLE_ROWS else None

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        if self._whole is None:
            return self._rows.take(self._members[places])
        if len(places) and places[-1] - places[0] + 1 == len(places):
            return self._whole[places[0] : places[-1] + 1]  # a slice is no copy
        return self._whole[places]


def _led(pairs: Pairs, dropped: np.ndarray) -> Pairs:
    """Walk a block's pairs in order of rank: keep those of its new leaders and mark in `dropped` what these cover."""
    if not len(pairs):
        return pairs
    lefts, starts = np.unique(pairs.left, return_index=True)
    stops = np.append(starts[1:], len(pairs))
    kept = np.zeros(len(pairs), dtype=bool)
    for row, start, stop in zip(lefts.tolist(), starts.tolist(), stops.tolist(), strict=True):
        if not dropped[row]:
            dropped[pairs.right[start:stop]] = True
            kept[start:stop] = True
    return pairs[kept]


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]


def _chunks(places: np.ndarray, size: int) -> list[np.ndarray]:
    return [places[part] for part in _slices(len(places), size)]
