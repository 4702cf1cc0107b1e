"""What the two commands share at the terminal: one-line errors with exit codes, progress, JSON output.

It is no part of the contract: nothing else in `catalog` imports it (a test holds that), so a library call prints
nothing.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import click

from catalog import notices
from catalog.errors import URL, LensError, one_line

PLAIN_LINE_SECONDS = 10.0


class LocalPath(click.Path):
    """A path on this machine, as every option and argument takes it that names one; a URL is refused, since as a path
    it would be a folder `s3:` below the current one."""

    def __init__(self, **how: Any) -> None:
        super().__init__(path_type=Path, **how)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = os.fsdecode(value)
        if re.match(URL, text):
            if text.startswith("file:/"):
                advice = "write the path alone"
            elif "://" not in text:
                advice = f"name a local one (./{text} if that is its name)"
            else:
                advice = "name a local one, and copy to or from it"
            self.fail(f"{text} is a URL where a local path is needed; {advice}", param, ctx)
        return super().convert(value, param, ctx)


LOCAL_PATH = LocalPath()


def emit_json(value: Any) -> None:
    """Print `value` to stdout as one line of JSON for a program to read."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


class _Lines(logging.Handler):
    """Prints what is said to stderr, so that stdout stays machine-readable, and above a bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        bars = sys.modules.get("tqdm")  # imported with the first bar
        if bars is None:
            print(record.getMessage(), file=sys.stderr)
        else:
            bars.tqdm.write(record.getMessage(), file=sys.stderr)


class TerminalBar:
    """A bar on a terminal; elsewhere a plain line every ten seconds and one at the end."""

    def __init__(self, total: int | None, label: str, unit: str) -> None:
        self._total, self._label, self._unit = total, label, unit
        self._done, self._shown = 0, -1  # the latter is what the last plain line said
        self._start = self._last = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=label, unit=unit, unit_scale=True, file=sys.stderr)

    def update(self, n: int, note: str) -> None:
        self._done += n
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(n)
        elif time.monotonic() - self._last >= PLAIN_LINE_SECONDS:
            self._last = time.monotonic()
            self._plain(note)

    def _plain(self, note: str = "") -> None:
        seconds = max(time.monotonic() - self._start, 1e-9)
        of = f"/{self._total}" if self._total is not None else ""
        tail = f", {note}" if note else ""
        self._shown = self._done
        print(
            f"{self._label}: {self._done}{of} {self._unit}, {self._done / seconds:.1f}/s{tail}",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        elif (self._done or self._total) and self._shown != self._done:
            self._plain()


def listen() -> None:
    """Show on the terminal what work tells from now on."""
    logger = notices.logger
    if not any(isinstance(handler, _Lines) for handler in logger.handlers):
        logger.addHandler(_Lines())
    logger.setLevel(logging.INFO)
    notices.show_progress(TerminalBar)


def run_command(command: click.Command, prog: str, args: list[str] | None = None) -> int:
    """Run a click command and return its exit code: 0 done, 1 the job failed, 2 wrong usage or bad input, 130 Ctrl-C.

    Set LENS_TRACEBACK=1 to let exceptions through (for developers).
    """
    listen()
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
    except (
        click.exceptions.NoArgsIsHelpError
    ) as error:  # a group alone: its message is its help, of many lines
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        print(f"{prog}: {' '.join(error.format_message().split())}", file=sys.stderr)
        return error.exit_code
    except Exception as error:
        if os.environ.get("LENS_TRACEBACK"):
            raise
        known = isinstance(error, LensError | OSError)
        hint = "" if known else f" [{type(error).__name__}; set LENS_TRACEBACK=1 to see where]"
        print(f"{prog}: {one_line(error)}{hint}", file=sys.stderr)
        return error.exit_code if isinstance(error, LensError) else 1


def leave(code: int) -> NoReturn:
    """End the process with what was registered for its end, but without taking apart all that it has loaded: of a
    query that would be a fifth of the time."""
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass
    except OSError as error:
        print(f"the output could not be written: {one_line(error)}", file=sys.stderr)
        code = code or 1
    sys.stderr.flush()
    os._exit(code)
