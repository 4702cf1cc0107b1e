"""What the commands print, and how they end."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

from tests.conftest import ROOT


def python(code: str, **options) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    return subprocess.run(
        line, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, check=False, **options
    )


def test_the_end_is_quick_but_nothing_is_lost(tmp_path: Path) -> None:
    code = (
        "import atexit, sys\n"
        "from catalog.console import leave\n"
        f"atexit.register(lambda: open({str(tmp_path / 'mark')!r}, 'w').close())\n"
        "print('x' * 100_000)\n"
        "print('told', file=sys.stderr)\n"
        "leave(3)\n"
    )
    done = python(code, stdout=subprocess.PIPE)
    assert done.returncode == 3
    assert done.stdout == "x" * 100_000 + "\n"
    assert done.stderr == "told\n"
    assert (tmp_path / "mark").exists()


def test_output_that_finds_no_room_is_a_failure_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = python("from catalog.console import leave\nprint('rows')\nleave(0)", stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith("the output could not be written: no space left")
    assert done.stderr.count("\n") == 1


def test_nobody_who_reads_on_is_no_failure() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = python("from catalog.console import leave\nprint('rows')\nleave(0)", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_sees_a_bar_and_lines_above_it() -> None:
    code = (
        "from catalog.console import listen\n"
        "from catalog.notices import Progress, say\n"
        "listen()\n"
        "say('before')\n"
        "with Progress(4, 'score', 'images') as bar:\n"
        "    bar.advance(2)\n"
        "    say('amid')\n"
    )
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    job = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=theirs, stdout=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    assert job.wait() == 0
    os.close(ours)
    assert b"before\r\n" in shown
    assert b"amid" in shown
    assert b"score:  50%" in shown


def test_a_group_alone_shows_its_help_as_it_is(command) -> None:
    for name, args, word in (
        ("lensdata", ("manifest",), "diff"),
        ("lensdata", (), "ingest"),
        ("lensmodel", (), "train"),
    ):
        alone, asked = command(name, *args), command(name, *args, "--help")
        assert (alone.returncode, alone.stdout) == (2, "")
        assert word in asked.stdout and len(asked.stdout.splitlines()) > 5
        assert alone.stderr.splitlines() == asked.stdout.splitlines()


def test_a_plain_line_that_said_all_is_not_said_again() -> None:
    code = (
        "from catalog import console\n"
        "console.PLAIN_LINE_SECONDS = 0\n"
        "for steps in ((3,), (3, 0), (), (1, 2)):\n"
        "    bar = console.TerminalBar(3, 'ingest', 'images')\n"
        "    for n in steps: bar.update(n, '')\n"
        "    bar.close()\n"
    )
    told = [line.partition(" images")[0] for line in python(code).stderr.splitlines()]
    assert told == ["ingest: 3/3", *["ingest: 3/3"] * 2, "ingest: 0/3", "ingest: 1/3", "ingest: 3/3"]
