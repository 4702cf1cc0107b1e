"""The search inside cells as tasks of the engine: in this process, in a pool of processes, or on a cluster.

A task is a plot, a branch of the tree with a few ten thousand rows, or several small ones. What it needs to know of
its rows stands in one file beside the vectors and what it finds in another: so a worker's memory depends on its task
and not on the catalog, and the result is the same whoever does the work. Both files go when they have been read; a
killed job's are swept by the next.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from catalog.notices import Progress
from catalog.store.parts import TEMPORARY
from lensdata import engine
from lensdata.dedup.cells import divide
from lensdata.dedup.gather import Gathered, Thumbnails, opened
from lensdata.dedup.leaders import FREED, FRESH, OLD, Pairs, Search
from lensdata.dedup.near import stop
from lensdata.dedup.pictures import Pictures
from lensdata.dedup.rows import Rows
from lensdata.dedup.tree import Cells, Tree

PLOT_ROWS = 131_072  # at most, of a branch that is a task; its cells and pairs are found by one worker
TASK_ROWS = 32_768  # at least, if there are as many: small branches share a task
FEW_ROWS = 50_000  # up to here rows are divided and searched before a second process would have started,
FEW_LOOKED_AT = 400_000  # and up to here old cells are looked at


class Sharded:
    """The compared rows of a catalog, numbered in order of rank: `chosen` has their part, row, width, height, phash."""

    def __init__(
        self, gathered: Gathered, chosen: pl.DataFrame, threshold: float, workers: int | None, on: engine.On
    ) -> None:
        self.gathered, self.threshold = gathered, threshold
        self.workers, self.on = workers, on
        self.known = chosen["phash"].is_not_null().to_numpy()
        self.hashes = chosen["phash"].fill_null(0).to_numpy()
        self.sides = chosen.select(pl.min_horizontal("width", "height")).to_series().to_numpy()

    def __len__(self) -> int:
        return len(self.sides)

    def all(self) -> tuple[Cells, Tree, Pairs, np.ndarray]:
        """Divide all rows into cells and look at each; see `Search.cell` for the pairs and the dropped rows."""
        everything = np.arange(len(self))
        self.gathered.fetch(everything)
        whole = stop(len(self))
        most = max(whole, min(PLOT_ROWS, len(self) - 1))  # so that there is more than one plot
        plots, tree, depths = divide(self.gathered.rows(), everything, self.threshold, stop=most)
        found = list(self._run(plots, np.arange(len(plots)), {"whole": whole, "depths": depths}))
        nodes = {cell: node for node, cell in enumerate(tree.cell) if cell >= 0}
        cells: list[np.ndarray] = []
        for outcome in found:
            for plot in outcome["plots"].tolist():
                prefix = f"{plot}_"
                arrays = {
                    name.removeprefix(prefix): array
                    for name, array in outcome.items()
                    if name.startswith(prefix)
                }
                tree.graft(nodes[plot], Tree.load(arrays), len(cells))
                of = Cells(arrays["members"], arrays["bounds"])
                cells += [of[n] for n in range(len(of))]
        return Cells.of(cells), tree, *_joined(found)

    def look(self, cells: Cells, role: np.ndarray) -> tuple[Pairs, np.ndarray]:
        """Look at the cells that have to be, given the role (uint8 [N], see `leaders`) of every row."""
        touched = cells.holding(role >= FRESH)
        needed = np.zeros(len(self), dtype=bool)
        for n in touched:
            needed[cells[n]] = True
        self.gathered.fetch(np.flatnonzero(needed))
        return _joined(list(self._run(cells, touched, {"role": role})))

    def look_again(self, cells: Cells, freed: np.ndarray) -> tuple[Pairs, np.ndarray]:
        return self.look(cells, np.where(freed, FREED, OLD).astype(np.uint8))

    def _run(self, plots: Cells, which: np.ndarray, how: dict[str, Any]) -> Iterator[dict[str, np.ndarray]]:
        """What every task found, in the order of plots."""
        sizes = np.diff(plots.bounds)[which]
        tasks = self._tasks(plots, which, sizes, how)
        found: list[tuple[str, dict[str, np.ndarray]]] = []
        _mapped.cache_clear()
        few = sizes.sum() <= (FEW_LOOKED_AT if "role" in how else FEW_ROWS)
        # No time limit, and no item to blame: cells that lose their worker three times fail the job.
        finished = _here(tasks) if few else engine.run(search_cells, tasks, self.workers, 0, on=self.on)
        with Progress(0 if few else int(sizes.sum()), "dedup", "rows") as bar:
            for task, path in finished:
                with np.load(path, allow_pickle=False) as arrays:
                    found.append((task.part_id, dict(arrays)))
                for used in (Path(task.items[0]), Path(path)):
                    used.unlink()
                if not few:
                    bar.advance(int(found[-1][1]["rows"]))
        _mapped.cache_clear()
        for _, outcome in sorted(found, key=lambda named: named[0]):
            yield outcome

    def _tasks(
        self, plots: Cells, which: np.ndarray, sizes: np.ndarray, how: dict[str, Any]
    ) -> Iterator[engine.Task]:
        """Written as they are asked for, so that few wait on the disk at a time."""
        settings = {
            "vectors": (str(self.gathered.path), self.gathered.width, self.gathered.path.stat().st_size),
            "thumbnails": str(self.gathered.places.folder),
            "threshold": self.threshold,
            "whole": how.get("whole"),
        }
        ends = np.cumsum(sizes)
        group = (ends - 1) // TASK_ROWS if len(ends) else ends
        for number, at in enumerate(np.unique(group)):
            chosen = which[group == at]
            members = np.concatenate([plots[n] for n in chosen])
            places = self.gathered.places
            names, part = np.unique(places.part[members], return_inverse=True)
            given = {
                "plots": chosen,
                "members": members,
                "bounds": np.concatenate([[0], np.cumsum([len(plots[n]) for n in chosen])]),
                "at": self.gathered.at[members],
                "scale": self.gathered.scale[members],
                "known": self.known[members],
                "hashes": self.hashes[members],
                "sides": self.sides[members],
                "names": np.array([places.names[name] for name in names]),
                "part": part,
                "row": places.row[members],
            }
            if "role" in how:
                given["role"] = how["role"][members]
            else:
                given["depths"] = np.array([how["depths"][n] for n in chosen])
            path = places.folder / f"cells.{os.getpid()}.{number:08d}.in{TEMPORARY}"
            _save(path, given)
            yield engine.Task(f"cells-{number:08d}", [str(path)], settings)


def _joined(found: list[dict[str, np.ndarray]]) -> tuple[Pairs, np.ndarray]:
    pairs = Pairs.join([Pairs(one["left"], one["right"], one["cosine"]) for one in found])
    return pairs, np.concatenate([np.empty(0, np.int64), *(one["dropped"] for one in found)])


def _here(tasks: Iterable[engine.Task]) -> Iterator[tuple[engine.Task, str]]:
    watch: Any = None
    for task in tasks:
        yield task, search_cells(task, watch)


# ---- in a worker


@lru_cache(maxsize=1)
def _mapped(path: str, width: int, size: int) -> np.ndarray:
    """One map for all tasks, as every page costs a fault in each; it is another when the file has grown."""
    return opened(Path(path), width)


def search_cells(task: engine.Task, watch: engine.Watch) -> str:
    """Worker: divide the plots of one task, or take them as the cells they are, and find the pairs in them."""
    settings, given = task.settings, _load(task.items[0])
    members = given["members"]
    rows = Rows(_mapped(*settings["vectors"]), given["at"], given["scale"])
    thumbnails = Thumbnails(
        Path(settings["thumbnails"]), given["names"].tolist(), given["part"], given["row"]
    )
    pictures = Pictures(thumbnails, given["sides"], given["hashes"], given["known"])
    search = Search(rows, settings["threshold"], pictures.agree)
    plots = Cells(np.arange(len(members)), given["bounds"])
    found: list[Pairs] = []
    dropped: list[np.ndarray] = []
    result = {"plots": given["plots"], "rows": np.array(len(members))}
    for n, plot in enumerate(given["plots"].tolist()):
        if "role" in given:
            pairs, covered = search.cell(plots[n], given["role"][plots[n]])
            found.append(pairs)
            dropped.append(covered)
            continue
        cells, tree, _ = divide(
            rows, plots[n], settings["threshold"], int(given["depths"][n]), settings["whole"]
        )
        for cell in range(len(cells)):
            pairs, covered = search.cell(cells[cell])
            found.append(pairs)
            dropped.append(covered)
        arrays = tree.arrays() | {"members": members[cells.members], "bounds": cells.bounds}
        result |= {f"{plot}_{name}": array for name, array in arrays.items()}
    pairs = Pairs.join(found)
    result |= {"left": members[pairs.left], "right": members[pairs.right], "cosine": pairs.cosine}
    result["dropped"] = members[np.concatenate([np.empty(0, np.int64), *dropped])]
    path = Path(task.items[0].replace(f".in{TEMPORARY}", f".out{TEMPORARY}"))
    _save(path, result)
    return str(path)


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Whole or not at all, but not to outlive the machine."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY}")
    with unfinished.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    unfinished.rename(path)


def _load(path: str) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
