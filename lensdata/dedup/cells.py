"""Cells: overlapping groups of nearby rows, so that nearly every pair of near-duplicates shares one.

A node's rows are divided among k unit centres, each row to the centre most like it; then each cell is divided
again, until cells are small. Let h(x) be the distance of a row x of cell a from the plane that bounds a against b.
If y lies in b, then h(x) + h(y) = <x - y, w> for the plane's unit normal w, which is at most |x - y|. So if rows
nearer than |x - y| / 2 to a border belong to both cells, no pair is lost; and since the difference of a pair seldom
points along w, far smaller margins lose few. The margin is as wide as a budget of copies allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from lensdata.dedup.leaders import Search
from lensdata.dedup.rows import STREAM_ROWS, Rows
from lensdata.dedup.tree import Cells, Tree

CELL_ROWS = 700  # aimed at: larger cells cost products, smaller ones copies
MOST_CENTRES = 64
SAMPLE_ROWS = 128  # a centre, to place the centres
ROUNDS = 8
COPIES = 0.7  # of each row, on average, in cells other than its own, at one level
MOST_COPIES = 3  # of one row at one level
FEW_LEADERS = 256  # a node whose sample boils down to this few is cheap as it stands: see `Search.cell`
DEEPEST = 5


def divide(
    rows: Rows, members: np.ndarray, threshold: float, depth: int = DEEPEST, stop: int = 0
) -> tuple[Cells, Tree, list[int]]:
    """Groups of `members` (ascending), each ascending, the tree that leads to them, and how much deeper each may be
    divided: nodes of at most `stop` rows are left for later. The same rows give the same cells, whatever `stop` is.
    """
    tree = Tree.root()
    leaves: list[np.ndarray] = []
    depths: list[int] = []

    waiting = [(0, members, depth)]
    while waiting:
        node, here, depth = waiting.pop()
        split = None if len(here) <= stop else _split(rows, here, threshold, depth)
        if split is None:
            tree.cell[node] = len(leaves)
            leaves.append(here)
            depths.append(depth)
            continue
        borders, divided = split
        if max(map(len, divided)) > 0.9 * len(here):
            depth = 1  # these rows do not come apart
        first = tree.branch(node, borders.centres, borders.margin)
        waiting += [(first + n, divided[n], depth - 1) for n in reversed(range(len(divided)))]
    return Cells.of(leaves), tree, depths


def place(tree: Tree, rows: Rows, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cells that rows belong to: (cells [m], rows [m]), in order of cell, then row."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    waiting = [(0, members)]
    while waiting:
        node, here = waiting.pop()
        if not len(here):
            continue
        if tree.cell[node] >= 0:
            found.append((np.full(len(here), tree.cell[node], dtype=np.int64), here))
            continue
        children = tree.children(node)
        divided = _assign(rows, here, Borders(tree.centres_of(children), tree.margin[node]))
        waiting += zip(children, divided, strict=True)
    cell = np.concatenate([cell for cell, _ in found] or [members[:0]])
    row = np.concatenate([row for _, row in found] or [members[:0]])
    order = np.lexsort((row, cell))
    return cell[order], row[order]


def _split(
    rows: Rows, members: np.ndarray, threshold: float, depth: int
) -> tuple[Borders, list[np.ndarray]] | None:
    if len(members) <= 2 * CELL_ROWS or depth == 0:
        return None
    wanted = len(members) / CELL_ROWS
    levels = math.ceil(math.log(wanted) / math.log(MOST_CENTRES))
    count = math.ceil(wanted ** (1 / levels))
    sample = _sample(rows, members, count * SAMPLE_ROWS, threshold)
    if len(sample) <= FEW_LEADERS:
        return None
    # Rows that made the centres lie farther from borders than others do, so the margin is fitted to fresh ones.
    fit, fresh = sample[::2], sample[1::2]
    centres = _centres(fit, min(count, len(fit) // 8))
    borders = Borders(centres, math.sqrt(2 - 2 * threshold) / 2)
    borders.narrow(fresh)
    return borders, _assign(rows, members, borders)


def _sample(rows: Rows, members: np.ndarray, size: int, threshold: float) -> np.ndarray:
    """Unit rows drawn from `members`, one of each set of duplicates, so that a heavy cluster attracts no centres."""
    if len(members) > size:
        members = np.sort(np.random.default_rng(len(members)).choice(members, size, replace=False))
    _, covered = Search(rows, threshold).cell(members)
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

    def __init__(self, centres: np.ndarray, margin: float) -> None:
        self.centres, self.margin = centres, float(margin)
        gaps = np.sqrt(np.maximum(2 - 2 * (centres @ centres.T), 1e-6))
        self._over_gaps = (1 / gaps).astype(np.float32)

    def narrow(self, sample: np.ndarray) -> None:
        """Keep to the budget of copies, as these unit rows would spend it."""
        _, distances = self.distances(sample)
        nearest = np.sort(np.sort(distances, axis=1)[:, :MOST_COPIES], axis=None)
        allowed = int(COPIES * len(sample))
        if allowed < len(nearest):
            self.margin = float(np.float32(min(self.margin, nearest[allowed])))

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
    for own, block in _owned(rows, members, borders):
        owners.append(own)
        copies.append(block)
    cell, row = np.concatenate(owners), np.concatenate(copies)
    order = np.lexsort((row, cell))
    return np.split(row[order], np.searchsorted(cell[order], np.arange(1, len(borders.centres))))


def _owned(rows: Rows, members: np.ndarray, borders: Borders) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(members), STREAM_ROWS):
        block = members[start : start + STREAM_ROWS]
        own, distance = borders.distances(rows.take(block))
        yield own, block
        for _ in range(min(MOST_COPIES, len(borders.centres) - 1)):
            other = np.argmin(distance, axis=1)
            at = np.arange(len(block))
            near = distance[at, other] <= borders.margin
            yield other[near], block[near]
            distance[at, other] = np.inf
