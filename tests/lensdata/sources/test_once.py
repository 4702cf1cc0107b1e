"""A source is opened once: each folder listed once, each footer read once, each object asked for once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lensdata.sources import Survey, open_all
from tests.conftest import ROOT
from tests.helpers import fill, make_tar, png
from tests.lensdata.sources.conftest import Server

FAKE = f"{sys.executable} {ROOT / 'tests' / 'fakes' / 'img2dataset.py'}"
NOTED = """
import os, sys
log, job = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND), os.getpid()
def note(event, arguments):
    if event in ("open", "os.scandir", "os.listdir") and not isinstance(arguments[0], int) and os.getpid() == job:
        os.write(log, f"{event} {os.fsdecode(arguments[0] or '.')}\\n".encode())
sys.addaudithook(note)
from lensdata.cli import main
main()
"""


def tables(folder: Path, count: int, rows: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        images = [png(n * rows + k) for k in range(rows)]
        pl.DataFrame({"image": images, "text": ["t"] * rows}).write_parquet(folder / f"part-{n}.parquet")
    return folder


def test_the_command_opens_each_thing_once(tmp_path: Path) -> None:
    here = tmp_path / "here"
    fill(here / "pictures", 2, ((40, 30),))
    fill(here / "pictures" / "deep" / "er", 1, ((40, 30),))
    make_tar(here / "pictures" / "in.tar", [("a.png", png(1))])
    (here / "tars").mkdir()
    for n in (1, 20, 21, 22, 3, 4):
        make_tar(here / "tars" / f"{n}.tar", [(f"{k}.png", os.urandom(9000)) for k in range(2)])
    tables(here / "tables", 3)
    tables(here / "more", 2)
    (here / "list.csv").write_text("url\nhttp://127.0.0.1:9/a.png\n")
    sources = [
        "pictures",
        "tars/1.tar",
        "tars/3.tar",
        "tars/2*.tar",
        "tables",
        "more/part-1.parquet",
        "list.csv",
    ]
    done = subprocess.run(
        [sys.executable, "-c", NOTED, tmp_path / "log", "--catalog", tmp_path / "catalog", "ingest", *sources],
        cwd=here, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LENS_IMG2DATASET": FAKE},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "23 images added" in done.stdout
    events = Counter(
        line.replace(f"{here}/", "")
        for line in (tmp_path / "log").read_text().splitlines()
        if str(here) in line
    )
    assert {event: count for event, count in events.items() if count > 1} == {}
    assert sorted(event.removeprefix("os.scandir ") for event in events if "scandir" in event) == [
        "pictures", "pictures/deep", "pictures/deep/er", "tables", "tars",
    ]  # fmt: skip
    opened = {event.removeprefix("open ") for event in events if event.startswith("open ")}
    assert opened == {
        "pictures/in.tar", "list.csv", "more/part-1.parquet", *(f"tables/part-{n}.parquet" for n in range(3)),
        *(f"tars/{n}.tar" for n in (1, 3, 20, 21, 22)),
    }  # fmt: skip


def put(s3: Any, folder: Path, prefix: str) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            s3.pipe(f"{prefix}/{path.relative_to(folder)}", path.read_bytes())


@pytest.fixture
def bucket(s3: Any, tmp_path: Path) -> Any:
    folder = fill(tmp_path / "f" / "pictures", 2, ((40, 30),))
    fill(folder / "deep", 1, ((40, 30),))
    (tmp_path / "f" / "tars").mkdir()
    for n in range(2):
        members = [(f"{k}.png", os.urandom(50_000)) for k in range(4)]
        make_tar(tmp_path / "f" / "tars" / f"{n}.tar", members)
    tables(tmp_path / "f" / "tables", 3, rows=40)
    tables(tmp_path / "f" / "one", 1, rows=40)
    (tmp_path / "f" / "list.txt").write_text("http://127.0.0.1:9/a.png\n")
    put(s3, tmp_path / "f", "lens")
    return s3


def test_a_store_is_asked_once(bucket: Any, server: Server, tmp_path: Path) -> None:
    server.log.clear()
    given = ["pictures", "tars/*.tar", "tables", "one/part-0.parquet"]
    found = open_all([f"s3://lens/{name}" for name in given])
    counts = [len(list(source.list(Survey(), tmp_path / "catalog"))) for source in found]
    assert counts == [3, 8, 120, 40]
    lists = Counter(
        r.query["prefix"] for r in server.log if "list-type" in r.query and "max-keys" not in r.query
    )
    assert lists == {"pictures/": 1, "pictures/deep/": 1, "tars/": 1, "tables/": 1}
    gets = Counter((r.path, r.range) for r in server.log if r.method == "GET" and "list-type" not in r.query)
    assert max(gets.values()) == 1
    for path in (tmp_path / "f").rglob("*.parquet"):
        last = path.stat().st_size - 1
        name = f"/lens/{path.relative_to(tmp_path / 'f')}"
        assert sum(at == name and ends.endswith(f"-{last}") for at, ends in gets) == 1  # the footer
    heads = Counter(r.path for r in server.log if r.method == "HEAD")
    # What is named is looked for; what a listing gave is known.
    assert heads == {f"/lens/{name}": 1 for name in given}


def test_an_unchanged_copy_costs_the_footers(bucket: Any, server: Server, tmp_path: Path) -> None:
    for _ in range(2):
        server.log.clear()
        (source,) = open_all(["s3://lens/tables"])
        assert len(list(source.list(Survey(), tmp_path / "catalog"))) == 120
    gets = [r for r in server.log if r.method == "GET" and "list-type" not in r.query]
    assert len(gets) == 3
