"""Assign every readable image to one of the 27 training buckets."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import polars as pl

from catalog import Catalog
from catalog.buckets import assign
from lensdata import engine
from lensdata.stage import Row, Stage, chunks, commit_waiting, pages, run_stage


def bucket(catalog: Catalog, workers: int | None = None, on: engine.On = "local") -> int:
    """Assign the images that have no bucket yet; returns how many."""
    with catalog.job(STAGE.name, resumes=True):
        commit_waiting(catalog, STAGE)
        tasks = chunks(catalog, STAGE, pages(catalog, STAGE.pending), {})
        return run_stage(catalog, STAGE, tasks, None, workers, on)["assigned"]


_assigned = cache(assign)  # images of few sizes are many


def _assign(task: engine.Task, watch: engine.Watch) -> Iterator[Row]:
    """Worker: the buckets of one part."""
    for item in task.items:
        found = _assigned(item["width"], item["height"])
        yield {
            "image_id": item["image_id"], "base": found.base, "aspect": found.aspect, "width": found.width,
            "height": found.height,
        }  # fmt: skip


def _count(frame: pl.DataFrame) -> dict[str, int]:
    return {"assigned": len(frame)}


STAGE = Stage(
    name="bucket",
    work=_assign,
    schema={
        "image_id": pl.Int64,
        "base": pl.Int32,
        "aspect": pl.String,
        "width": pl.Int32,
        "height": pl.Int32,
    },
    commit=("bucket/part",),
    pending="bucket/pending",
    part_items=65_536,
    tally=_count,
    light=True,
)
