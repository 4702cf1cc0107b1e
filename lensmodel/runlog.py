"""What a run tells: a line for a person, and the same as JSON in RUN/log.jsonl."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.errors import LensError
from catalog.notices import say
from lensmodel.trackers import Trackers

if TYPE_CHECKING:
    import numpy as np


def short_time(seconds: float) -> str:
    """75 -> "1m15s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def finite(value: Any) -> Any:
    """`value` with None for each NaN or infinity in it, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class RunLog:
    """Says events, and from `start` on appends them to `path`; silent on ranks other than the first.

    What is said before `start` is written with it: a command that is refused on the way leaves no trace.
    """

    def __init__(self, path: Path, main: bool) -> None:
        self.path, self.main = path, main
        self._waiting: list[str] | None = []
        self._trackers: Trackers | None = None

    def start(self, trackers: Trackers | None = None) -> None:
        """Write what waits, and everything from now on, to `trackers` as well."""
        self._trackers = trackers
        waiting, self._waiting = self._waiting or [], None
        for line in waiting:
            self._write(line)

    def event(self, kind: str, text: str, **fields: Any) -> None:
        """One event: `text` to the terminal (unless empty), kind, time and `fields` to the file."""
        if not self.main:
            return
        if text:
            say(text)
        line = json.dumps(finite({"event": kind, "time": round(time.time(), 3), **fields}), allow_nan=False)
        if self._waiting is None:
            self._write(line)
        else:
            self._waiting.append(line)
        if self._trackers:
            self._trackers.add(kind, fields)

    def picture(self, name: str, picture: np.ndarray, step: int) -> None:
        """Show a picture, uint8 [H, W, 3], in the trackers."""
        if self._trackers:
            self._trackers.picture(name, picture, step)

    def close(self) -> None:
        """Let the trackers end."""
        if self._trackers:
            self._trackers.close()

    def _write(self, line: str) -> None:
        try:
            with self.path.open("a") as f:
                f.write(line + "\n")
        except OSError as error:
            raise LensError(
                f"{self.path} cannot be written ({error.strerror}); make room and use --resume"
            ) from None


class Meter:
    """Sums over the steps since the last line: loss, images, and where the time went."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._start = time.monotonic()
        self.loss = self.images = self.tokens = self.steps = self.skipped = self.all_tokens = self.flops = 0.0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What the block takes (validating, saving) is no time of training."""
        start = time.monotonic()
        yield
        self._start += time.monotonic() - start

    def add(self, loss: float, images: float, tokens: float, skipped: bool, flops: float = 0.0) -> None:
        self.all_tokens += tokens
        self.flops += flops
        if not skipped:
            self.loss += loss * tokens
            self.tokens += tokens
        self.images += images
        self.steps += 1
        self.skipped += skipped

    def numbers(self, waited: float, steps_left: int) -> dict[str, float]:
        """Rates and means since the last reset; `waited` are the seconds spent waiting for data."""
        seconds = max(time.monotonic() - self._start, 1e-9)
        return {
            "loss": self.loss / self.tokens if self.tokens else float("nan"),
            "images_per_second": self.images / seconds,
            "tokens_per_second": self.all_tokens / seconds,
            "flops_per_second": self.flops / seconds,
            "data_wait": min(waited / seconds, 1.0),
            "eta_seconds": seconds / max(self.steps, 1) * steps_left,
        }
