"""All stages in order. Each works only on what is missing, so running it again is cheap."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import catalog
from catalog import Catalog
from catalog.errors import BadInput, LensError
from catalog.manifest import Manifest
from catalog.notices import say
from lensdata import engine, scorers
from lensdata.bucket import bucket
from lensdata.caption import copy_all
from lensdata.dedup import dedup
from lensdata.ingest import ingest
from lensdata.report import report
from lensdata.score import score
from lensdata.shards import Built, beside, build, settings
from lensdata.shards.builder import SHARD_BYTES, SHARD_SAMPLES
from lensdata.sources import DEFAULTS, Columns, open_all


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
    columns: Columns = DEFAULTS,
    from_names: bool = False,
) -> None:
    """Ingest `sources`, score, dedup, caption and bucket everything, then build shards and the report if asked to.

    Shards of another selection that stand in `out` are left alone: the present one is built beside them, in OUT-2,
    OUT-3, ... The report is written also where nothing is selected. Raises BadInput then, and LensError where the
    build dropped more than a few images.
    """
    given = open_all(sources, columns)  # before a catalog is made for nothing
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
    say(f"caption: {copy_all(opened, from_names, workers=workers, on=without_gpus)}")
    say(f"bucket: {bucket(opened, workers, without_gpus)} images assigned")
    made: Built | None = None
    failure: LensError | None = None
    if out is not None:
        try:
            chosen = opened.select(**selection).manifest()
        except BadInput as error:  # nothing is selected: the report shows why
            failure = error
        else:
            made = _build(opened, chosen, out.absolute(), workers, without_gpus)
            for rule, count in chosen.info["unmeasured"].items():
                advice = opened.select(**selection).advice(rule)
                say(
                    f"build-shards: {count} readable images have no {rule} result, so they were left out; {advice}"
                )
            if not made.complete:
                failure = LensError(f"build-shards: {made.lacks}")
    if report_file is not None:
        report(opened, report_file.absolute(), opened.select(**selection))
    say(f"run: done in {time.monotonic() - started:.0f} s; catalog {opened.root}")
    for path in (made.manifest.root if made is not None else None, report_file):
        if path is not None:
            say(f"run: wrote {path.absolute()}")
    if failure is not None:
        raise failure


def _build(catalog: Catalog, chosen: Manifest, out: Path, workers: int | None, on: engine.On) -> Built:
    """The shards of `chosen` in `out`, or beside it if that holds those of another selection."""
    wanted = settings(chosen, False, SHARD_SAMPLES, SHARD_BYTES)
    place = beside(out, wanted, chosen.name)
    if place != out:
        say(
            f"build-shards: {out} holds another selection's shards and stays as it is; this one goes to {place}"
        )
    made = build(catalog, chosen, place, workers=workers, on=on)
    what = f"{made.samples} samples in {made.shards} shards"
    say(f"build-shards: {what} {'were there already' if made.reused else 'written'}, {made.dropped} dropped")
    if made.lacks and made.complete:
        say(f"build-shards: {made.lacks}")
    return made
