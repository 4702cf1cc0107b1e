"""What both commands share at the terminal: one-line errors with exit codes, progress, JSON output."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import click
from tqdm import tqdm

from catalog.errors import LensError

T = TypeVar("T")
PLAIN_LINE_SECONDS = 10.0


def say(text: str) -> None:
    """Print a line for a person. It goes to stderr, so that stdout stays machine-readable."""
    tqdm.write(text, file=sys.stderr)


def emit_json(value: Any) -> None:
    """Print `value` to stdout as one line of JSON for a program to read."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


class Progress:
    """A bar on a terminal; elsewhere a plain line every ten seconds and one at the end.

    Use as a context manager: `with Progress(total, "score", "images") as bar: bar.advance(64)`.
    `total` may be None when it is not known beforehand.
    """

    def __init__(self, total: int | None, label: str, unit: str = "it") -> None:
        self.total, self.label, self.unit = total, label, unit
        self.done = 0
        self._start = self._last = time.monotonic()
        self._bar = (
            tqdm(total=total, desc=label, unit=unit, unit_scale=True, file=sys.stderr)
            if sys.stderr.isatty()
            else None
        )

    def __enter__(self) -> Progress:
        return self

    def advance(self, n: int = 1, note: str = "") -> None:
        self.done += n
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(n)
        elif time.monotonic() - self._last >= PLAIN_LINE_SECONDS:
            self._last = time.monotonic()
            self._plain(note)

    def _plain(self, note: str = "") -> None:
        seconds = max(time.monotonic() - self._start, 1e-9)
        of = f"/{self.total}" if self.total is not None else ""
        tail = f", {note}" if note else ""
        print(
            f"{self.label}: {self.done}{of} {self.unit}, {self.done / seconds:.1f}/s{tail}",
            file=sys.stderr,
            flush=True,
        )

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self.done or self.total:
            self._plain()


def track(items: Iterable[T], label: str, unit: str = "it", total: int | None = None) -> Iterator[T]:
    """Yield `items` while showing progress."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    with Progress(total, label, unit) as bar:
        for item in items:
            yield item
            bar.advance()


def one_line(error: BaseException) -> str:
    """The error as a single line without a traceback."""
    if isinstance(error, click.ClickException):
        return " ".join(error.format_message().split())
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = f" while writing {error.filename}" if error.filename else ""
        return f"no space left on the disk{where}; free some and run the same command again (finished parts are kept)"
    text = " ".join(str(error).split())
    return text or type(error).__name__


def run_command(command: click.Command, prog: str, args: list[str] | None = None) -> int:
    """Run a click command and return its exit code: 0 done, 1 the job failed, 2 wrong usage or bad input, 130 Ctrl-C.

    Set LENS_TRACEBACK=1 to let exceptions through (for developers).
    """
    try:
        outcome = command.main(args=args, prog_name=prog, standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, click.exceptions.Abort):
        print(f"{prog}: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `lensdata query ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("LENS_TRACEBACK"):
            raise
        code = error.exit_code if isinstance(error, click.ClickException | LensError) else 1
        known = isinstance(error, click.ClickException | LensError | OSError)
        hint = "" if known else f" [{type(error).__name__}; set LENS_TRACEBACK=1 to see where]"
        print(f"{prog}: {one_line(error)}{hint}", file=sys.stderr)
        return code
