"""A task, where tasks are run, the watch over their items, and who is to blame when a worker dies."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from catalog.errors import LensError

BLAMELESS = {signal.SIGKILL, signal.SIGTERM}  # who sent it, the user or the system, is unknown: try once more
ATTEMPTS = 3
PATIENCE = 20  # times an item's limit that reading it may take: a slow store is no fault of the image
READING = 1 << 40  # added to the number of an item that is being read
LATE = ("missing", "its storage did not answer in time")  # the poison of an item of which only that is known


@dataclass(frozen=True)
class Ray:
    """A Ray cluster: `address` (HOST:PORT, `auto` or `local`; None: RAY_ADDRESS, else the one `ray start` began on
    this machine, else one of our own) and `gpus`, the share of GPUs that each worker holds."""

    address: str | None = None
    gpus: float = 0.0


@dataclass
class Task:
    """One part of a job's work. `poison` maps items (by index) that must not be touched again to the reason."""

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

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Within `item`: its bytes are waited for, which has a longer limit of its own. What remains has the whole of
        the other."""
        self._current.value += READING
        if self._seconds:
            signal.setitimer(signal.ITIMER_REAL, PATIENCE * self._seconds)
        try:
            yield
        finally:
            if self._seconds:
                signal.setitimer(signal.ITIMER_REAL, self._seconds)
            self._current.value -= READING

    def rest(self) -> None:
        """Say that no item is left and only the disk is waited for, so that another task may begin meanwhile.

        In a thread that was told to end this raises, and what the task has made does not appear.
        """


Work = Callable[[Task, Watch], Any]


class _Nowhere:
    """Where a watch that nobody looks at notes its item."""

    value = -1


def unguarded() -> Watch:
    """A watch without a time limit, for work in the process that asked for it."""
    return Watch(_Nowhere(), 0)


class Died(Exception):
    """A worker is gone: its exit code (negative: the signal) and the item it was at (-1: none, or unknown)."""

    def __init__(self, code: int, item: int = -1) -> None:
        super().__init__(code, item)
        self.code, self.item = code, item


def attempt(work: Work, task: Task, watch: Watch) -> tuple[bool, Any]:
    """(True, what the work gave) or (False, the error to raise for it)."""
    try:
        return True, work(task, watch)
    except (LensError, OSError) as error:
        return False, error
    except Exception as error:
        return False, LensError(f"the part {task.part_id} failed: {type(error).__name__}: {error}")


def blame(task: Task, death: Died) -> Task:
    """The task to run again after its worker died, with the item that killed it marked."""
    number, item = -death.code, death.item
    reading = item >= READING
    item -= READING if reading else 0
    name = signal.Signals(number).name if number in set(signal.Signals) else f"exit code {death.code}"
    task.attempts += 1
    if item >= 0 and number == signal.SIGALRM:
        task.poison[item] = LATE if reading else ("timeout", "took longer than the time limit for one image")
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
