"""What a build could not read is tried again: from other files with the same bytes, and by the same command later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from catalog import Catalog
from catalog.manifest import Manifest
from lensdata import engine
from lensdata.shards import folder
from lensdata.shards.layout import Layout
from lensdata.shards.writer import read_sample

TOGETHER = 4_096  # lost samples whose copies are asked for at once, each shard of theirs held meanwhile
SAMPLE = {"sha256": pl.String, "uri": pl.String, "byte_offset": pl.Int64}


def elsewhere(catalog: Catalog, out: Path, plan: Layout, settings: dict[str, Any]) -> Iterator[engine.Task]:
    """The shards of `plan` that lack samples whose bytes the catalog knows in other files, too: each as a task whose
    settings name those as `copies`, by sha256."""
    waiting: list[tuple[str, pl.DataFrame, list[int]]] = []
    lost = 0
    for name, rows in plan:
        if errors := folder.noted(out, name).errors:
            waiting.append((name, rows, sorted(errors)))
            lost += len(errors)
            if lost >= TOGETHER:
                yield from _with_copies(catalog, waiting, settings)
                waiting, lost = [], 0
    yield from _with_copies(catalog, waiting, settings)


def _with_copies(
    catalog: Catalog, waiting: list[tuple[str, pl.DataFrame, list[int]]], settings: dict[str, Any]
) -> Iterator[engine.Task]:
    copies = _copies(catalog, [rows[at] for _, rows, lost in waiting for at in lost])
    for name, rows, lost in waiting:
        of_shard = {sha256: copies[sha256] for at in lost if (sha256 := rows["sha256"][at]) in copies}
        if of_shard:
            yield engine.Task(name, list(rows.iter_rows(named=True)), settings | {"copies": of_shard})


def _copies(catalog: Catalog, rows: list[pl.DataFrame]) -> dict[str, list[dict[str, Any]]]:
    """sha256 -> the other places of these bytes: uri, offset, file_size and file_mtime_ns of each."""
    if not rows:
        return {}
    lost = pl.concat(rows).select("sha256", "uri", byte_offset="offset").cast(SAMPLE)  # type: ignore[arg-type]
    found: dict[str, list[dict[str, Any]]] = {}
    for row in catalog.query("manifest/copies", {}, {"lost": lost}).iter_rows(named=True):
        found.setdefault(row.pop("sha256"), []).append({"offset": row.pop("byte_offset"), **row})
    return found


def reopen(
    catalog: Catalog, found: Manifest, plan: Callable[[], Layout], wanted: dict[str, Any], verify_bytes: bool
) -> bool:
    """Whether the finished build `found` is under way again, since a sample that it dropped can be read now.

    Shards without a loss stay as they are. Killed half-way, this is done again or the build goes on.
    """
    if not _some_readable(catalog, found, plan(), verify_bytes):
        return False
    out = found.root
    folder.begin(out, wanted, found.name)
    whole = {shard["name"]: shard for shard in found.info["shards"]}
    for name, rows, good in _lacking(found, plan()):
        if len(rows) == len(good):
            shard = whole[name]
            index = folder.Index(
                shard["bytes"], shard["sha256"], good["offset"].to_list(), good["length"].to_list(), {}
            )
            folder.note(out, name, index)
    (out / "manifest.json").unlink()
    return True


def _some_readable(catalog: Catalog, found: Manifest, plan: Layout, verify_bytes: bool) -> bool:
    for _, rows, good in _lacking(found, plan):
        lost = rows.join(good, on="image_id", how="anti", maintain_order="left")
        if lost.is_empty():
            continue
        copies = _copies(catalog, [lost])
        for row in lost.iter_rows(named=True):
            place = memoryview(bytearray(row["length"]))
            if not read_sample(row, copies.get(row["sha256"], ()), place, verify_bytes):
                return True
    return False


def _lacking(found: Manifest, plan: Layout) -> Iterator[tuple[str, pl.DataFrame, pl.DataFrame]]:
    """(shard, the rows that belong in it, those that are in it), in the plan's order."""
    held = found.by_shard()
    name, good = next(held, ("", None))
    for wanted, rows in plan:
        if wanted == name and good is not None:
            yield wanted, rows, good
            name, good = next(held, ("", None))
        else:
            yield wanted, rows, rows.clear().with_columns(offset=pl.lit(0, pl.Int64))
