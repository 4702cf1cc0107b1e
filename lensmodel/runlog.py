"""What a run tells: a line for a person, and the same as JSON in RUN/log.jsonl."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from catalog.console import say


def short_time(seconds: float) -> str:
    """75 -> "1m15s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


class RunLog:
    """Appends events to `path` and says them; silent on ranks other than the first."""

    def __init__(self, path: Path, main: bool) -> None:
        self.path, self.main = path, main

    def event(self, kind: str, text: str, **fields: Any) -> None:
        """One event: `text` to the terminal (unless empty), kind, time and `fields` to the file."""
        if not self.main:
            return
        if text:
            say(text)
        line = json.dumps({"event": kind, "time": round(time.time(), 3), **fields})
        with self.path.open("a") as f:
            f.write(line + "\n")


class Meter:
    """Sums over the steps since the last line: loss, images, and where the time went."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._start = time.monotonic()
        self.loss = self.images = self.tokens = self.steps = self.skipped = self.waited = 0.0

    def add(self, loss: float, images: float, tokens: float, skipped: bool) -> None:
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
            "data_wait": min(waited / seconds, 1.0),
            "eta_seconds": seconds / max(self.steps, 1) * steps_left,
        }
