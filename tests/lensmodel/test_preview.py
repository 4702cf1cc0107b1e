"""Sheets of samples on the way: the same pictures each time, what they are of, and that they change nothing."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from catalog.errors import BadInput
from lensmodel import checkpoint, draw, generate, presets
from lensmodel.trainer import Trainer

SAMPLES = ("sample_every=3", "sample_steps=3", "max_steps=8")


def events(run, kind):
    found = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [event for event in found if event["event"] == kind]


def train(manifest, overrides, run, *more, resume=False):
    one = Trainer(manifest, presets.build("mini", [*overrides, *more]), run, resume)
    return one, one.run()


@pytest.fixture(scope="module")
def drawn(tiny, tiny_overrides, tmp_path_factory):
    """A run of 8 steps that draws. Tests must not change it."""
    run = tmp_path_factory.mktemp("drawn") / "run"
    torch.manual_seed(7)
    one, _ = train(tiny, tiny_overrides, run, *SAMPLES)
    return run, one, torch.get_rng_state()


def test_a_run_that_draws_trains_the_same_weights(drawn, tiny, tiny_overrides, tmp_path):
    run, _, state = drawn
    torch.manual_seed(7)
    train(tiny, tiny_overrides, tmp_path / "run", "max_steps=8")
    assert torch.equal(torch.get_rng_state(), state)
    mine, theirs = checkpoint.find(run), checkpoint.find(tmp_path / "run")
    files = sorted(p.relative_to(mine) for p in mine.rglob("*.safetensors"))
    assert len(files) == 3 and [step for step, _ in checkpoint.numbered(run)][-1] == 8
    for file in files:
        a, b = load_file(mine / file), load_file(theirs / file)
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    assert not (tmp_path / "run" / "samples").exists()


def test_each_sheet_is_logged_and_says_what_it_shows(drawn):
    run, one, _ = drawn
    names = sorted(p.name for p in (run / "samples").iterdir())
    assert names == ["prompts.txt", "step-000003.png", "step-000006.png", "step-000008.png"]
    logged = events(run, "samples")
    assert [(e["step"], e["path"]) for e in logged] == [(n, f"samples/step-{n:06d}.png") for n in (3, 6, 8)]
    sheet = Image.open(run / "samples" / "step-000006.png")
    prompts = (run / "samples" / "prompts.txt").read_text()
    assert sheet.text["prompts"] == prompts and sheet.text["step"] == "6" and sheet.text["steps"] == "3"
    held = {one.data.captions.dense[int(row)] for rows in one.data.held_rows.values() for row in rows}
    assert set(prompts.splitlines()) == held and len(held) == 6
    first, last = (np.asarray(Image.open(run / "samples" / n)) for n in (names[1], names[3]))
    assert first.shape == last.shape and (first != last).any()


def test_the_last_sheet_is_what_sample_draws(drawn):
    run, _, _ = drawn
    prompts = (run / "samples" / "prompts.txt").read_text().splitlines()
    pictures = generate.Generator(run, device="cpu").draw(prompts, generate.Options(steps=3))
    wanted = np.asarray(draw.contact_sheet(pictures, 3)).astype(int)
    found = np.asarray(Image.open(run / "samples" / "step-000008.png")).astype(int)
    # `sample` encodes in float32, training reads features rounded to bfloat16.
    assert found.shape == wanted.shape and abs(found - wanted).max() <= 3


def test_a_resumed_run_draws_the_same_sheets_and_other_prompts_if_asked(tiny, tiny_overrides, tmp_path):
    again = tmp_path / "run"
    train(tiny, tiny_overrides, again, *SAMPLES, "max_steps=4", "schedule=constant")
    train(tiny, tiny_overrides, again, *SAMPLES, "max_steps=6", "schedule=constant", resume=True)
    whole = tmp_path / "whole"
    train(tiny, tiny_overrides, whole, *SAMPLES, "max_steps=6", "schedule=constant")
    for name in ("step-000003.png", "step-000006.png"):
        assert (again / "samples" / name).read_bytes() == (whole / "samples" / name).read_bytes()
    file = tmp_path / "prompts.txt"
    file.write_text("\ufeffa purple dog\n\n  a green square \na purple dog\n")  # as Windows begins a text
    (again / "samples" / "step-000007.png.0a1b.tmp").write_bytes(b"half")  # as a kill leaves it
    more = (*SAMPLES, "max_steps=7", "schedule=constant", f"sample_prompts={file}")
    one, _ = train(tiny, tiny_overrides, again, *more, resume=True)
    assert one.data.prompts == ["a purple dog", "a green square"]
    assert not list((again / "samples").glob("*.tmp"))
    assert (
        Image.open(again / "samples" / "step-000007.png").text["prompts"] == "a purple dog\na green square\n"
    )


@pytest.mark.parametrize("encode", ["ahead", "online"])
def test_without_held_out_images_training_captions_are_drawn(tiny, tiny_overrides, tmp_path, encode):
    more = (
        "holdout=0",
        "holdout_least=0",
        f"encode={encode}",
        "max_steps=2",
        "sample_every=2",
        "sample_steps=1",
    )
    one, _ = train(tiny, tiny_overrides, tmp_path / "run", *more)
    assert not one.data.held_rows and len(one.data.prompts) == 8
    assert (tmp_path / "run" / "samples" / "step-000002.png").exists()


@pytest.mark.parametrize("text", [None, b"\xff\xfe\xff", b"\n \n", b"\n".join(b"%d" % n for n in range(65))])
def test_a_file_without_prompts_is_refused(tiny, tiny_overrides, tmp_path, text):
    file = tmp_path / "prompts.txt"
    if text is not None:
        file.write_bytes(text)
    with pytest.raises(BadInput, match=r"sample_prompts=.*prompts\.txt (cannot be read|has (0|65) prompts)"):
        train(tiny, tiny_overrides, tmp_path / "run", *SAMPLES, f"sample_prompts={file}")
    assert not (tmp_path / "run").exists()


def test_what_fails_is_recorded_and_the_run_goes_on(tiny, tiny_overrides, tmp_path, monkeypatch):
    one = Trainer(tiny, presets.build("mini", [*tiny_overrides, *SAMPLES]), tmp_path, False)
    pictures, calls = draw.pictures, []

    def failing(latents, x0, grid):
        calls.append(one.at.step)
        if calls[-1] == 3:
            raise torch.OutOfMemoryError("no memory left\nat all")
        return pictures(latents, torch.full_like(x0, float("nan")) if calls[-1] == 6 else x0, grid)

    monkeypatch.setattr(draw, "pictures", failing)
    saved = one.saver.start
    monkeypatch.setattr(one.saver, "start", lambda work: (tmp_path / "samples").touch() or saved(work))
    assert one.run()["step"] == 8
    reasons = {e["step"]: e["failed"] for e in events(tmp_path, "samples")}
    assert reasons[3] == "no memory left at all" and "not finite" in reasons[6] and "exists" in reasons[8]
    assert checkpoint.read_state(checkpoint.find(tmp_path))["step"] == 8


def test_trackers_show_the_sheets(tiny, tiny_overrides, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    train(tiny, tiny_overrides, run, *SAMPLES, "trackers=tensorboard", "max_steps=3")
    shown = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0})
    shown.Reload()
    (image,) = shown.Images("samples")
    sheet = Image.open(run / "samples" / "step-000003.png")
    assert (image.step, image.width, image.height) == (3, *sheet.size)
