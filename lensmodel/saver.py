"""Writes checkpoints while training goes on, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from catalog.notices import say


class Saver:
    """Runs one writing job at a time in a thread; what it raises is raised by the next `wait`."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self.newest: Path | None = None

    def start(self, work: Callable[[], Path]) -> None:
        """Begin `work`, which returns the finished checkpoint, once the job before it has ended well."""
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(work,), name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Return when nothing is being written. Raises what the last job raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    @property
    def failed(self) -> bool:
        """Whether the last job has ended with an error that no `wait` has raised yet."""
        return self._error is not None

    def finish(self) -> None:
        """As `wait`, for a run that is ending because of another error: that one counts, this one is said."""
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            say(f"warning: {self._error}")

    def _run(self, work: Callable[[], Path]) -> None:
        try:
            self.newest = work()
        except BaseException as error:  # it belongs to the thread that trains
            self._error = error
