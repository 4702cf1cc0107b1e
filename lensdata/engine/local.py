"""Workers as processes of this machine. Each can be ended by the kernel in the middle of an item."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from catalog.errors import BadInput
from catalog.store import reread
from lensdata.engine.task import Died, Task, Watch, Work, attempt

STARTING = -2  # in the place of a worker's item, until it is at work
FAILED = (
    "a worker process ended while it was starting (exit code {}): it reads the script that began the job once more, "
    'and failed there; put what the script does under `if __name__ == "__main__":`'
)


class Process:
    """A worker process; its start is part of its first task."""

    started = True

    def __init__(self, work: Work, item_seconds: float) -> None:
        reread.end_if_reread()
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.current = context.RawValue("q", STARTING)
        self.task: Task | None = None
        self.process = context.Process(
            target=_work, args=(work, theirs, self.current, item_seconds), daemon=True
        )
        with _one_thread():
            self.process.start()
        theirs.close()

    def give(self, task: Task) -> None:
        self.task = task
        with suppress(OSError):  # it died idle; `take` will find out
            self.pipe.send(task)

    def take(self) -> tuple[bool, Any]:
        try:
            outcome: tuple[bool, Any] = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code, item = self.process.exitcode or 0, self.current.value
            if code == reread.CODE:
                raise BadInput(reread.ADVICE) from None
            if item == STARTING and code > 0:  # by itself, and would again
                raise BadInput(FAILED.format(code)) from None
            raise Died(code, item) from None
        self.task = None
        return outcome

    def end(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()


class Machine:
    """This machine as a place of `workers` processes."""

    def __init__(self, work: Work, workers: int, item_seconds: float) -> None:
        self.work, self.workers, self.item_seconds = work, workers, item_seconds

    def size(self) -> int:
        return self.workers

    def hire(self) -> Process:
        return Process(self.work, self.item_seconds)

    def wait(self, workers: Sequence[Process]) -> list[Process]:
        ready = wait([worker.pipe for worker in workers])
        return [worker for worker in workers if worker.pipe in ready]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes started here compute with one thread each, unless the user says otherwise: they are the parallelism.

    NumPy's BLAS asks the environment once, when it is loaded.
    """
    if "OMP_NUM_THREADS" in os.environ:
        yield
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]


def _work(work: Work, pipe: Connection, current: Any, item_seconds: float) -> None:
    """A worker's life: tasks in, results out, until the pipe or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # kills even inside a decoder's C code
    threading.Thread(target=_die_with_parent, daemon=True).start()
    watch = Watch(current, item_seconds)
    current.value = -1
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        outcome = attempt(work, task, watch)
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
