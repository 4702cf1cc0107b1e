"""A manifest's table is the same file however its rows come, and is read piece by piece."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import catalog
from catalog.buckets import BUCKETS
from catalog.manifest import rows as tables


@pytest.mark.parametrize("size", [1, 3, 4, 7, 100])
def test_how_rows_come_does_not_show(tmp_path: Path, monkeypatch, size: int) -> None:
    monkeypatch.setattr(tables, "ROWS", 4)
    frame = pl.DataFrame(
        {"image_id": range(18), "caption": [f"ä {n}" for n in range(18)], "shard": [None] * 18}
    )
    frame = frame.cast({"shard": pl.String})
    tables.write(tmp_path / "whole", [frame])
    tables.write(tmp_path / "cut", frame.iter_slices(size))
    assert (tmp_path / "cut").read_bytes() == (tmp_path / "whole").read_bytes()
    assert pl.read_parquet(tmp_path / "cut").equals(frame)
    read = list(tables.batches(tmp_path / "cut"))
    assert max(map(len, read)) == 4
    assert pl.concat(read).equals(frame)


def test_a_table_without_rows(tmp_path: Path) -> None:
    frame = pl.DataFrame(schema={"image_id": pl.Int64, "caption": pl.String})
    tables.write(tmp_path / "none", [frame])
    assert pl.read_parquet(tmp_path / "none").schema == frame.schema
    assert list(tables.batches(tmp_path / "none")) == []


def scattered(image_id: int) -> int:
    """splitmix64's finaliser, in Python's integers."""
    mask = 2**64 - 1
    x = (image_id + 0x9E3779B97F4A7C15) & mask
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & mask
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & mask
    return x ^ (x >> 31)


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_a_manifest_is_in_its_order_however_it_is_read(
    filled: catalog.Catalog, monkeypatch, rows: int
) -> None:
    monkeypatch.setattr(tables, "ROWS", rows)
    selection = filled.select(min_area=None)
    found = selection.manifest(f"by-{rows}").samples
    position = {bucket.name: n for n, bucket in enumerate(BUCKETS)}
    keys = [
        (position[bucket], form, scattered(image_id))
        for bucket, form, image_id in found.select("bucket", "format", "image_id").iter_rows()
    ]
    assert keys == sorted(keys)
    assert sorted(found["image_id"]) == selection.frame()["image_id"].to_list()
    assert not list((filled.root / "manifests").glob("*.tmp"))
