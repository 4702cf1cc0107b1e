"""Which images a step trained on, against what the loader really gave."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from catalog.errors import BadInput
from lensmodel import lineage, presets
from lensmodel.cli_plan import lineage as command
from lensmodel.trainer import Trainer


@pytest.fixture(scope="module")
def finished(make_manifest, tiny_overrides, tmp_path_factory):
    """(run, manifest, the image ids of each step as trained) of a run in which one image cannot be read."""
    root = tmp_path_factory.mktemp("lineage")
    manifest = make_manifest(root / "data")
    Path(manifest.samples["uri"][3]).write_bytes(b"no picture")
    overrides = [*tiny_overrides, "accumulate=2", "max_steps=14"]
    trainer = Trainer(manifest, presets.build("mini", overrides), root / "run", False)
    step, seen = trainer.train_step, []

    def noted(batches):
        seen.append([trainer.data.pictures.image_ids[row] for batch in batches for row in batch.rows])
        return step(batches)

    trainer.train_step = noted
    trainer.run()
    assert 3 in trainer.data.bad.reasons
    return root / "run", manifest, seen


def test_every_step_is_known_with_the_images_that_stood_in(finished):
    run, _, seen = finished
    for number, ids in enumerate(seen, start=1):
        found = lineage.images_of(run, number)
        assert [image.image_id for image in found] == ids
        assert all(image.instead_of in (None, 3) for image in found)
    everything = [image for n in range(1, len(seen) + 1) for image in lineage.images_of(run, n)]
    assert any(image.instead_of == 3 for image in everything)


def test_lengths_balanced_sizes_and_brief_captions_are_those_of_the_run(
    make_manifest, tiny_overrides, tmp_path
):
    """The settings of the command are not what decides: sizes found at the start are in the checkpoint."""
    manifest = make_manifest(tmp_path / "data")
    words = ["batches=balanced", "length_window=4", "brief_fraction=0.5", "max_steps=9", "accumulate=2"]
    settings = presets.build("mini", [*tiny_overrides, *words])
    trainer = Trainer(manifest, settings, tmp_path / "run", False)
    trainer.data.rebatch(replace(trainer.settings, batch_512=3, batch_768=2))
    trainer.settings, seen, step = trainer.data.settings, [], trainer.train_step

    def noted(batches):
        seen.append([trainer.data.pictures.image_ids[row] for batch in batches for row in batch.rows])
        return step(batches)

    trainer.train_step = noted
    trainer.run()
    found = [[image.image_id for image in lineage.images_of(tmp_path / "run", n)] for n in range(1, 10)]
    assert found == seen


def test_the_command(finished):
    run, manifest, seen = finished
    told = CliRunner().invoke(command, [str(run), "2", "--json"], catch_exceptions=False)
    assert [image["image_id"] for image in json.loads(told.stdout)] == seen[1]
    plain = CliRunner().invoke(
        command, [str(run), "2", "--shards", str(manifest.root)], catch_exceptions=False
    )
    assert [int(line.split()[0]) for line in plain.stdout.splitlines()] == seen[1]


def test_what_cannot_be_answered(finished, make_manifest, tmp_path):
    run, _, _ = finished
    with pytest.raises(BadInput, match="has trained steps 1 to 14, not 15"):
        lineage.images_of(run, 15)
    other = make_manifest(tmp_path / "other", sizes=(("512x512", 20),), name="other")
    with pytest.raises(BadInput, match="holds the manifest other"):
        lineage.images_of(run, 1, other.root)
    with pytest.raises(BadInput, match="say where it is with --shards"):
        lineage.images_of(run, 1, tmp_path / "gone")
