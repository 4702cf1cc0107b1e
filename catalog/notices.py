"""What long work tells while it runs: a line now and then, and how far it has come.

Nothing is printed here. Lines go to the logger `lens`, progress to whatever `show_progress` was given; the commands
show both on the terminal (catalog.console), a program that calls the library hears them if it listens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")
logger = logging.getLogger("lens")


class Bar(Protocol):
    """What draws the progress of one piece of work."""

    def update(self, n: int, note: str) -> None: ...

    def close(self) -> None: ...


_draw: Callable[[int | None, str, str], Bar] | None = None


def say(text: str) -> None:
    """Tell a person one line."""
    logger.info("%s", text)


def show_progress(draw: Callable[[int | None, str, str], Bar] | None) -> None:
    """Let `draw(total, label, unit)` make the bar of every `Progress` from now on; None draws none."""
    global _draw
    _draw = draw


class Progress:
    """How far a piece of work has come: `with Progress(total, "score", "images") as bar: bar.advance(64)`.

    `total` may be None when it is not known beforehand.
    """

    def __init__(self, total: int | None, label: str, unit: str = "it") -> None:
        self.total, self.label, self.unit = total, label, unit
        self.done = 0
        self._bar: Bar | None = None

    def __enter__(self) -> Progress:
        if _draw is not None:
            self._bar = _draw(self.total, self.label, self.unit)
        return self

    def advance(self, n: int = 1, note: str = "") -> None:
        self.done += n
        if self._bar is not None:
            self._bar.update(n, note)

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.close()


def track(items: Iterable[T], label: str, unit: str = "it", total: int | None = None) -> Iterator[T]:
    """Yield `items` while telling the progress."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    with Progress(total, label, unit) as bar:
        for item in items:
            yield item
            bar.advance()
