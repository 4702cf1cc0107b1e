"""Workers as threads of this process, for work that only moves bytes.

Reading, hashing and writing run side by side in threads, and nothing has to start or be imported first. What decodes
belongs in processes: a thread cannot be killed. One whose item hangs is left behind, and another does its task.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

from catalog.errors import LensError
from lensdata.engine.task import PATIENCE, READING, Died, Task, Watch, Work, attempt

TICK = 1.0  # seconds after which the items under way are looked at again
LEAVE_SECONDS = 2.0  # for a thread to leave its task when the job ends


class Stopped(LensError):
    """The job has ended, or the thread was left behind."""


class _Watch(Watch):
    """Notes the item of a thread, and since when; the thread ends at its next item once it is `stopped`."""

    def __init__(self, seconds: float, places: threading.Semaphore) -> None:
        self._limit, self._places = seconds, places
        self._lock = threading.Lock()
        self._holds = self._stopped = False
        self._at, self._since = -1, 0.0

    @contextmanager
    def item(self, index: int) -> Iterator[None]:
        with self._lock:
            self._go_on()
            self._at, self._since = index, time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._at = -1

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._lock:
            self._at += READING
        try:
            yield
        finally:
            with self._lock:
                self._at -= READING
                self._since = time.monotonic()

    def rest(self) -> None:
        with self._lock:
            self._go_on()
        self.leave()

    def _go_on(self) -> None:
        if self._stopped:
            raise Stopped("stopped")

    def stop(self) -> None:
        """Have the thread end. It will not get beyond `rest`, so that what it makes does not appear."""
        with self._lock:
            self._stopped = True

    def stop_overdue(self) -> int | None:
        """The item that has taken longer than it may, its thread told to end; None if there is none."""
        with self._lock:
            limit = self._limit * (PATIENCE if self._at >= READING else 1)
            if self._at < 0 or time.monotonic() < self._since + limit:
                return None
            self._stopped = True
            return self._at

    def enter(self) -> None:
        """Wait for a place."""
        self._places.acquire()
        self._holds = True

    def leave(self) -> None:
        """Give the place back, once."""
        with self._lock:
            held, self._holds = self._holds, False
        if held:
            self._places.release()


class Thread:
    """A worker that is a thread."""

    started = True

    def __init__(self, site: Threads) -> None:
        self._site = site
        self.task: Task | None = None
        self.outcome: tuple[bool, Any] | None = None
        self.watch = _Watch(site.item_seconds, site.places)
        self._overdue: int | None = None
        self._inbox: SimpleQueue[Task | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._live, name="lens-worker", daemon=True)
        self._thread.start()

    def give(self, task: Task) -> None:
        self.task = task
        self._inbox.put(task)

    def ready(self) -> bool:
        if self.outcome is None and self._overdue is None:
            self._overdue = self.watch.stop_overdue()
        return self.outcome is not None or self._overdue is not None

    def take(self) -> tuple[bool, Any]:
        if self.outcome is None:
            raise Died(-signal.SIGALRM, -1 if self._overdue is None else self._overdue)
        outcome, self.outcome, self.task = self.outcome, None, None
        return outcome

    def end(self) -> None:
        self.watch.stop()
        self._inbox.put(None)
        if self._overdue is None:
            self._thread.join(LEAVE_SECONDS)
        self.watch.leave()

    def _live(self) -> None:
        while (task := self._inbox.get()) is not None:
            self.watch.enter()
            outcome = attempt(self._site.work, task, self.watch)
            self.watch.leave()
            with self._site.changed:
                self.outcome = outcome
                self._site.changed.notify()


class Threads:
    """This process as a place of `workers` threads at work, and as many that rest (see `Watch.rest`)."""

    def __init__(self, work: Work, workers: int, item_seconds: float) -> None:
        self.work, self.workers, self.item_seconds = work, workers, item_seconds
        self.places = threading.Semaphore(workers)
        self.changed = threading.Condition()

    def size(self) -> int:
        return 2 * self.workers

    def hire(self) -> Thread:
        return Thread(self)

    def wait(self, workers: Sequence[Thread]) -> list[Thread]:
        with self.changed:
            while True:
                found = [worker for worker in workers if worker.ready()]
                if found:
                    return found
                self.changed.wait(TICK)
