"""The tree of cells as arrays: what is kept between runs, so that a new row finds the cells the old ones are in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass
class Cells:
    """Groups of rows: `members` int64, cell after cell, each ascending; cell n is members[bounds[n]:bounds[n + 1]]."""

    members: np.ndarray
    bounds: np.ndarray

    @classmethod
    def of(cls, groups: Sequence[np.ndarray]) -> Cells:
        bounds = np.concatenate([[0], np.cumsum([len(group) for group in groups], dtype=np.int64)])
        return cls(np.concatenate(groups) if len(groups) else np.empty(0, np.int64), bounds)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, n: int) -> np.ndarray:
        return self.members[self.bounds[n] : self.bounds[n + 1]]

    def numbers(self) -> np.ndarray:
        """The cell of every entry of `members`."""
        return np.repeat(np.arange(len(self)), np.diff(self.bounds))

    def holding(self, rows: np.ndarray) -> np.ndarray:
        """Cells with a member in `rows`, a bool [N]."""
        entries = np.flatnonzero(rows[self.members])
        return np.unique(np.searchsorted(self.bounds, entries, side="right") - 1)

    def merged(self, cell: np.ndarray, row: np.ndarray) -> Cells:
        """With further (cell, row) entries, both in order."""
        numbers = np.concatenate([self.numbers(), cell])
        members = np.concatenate([self.members, row])
        order = np.lexsort((members, numbers))
        return Cells(members[order], np.searchsorted(numbers[order], np.arange(len(self) + 1)))

    def mapped(self, to: np.ndarray) -> Cells:
        """Row r becomes to[r], in the same order; rows with to[r] < 0 go."""
        members = to[self.members]
        stays = members >= 0
        return Cells(members[stays], np.concatenate([[0], np.cumsum(stays)])[self.bounds])


class Tree:
    """Node 0 is the root. A node is a cell (its number in `cell`) or has `count` children from node `first` on, each
    with its unit centre, and a margin."""

    def __init__(self, first: list[int], count: list[int], margin: list[float], cell: list[int]) -> None:
        self.first, self.count, self.margin, self.cell = first, count, margin, cell
        self.centres: list[np.ndarray | None] = [None] * len(first)

    @classmethod
    def root(cls) -> Tree:
        return cls([0], [0], [0.0], [0])

    def __len__(self) -> int:
        return len(self.first)

    def branch(self, node: int, centres: np.ndarray, margin: float) -> int:
        """Give `node` a child per centre [k, D]; returns the first."""
        first, k = len(self), len(centres)
        self.first[node], self.count[node], self.margin[node], self.cell[node] = first, k, margin, -1
        self.first += [0] * k
        self.count += [0] * k
        self.margin += [0.0] * k
        self.cell += [-1] * k
        self.centres += list(centres)
        return first

    def children(self, node: int) -> range:
        return range(self.first[node], self.first[node] + self.count[node])

    def centres_of(self, nodes: range) -> np.ndarray:
        return np.stack([centre for centre in self.centres[nodes.start : nodes.stop] if centre is not None])

    def graft(self, node: int, other: Tree, cells: int) -> None:
        """Put `other` in the place of a cell; its cells are numbered from `cells` on."""
        shift = len(self) - 1

        def number(cell: int) -> int:
            return cell + cells if cell >= 0 else -1

        self.first[node] = other.first[0] + shift if other.count[0] else 0
        self.count[node], self.margin[node] = other.count[0], other.margin[0]
        self.cell[node] = number(other.cell[0])
        self.first += [first + shift if first else 0 for first in other.first[1:]]
        self.count += other.count[1:]
        self.margin += other.margin[1:]
        self.cell += map(number, other.cell[1:])
        self.centres += other.centres[1:]

    # ---- as arrays

    def arrays(self) -> dict[str, np.ndarray]:
        centres = [centre for centre in self.centres if centre is not None]
        return {
            "tree_first": np.array(self.first, np.int64),
            "tree_count": np.array(self.count, np.int64),
            "tree_margin": np.array(self.margin, np.float64),
            "tree_cell": np.array(self.cell, np.int64),
            "tree_centres": np.stack(centres) if centres else np.empty((0, 0), np.float32),
        }

    @classmethod
    def load(cls, arrays: dict[str, np.ndarray]) -> Tree:
        names = ("tree_first", "tree_count", "tree_margin", "tree_cell")
        tree = cls(*(arrays[name].tolist() for name in names))
        tree.centres[1:] = list(arrays["tree_centres"])
        return tree
