"""Time-balanced batches: found once, kept for good, never by chance."""

import dataclasses
import json

import pytest
import torch

from catalog.errors import BadInput
from lensmodel import checkpoint, lineage, measure, presets
from lensmodel.trainer import Trainer

BASES = ("batches=balanced", "batch_512=6", "batch_768=6")


@pytest.fixture
def seconds(monkeypatch):
    """Seconds of one sample of each base, as a device might show them; a batch takes as many times as long."""
    each = {512: 1.0, 768: 2.0, 1024: 4.0}

    def timed(settings, channels, sizes, text, device):
        return {base: size * each[base] for base, (size, _) in sizes.items()}

    monkeypatch.setattr(measure, "seconds_a_batch", timed)
    return each


def events(run, kind):
    found = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [event for event in found if event["event"] == kind]


def train(manifest, overrides, run, *more, resume=False):
    one = Trainer(manifest, presets.build("mini", [*overrides, *BASES, *more]), run, resume)
    one.run()
    return one


def test_a_run_takes_balanced_batches_and_keeps_them(tiny, tiny_overrides, tmp_path, seconds, capsys):
    run = tmp_path / "run"
    one = train(tiny, tiny_overrides, run, "max_steps=2")
    (said,) = events(run, "batches")
    assert said["given"] == {"512": 6, "768": 6} and said["sizes"] == {"512": 9, "768": 4}
    assert said["lost"] < said["lost_given"] and "instead of 6/6" in capsys.readouterr().err
    assert {name: one.data.plan.batch_size[name] for name in ("512x512", "768x768")} == {
        "512x512": 9,
        "768x768": 4,
    }
    state = checkpoint.read_state(checkpoint.find(run))
    assert state["settings"]["batch_512"] == 9 and state["given_batches"]["512"] == 6

    seconds[768] = 1.0  # another machine: what was found at the start holds
    again = train(tiny, tiny_overrides, run, "max_steps=4", resume=True)
    assert again.settings.batch_sizes() == one.settings.batch_sizes() and len(events(run, "batches")) == 1
    assert checkpoint.read_state(checkpoint.find(run))["given_batches"] == state["given_batches"]
    assert len(lineage.images_of(run, 3)) in (4, 9)

    with pytest.raises(BadInput, match=r"configuration: batch_768 was 4 and is 5$"):
        train(tiny, tiny_overrides, run, "max_steps=5", "batch_768=5", resume=True)
    with pytest.raises(BadInput, match="batches was balanced and is paper"):
        train(tiny, tiny_overrides, run, "max_steps=5", "batches=paper", resume=True)


def test_sizes_that_are_no_better_when_timed_are_not_taken(tiny, tiny_overrides, tmp_path, monkeypatch):
    """A device on which every batch takes the same, whatever its size: what looked better is not."""
    monkeypatch.setattr(
        measure, "seconds_a_batch", lambda s, c, sizes, t, d: {b: 1.0 + b / 1e4 for b in sizes}
    )
    one = train(tiny, tiny_overrides, tmp_path / "run", "max_steps=1")
    assert one.settings.batch_sizes()[512] == 6
    (said,) = events(tmp_path / "run", "batches")
    assert said["sizes"] == said["given"]


def test_timing_leaves_no_trace(tiny, tiny_overrides, tmp_path):
    """The weights are those of a run that was given the same sizes, whatever was timed; also really timed here."""
    settings = presets.build("mini", [*tiny_overrides, *BASES])
    state = torch.get_rng_state()
    one = Trainer(tiny, settings, tmp_path / "timed", False)
    given = dataclasses.replace(settings, batches="paper", **{
        f"batch_{base}": size for base, size in one.settings.batch_sizes().items()
    })  # fmt: skip
    torch.set_rng_state(state)
    other = Trainer(tiny, given, tmp_path / "given", False)
    assert other.data.plan.batch_size == one.data.plan.batch_size
    mine, theirs = one.parallel.model.state_dict(), other.parallel.model.state_dict()
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


def test_no_bucket_starves_that_trained_with_the_sizes_given(
    make_manifest, tiny_overrides, tmp_path, seconds
):
    """Three large bases want 13 pictures of 512 a batch; one bucket has 9 that train, and one never trained."""
    manifest = make_manifest(
        tmp_path / "data", sizes=(("512x512", 20), ("608x448", 9), ("384x672", 2), ("768x768", 16))
    )
    more = ["batches=balanced", "batch_512=5", "batch_768=8", "batch_1024=8", "holdout=0", "holdout_least=0"]
    settings = presets.build("mini", [*tiny_overrides, *more, "max_steps=1"])
    one = Trainer(manifest, settings, tmp_path / "run", False)
    assert one.data.samples_of_bases() == {512: [20, 9], 768: [16]}
    assert one.settings.batch_512 == 9 and set(one.data.plan.starved) == {"384x672"}
    one.run()
