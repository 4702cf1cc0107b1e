"""Near-duplicate search over embeddings (paper section 2.1, filter 9).

The rule is greedy and global: in order of rank a row is kept unless an earlier keeper duplicates it. The search is
local: `cells` gathers rows that may be duplicates, `leaders` finds each cell's pairs. A pair matters only if its
earlier row is a keeper, so a cell looks no further at rows that one of its own leaders covers; of a million copies
of one picture only the first is compared with the others. A cell may be wrong about a row, when the leader that
covers it is itself covered by a row of another cell. Such a row turns up as a keeper in the global order, and its
later pairs are then fetched, until no such row is left. The result is the one all pairs would give: whether a row
is kept depends on nothing but the pairs whose earlier row is a keeper, and those are all there.
"""

from __future__ import annotations

import numpy as np

from catalog.errors import BadInput
from lensdata.dedup.cells import cells
from lensdata.dedup.leaders import Agree, Pairs, Search
from lensdata.dedup.rows import Rows

__all__ = ["Agree", "near_duplicates"]

EXACT_ROWS = 16_384  # up to here one cell holds all rows and no pair can be missed


def near_duplicates(
    vectors: np.ndarray, threshold: float = 0.985, agree: Agree | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Find each row's keeper: the earlier-ranked keeper it duplicates most.

    `vectors` is float [N, D], of any length (rows are normalised here), best keeper first; it may be a memory map
    and is read a few thousand rows at a time. A row is kept if its cosine with every keeper before it is at most
    `threshold`; otherwise it goes to the most similar of these keepers. So every member is within the threshold of
    its keeper, and no chain A~B~C joins A with a distant C. `agree(i, j)` may veto pairs of rows: int64 arrays
    with i < j -> bool array.

    Exact up to 16,384 rows. Beyond, pairs are sought in overlapping cells and a few may be missed
    (docs/dedup.md has the measured recall); what is found is always true.

    Returns (keeper_row int64 [N], similarity float32 [N]); a row that is its own keeper is kept, with similarity 1.
    Raises BadInput for vectors that are not finite, all zero, or not two-dimensional, and for a threshold outside
    (0, 1).
    """
    if not 0 < threshold < 1:
        raise BadInput(f"the cosine threshold must lie between 0 and 1, not at {threshold}")
    rows = Rows(vectors)
    search = Search(rows, threshold, agree)
    if len(rows) <= EXACT_ROWS:
        groups = [np.arange(len(rows))]
    else:
        groups = cells(rows, threshold)
    found, covered = [], []
    for members in groups:
        pairs, dropped = search.leaders(members)
        found.append(pairs)
        covered.append(dropped)
    while True:
        pairs = Pairs.join(found)
        kept = greedy(len(rows), pairs)
        more = []
        for n, members in enumerate(groups):
            surprises = kept[covered[n]]
            if surprises.any():
                more.append(search.later(covered[n][surprises], members))
                covered[n] = covered[n][~surprises]
        if not more:
            break
        found = [pairs, *more]
    return _nearest(len(rows), pairs, kept)


def greedy(count: int, pairs: Pairs) -> np.ndarray:
    """bool [count]: the rows that no earlier kept row covers, given pairs left < right."""
    kept = np.ones(count, dtype=bool)
    kept[pairs.right] = False
    waiting = np.zeros(count, dtype=bool)
    dropped = np.zeros(count, dtype=bool)
    left, right = pairs.left, pairs.right
    while len(left):
        # In every round the earliest undecided row, at least, has only decided rows before it.
        dropped[right[kept[left]]] = True
        open_ = ~dropped[right] & ~dropped[left]
        waiting[right[open_]] = True
        free = right[~dropped[right] & ~waiting[right]]
        waiting[right[open_]] = False
        kept[free] = True
        left, right = left[open_], right[open_]
    return kept


def _nearest(count: int, pairs: Pairs, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give every row that is not kept to the most similar keeper before it, of equals to the first."""
    keeper = np.arange(count, dtype=np.int64)
    similarity = np.ones(count, dtype=np.float32)
    of_keepers = kept[pairs.left]
    left, right, cosine = pairs.left[of_keepers], pairs.right[of_keepers], pairs.cosine[of_keepers]
    order = np.lexsort((left, -cosine, right))
    members, first = np.unique(right[order], return_index=True)
    keeper[members] = left[order][first]
    similarity[members] = cosine[order][first]
    return keeper, similarity
