"""The engine: runs a stage over its parts in workers, and survives them.

A task is one part: a list of items (images) handed to one stage function in a worker process. Should an item kill
or hang its worker (a decoder that crashes, a file that never ends), the item is named, the worker replaced and the
task run again with that item recorded as failed. So one image never stops a job.

Workers are processes of this machine, or of a Ray cluster; what they do, and what becomes of an item that kills one,
is the same. Work that only moves bytes needs no process of its own: its workers are threads (`on=THREADS`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from catalog.errors import BadInput
from lensdata.engine.pool import Site, drive
from lensdata.engine.task import LATE, Ray, Task, Watch, Work, unguarded
from lensdata.engine.threads import Threads

__all__ = ["HERE", "ITEM_SECONDS", "LATE", "THREADS", "On", "Ray", "Task", "Watch", "Work", "run"]

HERE = "here"  # this process, one task after the other, without a guard over items
THREADS = "threads"  # threads of this process, for work that decodes nothing and so cannot crash
ITEM_SECONDS = 30.0  # one image may take this long, once it is read, before it is given up as `timeout`


On = str | Ray  # "local", "ray" (the same as Ray()), a Ray with settings, or HERE or THREADS


def run(
    work: Work,
    tasks: Iterable[Task],
    workers: int | None = None,
    item_seconds: float = ITEM_SECONDS,
    on: On = "local",
) -> Iterator[tuple[Task, Any]]:
    """Run `work(task, watch)` for every task in `workers` processes and yield (task, result) as they finish, in any
    order.

    `workers` defaults to one a core of this machine, or of the cluster, whose changing size is followed. Tasks are
    pulled as workers get free, so `tasks` may be endless. On a cluster the work must be importable on every node.

    Raises LensError when a task fails by itself, not by one of its items, or keeps losing its worker; BadInput if
    there is no such cluster, or Ray is not installed.
    """
    site: Site
    if on == HERE:
        watch = unguarded()
        for task in tasks:
            yield task, work(task, watch)
        return
    if on == "local":
        from lensdata.engine.local import Machine

        site = Machine(work, workers or os.cpu_count() or 1, item_seconds)
    elif on == THREADS:
        site = Threads(work, workers or os.cpu_count() or 1, item_seconds)
    elif on == "ray" or isinstance(on, Ray):
        from lensdata.engine.ray import Cluster

        site = Cluster(work, on if isinstance(on, Ray) else Ray(), workers, item_seconds)
    else:
        raise BadInput(f"there is no engine {on!r}; choose local or ray")
    yield from drive(site, iter(tasks))
