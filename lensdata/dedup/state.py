"""What one search leaves for the next: CATALOG/embeddings/MODEL/dedup.npz.

It describes a settled search over some rows, by image ids and a mark of everything that decides about a row; not the
`clusters` table. So any state that was ever written whole is a right one to go on from, whichever commit it preceded
or missed, and one that is missing or unreadable costs a full search and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from catalog.store import parts
from lensdata.dedup.leaders import Pairs
from lensdata.dedup.tree import Cells, Tree

FILE = "dedup.npz"


@dataclass
class State:
    """Rows are numbered in order of rank: `ids` int64 [N] of images, `marks` uint64 [N], `kept` bool [N].

    `pairs` are all of keepers; `cells` and `tree` were made for `built` rows, `added` have come since.
    """

    ids: np.ndarray
    marks: np.ndarray
    kept: np.ndarray
    pairs: Pairs
    cells: Cells
    tree: Tree
    built: int
    added: int


def save(folder: Path, key: str, state: State) -> None:
    """Replace the state in `folder`, atomically and durably. `key` names what all rows depend on."""
    number = np.uint32 if len(state.ids) < 2**32 else np.int64
    with parts.atomic(folder / FILE) as file:
        np.savez(
            file,
            key=np.array(key),
            counts=np.array([state.built, state.added]),
            ids=state.ids,
            marks=state.marks,
            kept=state.kept,
            left=state.pairs.left.astype(number),
            right=state.pairs.right.astype(number),
            cosine=state.pairs.cosine,
            members=state.cells.members.astype(number),
            bounds=state.cells.bounds,
            **state.tree.arrays(),  # type: ignore[arg-type]
        )


def load(folder: Path, key: str) -> State | str:
    """The state in `folder`, or why there is none to go on from."""
    try:
        with np.load(folder / FILE, allow_pickle=False) as file:
            if str(file["key"]) != key:
                return "the last search had another threshold or other rules"
            return _state(dict(file))
    except FileNotFoundError:
        return "no earlier search has left its cells"
    except Exception as error:  # a damaged archive fails in many ways
        return f"{FILE} cannot be read ({error})"


def _state(found: dict[str, np.ndarray]) -> State:
    built, added = found["counts"].tolist()
    return State(
        ids=found["ids"],
        marks=found["marks"],
        kept=found["kept"],
        pairs=Pairs(found["left"].astype(np.int64), found["right"].astype(np.int64), found["cosine"]),
        cells=Cells(found["members"].astype(np.int64), found["bounds"]),
        tree=Tree.load(found),
        built=built,
        added=added,
    )
