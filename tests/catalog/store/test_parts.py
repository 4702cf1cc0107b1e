"""Parts appear whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import polars as pl
import pytest

from catalog.store import parts


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
