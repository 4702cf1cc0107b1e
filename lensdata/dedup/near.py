"""Near-duplicate search over embeddings (paper section 2.1, filter 9).

The rule is greedy and global: in order of rank a row is kept unless an earlier keeper duplicates it. The search is
local: `cells` gathers rows that may be duplicates, `Search.cell` finds each cell's pairs. A pair matters only if its
earlier row is a keeper, so a cell looks no further at rows that one of its own leaders covers; of a million copies
of one picture only the first is compared with the others. A cell may be wrong about a row, when the leader that
covers it is itself covered by a row of another cell. Such a row turns up as a keeper in the global order: it is
freed, and its cells are searched for it again, until no such row is left. The result is the one all pairs would give:
whether a row is kept depends on nothing but the pairs whose earlier row is a keeper, and those are all there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from catalog import extras
from catalog.errors import BadInput
from lensdata.dedup.cells import divide
from lensdata.dedup.leaders import FREED, Agree, Pairs, Search
from lensdata.dedup.rows import Rows

__all__ = ["Agree", "near_duplicates"]

EXACT_ROWS = 16_384  # up to here one cell holds all rows and no pair can be missed
Look = Callable[[np.ndarray], tuple[Pairs, np.ndarray]]


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
    (0, 1); Missing for more than 16,384 rows without FAISS.
    """
    if not 0 < threshold < 1:
        raise BadInput(f"the cosine threshold must lie between 0 and 1, not at {threshold}")
    rows = Rows(vectors)
    require(len(rows))
    search = Search(rows, threshold, agree)
    cells, _, _ = divide(rows, np.arange(len(rows)), threshold, stop=stop(len(rows)))

    def look(freed: np.ndarray) -> tuple[Pairs, np.ndarray]:
        found, dropped = [], [cells.members[:0]]
        for n in cells.holding(freed):
            pairs, covered = search.cell(cells[n], np.where(freed[cells[n]], FREED, 0))
            found.append(pairs)
            dropped.append(covered)
        return Pairs.join(found), np.concatenate(dropped)

    everything = np.ones(len(rows), dtype=bool)
    pairs, kept = settle(*look(everything), everything, look)
    return nearest(pairs, kept)


def require(count: int) -> None:
    """Raise Missing if so many rows are divided by FAISS and it is not installed."""
    if count > EXACT_ROWS:
        hint = f"with a CUDA card {extras.install('gpu')}"
        extras.require("cpu", f"dedup of more than {EXACT_ROWS:,} images", hint=hint)


def stop(count: int) -> int:
    """Nodes of this many rows are not divided further, if there are `count` rows in all."""
    return count if count <= EXACT_ROWS else 0


def settle(pairs: Pairs, dropped: np.ndarray, known: np.ndarray, look: Look) -> tuple[Pairs, np.ndarray]:
    """Apply the rule to all rows, searching again for the rows it frees; `look(freed)` finds these rows' later pairs,
    except those of rows it returns as covered.

    `known` (bool [N], changed here) but not `dropped`: rows whose later pairs are all in `pairs`.
    Returns the pairs whose left row is kept, and which rows are (bool [N]).
    """
    known[dropped] = False
    while True:
        kept = greedy(len(known), pairs)
        freed = kept & ~known
        if not freed.any():
            return pairs[kept[pairs.left]], kept
        # The first freed row leads in all its cells, so every round settles one, and usually nearly all.
        more, dropped = look(freed)
        known |= freed
        known[dropped] = False
        pairs = Pairs.join([pairs, more])


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


def nearest(pairs: Pairs, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give every row that is not kept to the most similar keeper before it, of equals to the first.

    `pairs` are those of keepers. Returns (keeper int64 [N], similarity float32 [N]).
    """
    keeper = np.arange(len(kept), dtype=np.int64)
    similarity = np.ones(len(kept), dtype=np.float32)
    order = np.lexsort((pairs.left, -pairs.cosine, pairs.right))
    members, first = np.unique(pairs.right[order], return_index=True)
    keeper[members] = pairs.left[order][first]
    similarity[members] = pairs.cosine[order][first]
    return keeper, similarity
