"""Cells: overlapping groups of nearby rows, so that nearly every pair of near-duplicates shares one.

A node's rows are divided among k unit centres, each row to the centre most like it; then each cell is divided
again, until cells are small. Let h(x) be the distance of a row x of cell a from the plane that bounds a against b.
If y lies in b, then h(x) + h(y) = <x - y, w> for the plane's unit normal w, which is at most |x - y|. So if rows
nearer than |x - y| / 2 to a border belong to both cells, no pair is lost; and since the difference of a pair seldom
points along w, far smaller margins lose few. The margin is as wide as a budget of copies allows.
"""

from __future__ import annotations

import math

import numpy as np

from lensdata.dedup.leaders import Search
from lensdata.dedup.rows import STREAM_ROWS, Rows

CELL_ROWS = 700  # aimed at: larger cells cost products, smaller ones copies
MOST_CENTRES = 64
SAMPLE_ROWS = 128  # a centre, to place the centres
ROUNDS = 8
COPIES = 0.7  # of each row, on average, in cells other than its own, at one level
MOST_COPIES = 3  # of one row at one level
FEW_LEADERS = 256  # a node whose sample boils down to this few is cheap as it stands: see `leaders`
DEEPEST = 5


def cells(rows: Rows, threshold: float) -> list[np.ndarray]:
    """Groups of row numbers, each ascending. The same rows give the same cells."""
    return _divide(rows, np.arange(len(rows)), threshold, DEEPEST)


def _divide(rows: Rows, members: np.ndarray, threshold: float, depth: int) -> list[np.ndarray]:
    if len(members) <= 2 * CELL_ROWS or depth == 0:
        return [members]
    wanted = len(members) / CELL_ROWS
    levels = math.ceil(math.log(wanted) / math.log(MOST_CENTRES))
    count = math.ceil(wanted ** (1 / levels))
    sample = _sample(rows, members, count * SAMPLE_ROWS, threshold)
    if len(sample) <= FEW_LEADERS:
        return [members]
    fit, fresh = (
        sample[::2],
        sample[1::2],
    )  # rows that made the centres lie farther from borders than others do
    centres = _centres(fit, min(count, len(fit) // 8))
    borders = Borders(centres, fresh, math.sqrt(2 - 2 * threshold) / 2)
    divided = _assign(rows, members, borders)
    if max(map(len, divided)) > 0.9 * len(members):
        depth = 1  # these rows do not come apart
    return [cell for child in divided for cell in _divide(rows, child, threshold, depth - 1)]


def _sample(rows: Rows, members: np.ndarray, size: int, threshold: float) -> np.ndarray:
    """Unit rows drawn from `members`, one of each set of duplicates, so that a heavy cluster attracts no centres."""
    if len(members) > size:
        members = np.sort(np.random.default_rng(len(members)).choice(members, size, replace=False))
    _, covered = Search(rows, threshold).leaders(members)
    return rows.take(np.setdiff1d(members, covered, assume_unique=True))


def _centres(sample: np.ndarray, count: int) -> np.ndarray:
    """Spherical k-means by FAISS, on its GPUs if it has any: float32 [count or fewer, D], distinct unit rows."""
    import faiss

    # min_points: a sample may be small, and FAISS would warn; the seed makes the cells the same every time.
    options = {"niter": ROUNDS, "spherical": True, "seed": 1, "min_points_per_centroid": 1}
    clustering = faiss.Kmeans(
        sample.shape[1], count, max_points_per_centroid=len(sample), gpu=faiss.get_num_gpus() > 0, **options
    )
    clustering.train(sample)
    centres = np.asarray(clustering.centroids)
    return np.unique(centres[np.linalg.norm(centres, axis=1) > 0], axis=0)


class Borders:
    """Centres and how near to a border a row belongs to the cell beyond it, too."""

    def __init__(self, centres: np.ndarray, sample: np.ndarray, widest: float) -> None:
        self.centres = centres
        gaps = np.sqrt(np.maximum(2 - 2 * (centres @ centres.T), 1e-6))
        self._over_gaps = (1 / gaps).astype(np.float32)
        self.margin = widest
        _, distances = self.distances(sample)
        nearest = np.sort(np.sort(distances, axis=1)[:, :MOST_COPIES], axis=None)
        allowed = int(COPIES * len(sample))
        if allowed < len(nearest):
            self.margin = min(widest, float(nearest[allowed]))

    def distances(self, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The cell of each row [n], and its distance to the border with every other [n, k]; to its own, infinite."""
        cosine = unit @ self.centres.T
        own = np.argmax(cosine, axis=1)
        at = np.arange(len(unit))
        distance = (cosine[at, own][:, None] - cosine) * self._over_gaps[own]
        distance[at, own] = np.inf
        return own, distance


def _assign(rows: Rows, members: np.ndarray, borders: Borders) -> list[np.ndarray]:
    """The members of every cell, ascending."""
    owners, copies = [], []
    for start in range(0, len(members), STREAM_ROWS):
        block = members[start : start + STREAM_ROWS]
        own, distance = borders.distances(rows.take(block))
        owners.append(own)
        copies.append(block)
        for _ in range(min(MOST_COPIES, len(borders.centres) - 1)):
            other = np.argmin(distance, axis=1)
            at = np.arange(len(block))
            near = distance[at, other] <= borders.margin
            owners.append(other[near])
            copies.append(block[near])
            distance[at, other] = np.inf
    cell, row = np.concatenate(owners), np.concatenate(copies)
    order = np.lexsort((row, cell))
    _, starts = np.unique(cell[order], return_index=True)
    return np.split(row[order], starts[1:])
