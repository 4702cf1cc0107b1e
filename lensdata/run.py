"""All stages in order. Each works only on what is missing, so running it again is cheap."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import catalog
from catalog.notices import say
from lensdata import engine, scorers
from lensdata.bucket import bucket
from lensdata.caption import copy_all
from lensdata.dedup import dedup
from lensdata.ingest import ingest
from lensdata.report import report
from lensdata.score import score
from lensdata.shards import build
from lensdata.sources import open_all


def run_all(
    root: Path,
    sources: list[Path | str],
    source: str,
    out: Path | None,
    report_file: Path | None,
    selection: dict[str, Any],
    workers: int | None = None,
    on: engine.On = "local",
    models: str = "light",
) -> None:
    """Ingest `sources`, score, dedup, caption and bucket everything, then build shards and the report if asked to."""
    given = open_all(sources)  # before a catalog is made for nothing
    scorers.chosen(models)[1].require()  # before anything is read for nothing
    if not sources:
        catalog.open(root, read_only=True)  # without sources there must be a catalog
    opened = catalog.open(root)
    started = time.monotonic()
    without_gpus = replace(on, gpus=0.0) if isinstance(on, engine.Ray) else on
    if sources:
        say(f"ingest: {ingest(opened, given, source, workers, on=without_gpus)}")
    say(f"score: {score(opened, models, workers=workers, on=on)}")
    found = dedup(opened, tier=models, workers=workers, on=on)
    say(
        "dedup: nothing new"
        if found is None
        else f"dedup: {found.kept} of {found.images} kept ({found.exact} exact copies, {found.near} near-duplicates)"
    )
    say(f"caption: {copy_all(opened, workers=workers, on=without_gpus)}")
    say(f"bucket: {bucket(opened, workers, without_gpus)} images assigned")
    if out is not None:
        chosen = opened.select(**selection).manifest()
        made = build(opened, chosen, out.absolute(), workers=workers, on=without_gpus)
        say(f"build-shards: {made.samples} samples in {made.shards} shards, {made.dropped} dropped")
    if report_file is not None:
        report(opened, report_file.absolute(), opened.select(**selection))
    say(f"run: done in {time.monotonic() - started:.0f} s; catalog {opened.root}")
    for path in (out, report_file):
        if path is not None:
            say(f"run: wrote {path.absolute()}")
