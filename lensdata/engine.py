"""The local engine: a pool of processes that survives its workers.

A task is one part: a list of items (images) handed to one stage function in a worker process. Should an item kill
or hang its worker (a decoder that crashes, a file that never ends), the item is named, the worker replaced and the
task run again with that item recorded as failed. So one image never stops a job.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from catalog.errors import LensError

ITEM_SECONDS = 30.0  # one image may take this long before it is given up as `timeout`
BLAMELESS = {signal.SIGKILL, signal.SIGTERM}  # who sent it, the user or the system, is unknown: try once more
ATTEMPTS = 3

Stage = Callable[["Task", "Watch"], Any]


@dataclass
class Task:
    """One part of a stage's work. `poison` maps items (by index) that must not be touched again to the reason."""

    part_id: str
    items: list[Any]
    settings: Any = None
    poison: dict[int, tuple[str, str]] = field(default_factory=dict)
    attempts: int = 0
    last_item: int = -1


class Watch:
    """Tells the engine which item a worker is at, and lets the kernel end the worker if the item takes too long."""

    def __init__(self, current: Any, seconds: float) -> None:
        self._current, self._seconds = current, seconds

    @contextmanager
    def item(self, index: int) -> Iterator[None]:
        """Guard the work on `items[index]`."""
        self._current.value = index
        if self._seconds:
            signal.setitimer(signal.ITIMER_REAL, self._seconds)
        try:
            yield
        finally:
            if self._seconds:
                signal.setitimer(signal.ITIMER_REAL, 0)
            self._current.value = -1


def run(
    stage: Stage, tasks: Iterable[Task], workers: int | None = None, item_seconds: float = ITEM_SECONDS
) -> Iterator[tuple[Task, Any]]:
    """Run `stage(task, watch)` for every task in `workers` processes (default: one a core) and yield
    (task, result) as they finish, in any order.

    Raises LensError when a task fails by itself, not by one of its items, or keeps losing its worker.
    """
    pool = _Pool(stage, workers or os.cpu_count() or 1, item_seconds)
    try:
        yield from pool.run(iter(tasks))
    finally:
        pool.close()


class _Worker:
    def __init__(self, stage: Stage, item_seconds: float) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.current = context.RawValue("q", -1)
        self.task: Task | None = None
        self.process = context.Process(
            target=_work, args=(stage, theirs, self.current, item_seconds), daemon=True
        )
        self.process.start()
        theirs.close()

    def give(self, task: Task) -> None:
        self.task = task
        self.pipe.send(task)

    def end(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()


class _Pool:
    def __init__(self, stage: Stage, workers: int, item_seconds: float) -> None:
        self.stage, self.item_seconds = stage, item_seconds
        self.size = workers
        self.workers: list[_Worker] = []

    def close(self) -> None:
        for worker in self.workers:
            worker.end()

    def run(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Any]]:
        again: list[Task] = []
        more = True
        while True:
            busy = [worker for worker in self.workers if worker.task]
            idle = [worker for worker in self.workers if not worker.task]
            while more and len(busy) < self.size:
                task = again.pop() if again else next(tasks, None)
                if task is None:
                    more = False
                    break
                worker = idle.pop() if idle else self._hire()
                worker.give(task)
                busy.append(worker)
            if not busy:
                return
            for ready in wait([worker.pipe for worker in busy]):
                worker = next(worker for worker in busy if worker.pipe is ready)
                task = worker.task
                assert task is not None
                try:
                    ok, result = worker.pipe.recv()
                except (EOFError, OSError):
                    self.workers.remove(worker)
                    again.append(_blame(task, worker))
                    more = True
                    continue
                worker.task = None
                if not ok:
                    raise result
                yield task, result

    def _hire(self) -> _Worker:
        worker = _Worker(self.stage, self.item_seconds)
        self.workers.append(worker)
        return worker


def _blame(task: Task, worker: _Worker) -> Task:
    """The task to run again after its worker died, with the item that killed it marked."""
    worker.process.join()
    code = worker.process.exitcode or 0
    number = -code
    name = signal.Signals(number).name if number in set(signal.Signals) else f"exit code {code}"
    item = worker.current.value
    task.attempts += 1
    if item >= 0 and number == signal.SIGALRM:
        task.poison[item] = ("timeout", "took longer than the time limit for one image")
        task.attempts = 0
    elif item >= 0 and (number not in BLAMELESS or task.last_item == item):
        task.poison[item] = ("corrupt", f"reading it killed the worker ({name})")
        task.attempts = 0
    elif task.attempts >= ATTEMPTS:
        raise LensError(
            f"the part {task.part_id} lost its worker {ATTEMPTS} times ({name}); is there enough memory?"
        )
    task.last_item = item
    return task


def _work(stage: Stage, pipe: Connection, current: Any, item_seconds: float) -> None:
    """A worker's life: tasks in, results out, until the pipe or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # kills even inside a decoder's C code
    threading.Thread(target=_die_with_parent, daemon=True).start()
    watch = Watch(current, item_seconds)
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            outcome = (True, stage(task, watch))
        except LensError as error:
            outcome = (False, error)
        except OSError as error:
            outcome = (False, error)
        except Exception as error:
            outcome = (False, LensError(f"the part {task.part_id} failed: {type(error).__name__}: {error}"))
        try:
            pipe.send(outcome)
        except OSError:
            return


def _die_with_parent() -> None:
    """A worker whose job was killed must not go on writing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
