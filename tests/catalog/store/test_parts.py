"""Parts appear whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import catalog
from catalog.store import parts
from tests.conftest import ROOT


def test_a_part_appears_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = parts.write(tmp_path, "score", "a", pl.DataFrame({"x": [1, 2, 3]}))
    assert parts.count(path) == 3
    assert [entry.name for entry in path.parent.iterdir()] == ["a.parquet"]
    assert parts.waiting(tmp_path, "score") == [path]


def test_an_error_leaves_the_old_file_and_no_scrap(tmp_path: Path) -> None:
    path = tmp_path / "f"
    parts.write_bytes(path, b"old")

    def half() -> None:
        with parts.atomic(path) as file:
            file.write(b"ne")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_called_one() -> None:
    frame = pl.DataFrame({"x": range(1000)})
    with Path("/dev/full").open("wb", buffering=0) as file, pytest.raises(OSError, match="space") as found:
        parts.write_frame(file, frame)
    assert found.value.errno == errno.ENOSPC


def test_sweep_removes_half_written_files_only(tmp_path: Path) -> None:
    whole = parts.write(tmp_path, "score", "a", pl.DataFrame({"x": [1]}))
    scrap = whole.with_name("b.parquet.123.tmp")
    scrap.write_bytes(b"half")
    parts.sweep(tmp_path)
    assert whole.exists()
    assert not scrap.exists()


HOLDER = """
import sys
from pathlib import Path
from catalog.store import parts
with parts.atomic(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("holding", flush=True)
    sys.stdin.readline()
    file.write(b" and half")
print("done", flush=True)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """A process in the middle of writing `path`."""
    line = [sys.executable, "-c", HOLDER, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        line, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    return process


@pytest.mark.parametrize(
    "place", ["manifests/train/samples.parquet", "parts/score/a.parquet", "embeddings/m/p.npy"]
)
def test_a_starting_job_leaves_what_a_living_process_writes(tmp_path: Path, place: str) -> None:
    opened = catalog.open(tmp_path / "catalog")
    path = opened.root / place
    path.parent.mkdir(parents=True)
    process = holder(path)
    with opened.job("score", resumes=True):
        pass
    out, _ = process.communicate("go on\n")
    assert (process.returncode, out) == (0, "done\n")
    assert path.read_bytes() == b"half and half"


def test_and_sweeps_what_a_killed_one_left(tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "catalog")
    process = holder(opened.root / "manifests" / "f")
    (opened.root / "parts" / "of-an-earlier-lens.tmp").write_bytes(b"")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(list((opened.root / "manifests").iterdir())) == 1
    with opened.job("score"):
        pass
    assert not list(opened.root.rglob("*.tmp"))


def test_where_storage_knows_no_locks_only_what_is_old_is_swept(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    (tmp_path / "old.tmp").write_bytes(b"")
    os.utime(tmp_path / "old.tmp", (9, 9))
    monkeypatch.setattr(parts.fcntl, "flock", refuse)
    with parts.atomic(tmp_path / "f") as file:
        file.write(b"whole")
        parts.sweep_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_bytes() == b"whole"
