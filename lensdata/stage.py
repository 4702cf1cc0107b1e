"""One stage of filling the catalog: what is pending becomes tasks, a worker turns each into a part, and one commit
enters it exactly once.

Scoring, captioning, bucketing and reading at ingest are instances. Each gets from here: paging in memory that does not
grow with the catalog, `--engine`, progress, the rules for items that kill or hang a worker, and the resumption of a
killed job, which loses at most the parts under way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from catalog.notices import Progress
from catalog.store import parts
from catalog.store.database import Database
from lensdata import engine
from lensdata.fit import Refuse, Row, fitted, leave

PAGE_IDS = 65_536  # ids asked for at once
LEFT = "left"  # in a tally: items without a row, which stay pending


@dataclass(frozen=True)
class Made:
    """What a worker made of a task: a part, unless no item gave a row, and what its rows are counted as."""

    part: Path | None
    tally: Counter[str]


def _uncounted(frame: pl.DataFrame) -> dict[str, int]:
    return {}


def _no_slots(part: Path) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Stage:
    """What a stage is.

    `work(task, watch)` runs in a worker and gives the rows of a part, with the columns of `schema`; an item without a
    row is left pending. Of a row with values that do not fit, `refuse` makes a failed one (see lensdata/fit.py), else
    the item is left pending. `commit` are the statements (sql/statements) that read `$part`, run in one transaction.
    `pending` is the statement that lists what lacks a result among the ids above `$after` and up to `$until`, its
    `image_id` ascending; a part holds the results of `part_items` of them. `tally` counts a part's rows.
    With `resumes` the finished parts of a killed job are committed rather than made anew; parts of the stages in
    `outdates` tell of images as they were before this one. A `light` stage touches no file and is done in this process
    unless it was sent to a cluster: starting workers would take longer.
    """

    name: str
    work: Callable[[engine.Task, engine.Watch], Iterable[Row]]
    schema: Mapping[str, Any]
    commit: Sequence[str]
    pending: str = ""
    part_items: int = 4_096
    tally: Callable[[pl.DataFrame], Mapping[str, int]] = _uncounted
    unit: str = "images"
    resumes: bool = True
    outdates: Sequence[str] = ()
    light: bool = False
    refuse: Refuse = leave

    def __call__(self, task: engine.Task, watch: engine.Watch) -> Made:
        """Worker: one task, from items to a part that is whole and on the disk."""
        frame = fitted(list(self.work(task, watch)), self.schema, self.refuse)
        tally = Counter({LEFT: len(task.items) - len(frame)})
        if frame.is_empty():
            return Made(None, tally)
        tally.update(self.tally(frame))
        return Made(parts.write(task.settings["root"], self.name, task.part_id, frame), tally)


def run_stage(
    catalog: Database,
    stage: Stage,
    tasks: Iterable[engine.Task],
    total: int | None = None,
    workers: int | None = None,
    on: engine.On = "local",
    slots: Callable[[Path], Mapping[str, Any]] = _no_slots,
    label: str = "",
    done: Callable[[engine.Task], None] | None = None,
) -> Counter[str]:
    """Run `tasks` and commit each part as it is finished; the sum of the parts' tallies. Call it within `catalog.job`.

    `slots` gives what the commit's statements need for a part; `done` is told of every task whose part is in.
    """
    totals: Counter[str] = Counter()
    where = engine.HERE if stage.light and on == "local" else on
    with Progress(total, label or stage.name, stage.unit) as bar:
        for task, made in engine.run(stage, tasks, workers, on=where):
            if made.part is not None:
                catalog.commit_part(stage.name, made.part, stage.commit, slots(made.part))
            totals.update(made.tally)
            if done is not None:
                done(task)
            bar.advance(len(task.items))
    return totals


def commit_waiting(
    catalog: Database, stage: Stage, slots: Callable[[Path], Mapping[str, Any]] = _no_slots
) -> None:
    """Enter the parts that a killed job finished and did not commit."""
    for part in parts.waiting(catalog.root, stage.name):
        catalog.commit_part(stage.name, part, stage.commit, slots(part))


def pages(
    catalog: Database, statement: str, slots: Mapping[str, Any] | None = None, /, **params: Any
) -> Iterator[pl.DataFrame]:
    """The rows of a `pending` statement, range by range of the ids: memory does not grow with the catalog."""
    last: int = catalog.named("ingest/last").item()
    for after in range(0, last, PAGE_IDS):
        rows = catalog.named(statement, slots, **params, after=after, until=after + PAGE_IDS)
        if len(rows):
            yield rows


def chunks(
    catalog: Database,
    stage: Stage,
    pending: Iterable[pl.DataFrame],
    settings: Mapping[str, Any],
    name: str = "",
) -> Iterator[engine.Task]:
    """Tasks of `stage.part_items` pending rows each. They are named after the catalog's version, which no earlier job
    that committed anything has seen."""
    version = catalog.version
    given = {**settings, "root": catalog.root}
    for rows in pending:
        for chunk in rows.iter_slices(stage.part_items):
            part = f"{name or stage.name}-{version:08d}-{chunk['image_id'][0]:012d}"
            yield engine.Task(part, list(chunk.iter_rows(named=True)), given)
