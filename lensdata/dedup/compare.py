"""The search over a catalog's vectors: of all rows, or of what is new against what is old and new.

A new row may cover an old keeper, whose members are then free, as they are when their keeper goes. So what is looked
at is what is new or has changed, then what that frees, until nothing is. The cells stay the ones of the last full
search, and new rows are placed in them by the same rule, so the result is that of all pairs that share a cell: the
one a full search of the same cells would give. Cells made for other rows grow and fit worse; so when a quarter has
been added, everything is divided anew.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from catalog.notices import say
from lensdata import engine
from lensdata.dedup import near, state
from lensdata.dedup.cells import place
from lensdata.dedup.gather import Gathered, Places
from lensdata.dedup.leaders import DONE, FRESH, OLD, Pairs
from lensdata.dedup.sharded import Sharded
from lensdata.dedup.state import State

MOST_ADDED = 0.25  # of the rows that the cells were made for


def compare(
    folder: Path,
    chosen: pl.DataFrame,
    key: str,
    threshold: float,
    workers: int | None = None,
    on: engine.On = "local",
) -> tuple[np.ndarray, np.ndarray]:
    """Find each row's keeper, by what the last search left in `folder` if that can be gone on from.

    `chosen`, best keeper first: image_id, part, row, width, height, phash, and `mark`, which changes with anything
    that decides about a row or its rank. `key` stands for what decides about all: model, threshold, rules.
    Returns (keeper int64 [N], similarity float32 [N]) as `near_duplicates` does; raises DamagedParts.
    """
    ids, marks = chosen["image_id"].to_numpy(), chosen["mark"].to_numpy()
    with Gathered(Places(folder, chosen)) as gathered:
        sharded = Sharded(gathered, chosen, threshold, workers, on)
        last = state.load(folder, key)
        found = last if isinstance(last, str) else _update(sharded, last, ids, marks)
        if isinstance(found, str):
            if (folder / state.FILE).exists():
                say(f"dedup: comparing all {len(ids)} images, since {found}")
            found = _full(sharded, ids, marks)
    state.save(folder, key, found)
    return near.nearest(found.pairs, found.kept)


def _full(sharded: Sharded, ids: np.ndarray, marks: np.ndarray) -> State:
    cells, tree, pairs, dropped = sharded.all()
    known = np.ones(len(ids), dtype=bool)
    pairs, kept = near.settle(pairs, dropped, known, lambda freed: sharded.look_again(cells, freed))
    return State(ids, marks, kept, pairs, cells, tree, built=len(ids), added=0)


def _update(sharded: Sharded, last: State, ids: np.ndarray, marks: np.ndarray) -> State | str:
    """The state after `last` for the rows `ids`, or why they must be searched from the beginning."""
    now = _ranks(last, ids, marks)
    stays = now >= 0
    fresh = np.ones(len(ids), dtype=bool)
    fresh[now[stays]] = False
    added = last.added + int(fresh.sum())
    if added > MOST_ADDED * last.built:
        return f"{added} were added or changed since {last.built} were divided into cells"
    if (len(ids) <= near.EXACT_ROWS) != (last.built <= near.EXACT_ROWS):
        return f"there were {last.built} when it was decided how to search"
    if (np.diff(now[stays]) <= 0).any():
        return "they are ranked by another rule"

    known = np.zeros(len(ids), dtype=bool)
    known[now[last.kept & stays]] = True
    new = np.flatnonzero(fresh)
    sharded.gathered.fetch(new)
    cells = last.cells.mapped(now).merged(*place(last.tree, sharded.gathered.rows(), new))
    left, right = now[last.pairs.left], now[last.pairs.right]
    both = (left >= 0) & (right >= 0)
    pairs = Pairs(left[both], right[both], last.pairs.cosine[both])

    role = np.full(len(ids), OLD, dtype=np.uint8)
    role[known], role[fresh] = DONE, FRESH
    more, dropped = sharded.look(cells, role)
    known |= fresh
    pairs, kept = near.settle(
        Pairs.join([pairs, more]), dropped, known, lambda freed: sharded.look_again(cells, freed)
    )
    return State(ids, marks, kept, pairs, cells, last.tree, last.built, added)


def _ranks(last: State, ids: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """int64: the rank each of the last rows has now, -1 for one that is gone or has changed."""
    order = np.argsort(ids)
    at = np.minimum(np.searchsorted(ids, last.ids, sorter=order), len(ids) - 1)
    found = order[at]
    return np.where((ids[found] == last.ids) & (marks[found] == last.marks), found, -1)
