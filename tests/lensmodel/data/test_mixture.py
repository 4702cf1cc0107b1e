"""A run over a weighted manifest: the log says the mixture, who validates never trains, other weights are refused."""

from __future__ import annotations

import json

import polars as pl
import pytest

from catalog import manifest as manifests
from catalog.errors import BadInput
from catalog.manifest import files
from lensmodel import presets
from lensmodel.trainer import Trainer

SIZES = (("512x512", 40), ("608x448", 24))


def weighed(make_manifest, folder, mixture, sources=True):
    """Every other picture is rendered text, weighed by `mixture`."""
    made = make_manifest(folder, SIZES)
    kind = (
        pl.when(pl.col("image_id") % 2 == 0).then(pl.lit("public-real")).otherwise(pl.lit("text-synthetic"))
    )
    samples = made.samples.with_columns(source=kind) if sources else made.samples.drop("source")
    fingerprint = manifests.fingerprint_of(samples, mixture if sources else {})
    info = {**made.info, "format": files.MIXED, "mixture": mixture, "fingerprint": fingerprint}
    weighed = made.root.with_name("weighed")
    manifests.write(weighed, info, samples)
    return manifests.load(weighed)


def trainer(manifest, overrides, run, *more, resume=False):
    return Trainer(manifest, presets.build("mini", [*overrides, *more]), run, resume)


def test_the_log_says_the_mixture_and_the_held_out_never_train(make_manifest, tiny_overrides, tmp_path):
    manifest = weighed(make_manifest, tmp_path / "data", {"public-real": 1.0, "text-synthetic": 3.0})
    started = trainer(manifest, tiny_overrides, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    (told,) = [line["sources"] for line in lines if line["event"] == "mixture"]
    plan = started.data.plan
    trained = [int(r) for n in range(20 * plan.batches_per_epoch) for r in plan.batch(n).rows]
    texts = sum(manifest.samples["source"][row] == "text-synthetic" for row in trained)
    assert told["text-synthetic"]["repeats"] == 3 and sum(f["images"] for f in told.values()) < 64
    assert abs(texts / len(trained) - told["text-synthetic"]["share"]) < 0.01
    held = {int(row) for rows in started.data.held_rows.values() for row in rows}
    assert held and not held & set(trained)


def test_a_run_does_not_go_on_with_other_weights(make_manifest, tiny_overrides, tmp_path):
    twice = weighed(make_manifest, tmp_path / "two", {"public-real": 1.0, "text-synthetic": 2.0})
    trainer(twice, tiny_overrides, tmp_path / "run", "max_steps=2").run()
    thrice = weighed(make_manifest, tmp_path / "three", {"public-real": 1.0, "text-synthetic": 3.0})
    with pytest.raises(BadInput, match="was trained on the manifest"):
        trainer(thrice, tiny_overrides, tmp_path / "run", resume=True)


def test_weights_without_sources_are_refused(make_manifest, tiny_overrides, tmp_path):
    manifest = weighed(make_manifest, tmp_path / "data", {"text-synthetic": 2.0}, sources=False)
    with pytest.raises(BadInput, match="does not say the sources to weigh"):
        trainer(manifest, tiny_overrides, tmp_path / "run")
