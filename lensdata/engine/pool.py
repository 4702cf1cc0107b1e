"""The loop that keeps workers busy, wherever they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from lensdata.engine.task import Died, Task, blame


class Worker(Protocol):
    """One worker. `task` is what it has in hand; before it has `started` it is given none."""

    task: Task | None
    started: bool

    def give(self, task: Task) -> None: ...

    def take(self) -> tuple[bool, Any]:
        """(True, the result) or (False, the error) of its task; once, before that, that it has started.

        Raises Died if the worker is gone.
        """

    def end(self) -> None: ...


class Site(Protocol):
    """Where workers are had: this machine or a cluster."""

    def size(self) -> int:
        """Most workers at this time."""

    def hire(self) -> Worker: ...

    def wait(self, workers: Sequence[Any]) -> Sequence[Worker]:
        """Those from whom something can be taken; none after some seconds, so that `size` is asked again."""


def drive(site: Site, tasks: Iterator[Task]) -> Iterator[tuple[Task, Any]]:
    """Yield (task, result) of every task as they finish.

    A task is pulled when a worker is free for it or about to start, so at most `site.size()` of them exist.
    """
    workers: list[Worker] = []
    queue: deque[Task] = deque()
    more = True
    try:
        while True:
            _hand_out(site, workers, queue)
            while more and len(queue) + len(_busy(workers)) < site.size():
                task = next(tasks, None)
                if task is None:
                    more = False
                else:
                    queue.append(task)
                    _hand_out(site, workers, queue)
            busy = _busy(workers)
            if not queue and not busy:
                return
            if not queue and not more:
                _dismiss(workers)
            for worker in site.wait([worker for worker in workers if worker.task or not worker.started]):
                task = worker.task
                try:
                    ok, result = worker.take()
                except Died as death:
                    workers.remove(worker)
                    worker.end()
                    if task:
                        queue.appendleft(blame(task, death))
                    continue
                if task is None:
                    continue
                if not ok:
                    raise result
                yield task, result
    finally:
        for worker in workers:
            worker.end()


def _busy(workers: list[Worker]) -> list[Worker]:
    return [worker for worker in workers if worker.task]


def _hand_out(site: Site, workers: list[Worker], queue: deque[Task]) -> None:
    """Give queued tasks to idle workers, and hire for those that are left."""
    if not queue:
        return
    idle = [worker for worker in workers if worker.started and not worker.task]
    coming = sum(not worker.started for worker in workers)
    while len(queue) > len(idle) + coming and len(workers) < site.size():
        worker = site.hire()
        workers.append(worker)
        if worker.started:
            idle.append(worker)
        else:
            coming += 1
    while queue and idle:
        idle.pop().give(queue.popleft())


def _dismiss(workers: list[Worker]) -> None:
    """Let go of who has nothing left to do: others may use the place, and no task is given to a node long dead."""
    for worker in [worker for worker in workers if not worker.task]:
        workers.remove(worker)
        worker.end()
