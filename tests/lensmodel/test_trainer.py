"""A run from data to a picture: the held-out loss falls, what is refused, what is skipped, what is kept."""

import json
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from catalog.errors import BadInput, LensError
from lensmodel import checkpoint, generate, nn, presets
from lensmodel.trainer import Trainer


def events(run, kind):
    found = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [event for event in found if event["event"] == kind]


def train(manifest, overrides, run, *more, resume=False):
    return Trainer(manifest, presets.build("mini", [*overrides, *more]), run, resume).run()


@pytest.fixture(scope="module")
def finished(tiny, tiny_overrides, tmp_path_factory):
    """A run of 60 steps and its summary. Tests must not change it."""
    run = tmp_path_factory.mktemp("runs") / "run"
    more = (
        "max_steps=60",
        "validate_every=30",
        "checkpoint_every=20",
        "keep_checkpoints=2",
        "lr=3e-3",
        "ema=0.9",
    )
    return run, train(tiny, tiny_overrides, run, *more)


def test_the_held_out_loss_falls_and_the_log_shows_it(finished):
    run, summary = finished
    validations = events(run, "validation")
    assert [v["step"] for v in validations] == [0, 30, 60]
    assert validations[-1]["loss"] < 0.6 * validations[0]["loss"]
    assert summary["held_out_first"] == validations[0]["loss"]
    assert summary["held_out_last"] == validations[-1]["loss"]
    assert set(validations[0]["by_base"]) <= {"512", "768"}
    steps = events(run, "step")
    assert steps[-1]["step"] == 60
    assert all(
        key in steps[0] for key in ("loss", "grad_norm", "images_per_second", "data_wait", "eta_seconds")
    )


def test_computing_time_adds_up_over_resumes(tiny, tiny_overrides, tmp_path):
    """Also after a checkpoint of before it was counted."""
    run = tmp_path / "run"
    before = time.process_time()
    train(tiny, tiny_overrides, run, "max_steps=4", "log_every=1")
    train(tiny, tiny_overrides, run, "max_steps=6", "log_every=1", resume=True)
    spent = [step["cpu_seconds"] for step in events(run, "step")]
    assert (
        len(spent) == 6 and spent == sorted(spent) and 0 < spent[0] < spent[-1] < time.process_time() - before
    )
    file = checkpoint.find(run) / "state.json"
    state = json.loads(file.read_text())
    assert state["cpu_seconds"] == pytest.approx(spent[-1], abs=1e-3)
    del state["cpu_seconds"], state["given_batches"]
    file.write_text(json.dumps(state))
    summary = train(tiny, tiny_overrides, run, "max_steps=7", resume=True)
    assert summary["step"] == 7 and summary["cpu_seconds"] > 0


def test_what_is_dropped_is_said(finished):
    run, _ = finished
    (data,) = events(run, "data")
    assert data["images"] == data["samples_per_epoch"] + data["dropped_per_epoch"] + data["held_out"]
    (warning,) = events(run, "warning")
    assert "384x672" in warning["starved"]


def test_held_out_images_never_train(tiny, tiny_overrides, tmp_path):
    trainer = Trainer(tiny, presets.build("mini", tiny_overrides), tmp_path / "run", False)
    held = {int(row) for rows in trainer.data.held_rows.values() for row in rows}
    trained = {
        int(r)
        for n in range(3 * trainer.data.plan.batches_per_epoch)
        for r in trainer.data.plan.batch(n).rows
    }
    assert held and not held & trained


def test_checkpoints_rotate_and_load_alone(finished):
    run, summary = finished
    assert [step for step, _ in checkpoint.numbered(run)] == [40, 60]
    assert not list(run.glob(".saving-*"))
    last = checkpoint.find(run)
    assert str(last) == summary["checkpoint"]
    state = checkpoint.read_state(last)
    assert state["encoder"]["prefix"] == "<|im_start|>user\n" and len(state["encoder"]["weights"]) == 64
    raw, ema = nn.load(last / "model"), nn.load(last / "ema")
    assert any(not torch.equal(a, b) for a, b in zip(raw.parameters(), ema.parameters(), strict=True))


def test_a_checkpoint_draws(finished, tmp_path):
    run, _ = finished
    generator = generate.Generator(run, device="cpu")
    options = generate.Options(steps=4, count=2, seed=3)
    prompts = ["a red square", "a blue square"]
    pictures = generator.draw(prompts, options)
    assert [p.shape for p in pictures] == [(32, 32, 3)] * 4
    alone = generator.draw(prompts[1:], options)
    assert abs(pictures[2].astype(int) - alone[0]).max() <= 1  # a picture does not depend on its neighbours
    assert (pictures[0] != pictures[1]).any()
    paths = generate.write(prompts, pictures, 2, generator.about(options), tmp_path)
    assert len(paths) == 5 and paths[-1].name == "grid.png" and all(p.stat().st_size for p in paths)
    wide = generator.draw(["a red square"], generate.Options(768, 512, steps=2, guidance=1.0))
    assert wide[0].shape == (32, 48, 3)


def test_an_existing_run_is_refused_without_resume(finished, tiny, tiny_overrides):
    run, _ = finished
    with pytest.raises(BadInput, match="holds a run already"):
        train(tiny, tiny_overrides, run)


def test_resume_with_other_settings_or_data_is_refused_by_name(
    finished, tiny, tiny_overrides, make_manifest, tmp_path
):
    run, _ = finished
    with pytest.raises(BadInput, match=r"lr was 0.003 and is 0.001"):
        train(tiny, tiny_overrides, run, "ema=0.9", resume=True)
    other = make_manifest(tmp_path / "other", (("512x512", 20),), "other")
    with pytest.raises(BadInput, match=r"trained on the manifest tiny .* not on other"):
        train(other, tiny_overrides, run, "lr=3e-3", "ema=0.9", resume=True)


def test_resume_with_another_encoder_is_refused(tiny, tiny_overrides, tiny_llama, tmp_path):
    import shutil

    run, other = tmp_path / "run", tmp_path / "llama"
    train(tiny, tiny_overrides, run, "max_steps=2")
    shutil.copytree(tiny_llama, other)
    weights = load_file(other / "model.safetensors")
    save_file({k: v + 0.01 for k, v in weights.items()}, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInput, match="another encoder"):
        train(tiny, tiny_overrides, run, f"encoder={other}", f"features={tmp_path / 'f'}", resume=True)


def test_held_out_pictures_that_cannot_be_read_do_not_stop_the_run(make_manifest, tiny_overrides, tmp_path):
    manifest = make_manifest(tmp_path / "data")
    probe = Trainer(manifest, presets.build("mini", tiny_overrides), tmp_path / "probe", False)
    bucket, rows = next(iter(probe.data.held_rows.items()))
    for row in rows:
        Path(manifest.samples["uri"][int(row)]).unlink()
    summary = train(manifest, tiny_overrides, tmp_path / "run")
    assert summary["step"] == 8 and summary["bad_samples"] == len(rows)
    assert bucket not in events(tmp_path / "run", "validation")[0]["by_bucket"]


def test_a_finished_run_resumes_to_more_steps_or_says_it_is_done(finished, tiny, tiny_overrides, tmp_path):
    run = tmp_path / "run"
    train(tiny, tiny_overrides, run, "max_steps=4")
    assert train(tiny, tiny_overrides, run, "max_steps=4", resume=True)["step"] == 4
    assert train(tiny, tiny_overrides, run, "max_steps=6", resume=True)["step"] == 6


def test_resume_without_a_run_starts_anew(tiny, tiny_overrides, tmp_path):
    assert train(tiny, tiny_overrides, tmp_path / "run", "max_steps=2", resume=True)["step"] == 2


def test_steps_that_are_not_finite_are_skipped_and_touch_nothing(tiny, tiny_overrides, tmp_path):
    features = tmp_path / "features"
    train(tiny, tiny_overrides, tmp_path / "first", "max_steps=1", f"features={features}")
    (part,) = features.glob("part-*")
    tensors = load_file(part)
    tensors["features"][: len(tensors["features"]) // 4] = float("nan")
    save_file(tensors, part)
    run = tmp_path / "run"
    summary = train(tiny, tiny_overrides, run, "max_steps=30", "holdout=0", f"features={features}")
    assert 0 < summary["skipped"] < 30
    model = nn.load(checkpoint.find(run) / "model")
    assert all(p.isfinite().all() for p in model.parameters())

    tensors["features"][:] = float("nan")
    save_file(tensors, part)
    with pytest.raises(LensError, match="steps in a row"):
        train(
            tiny,
            tiny_overrides,
            tmp_path / "hopeless",
            "max_steps=99",
            "holdout=0",
            f"features={features}",
            "caption_dropout=0",
        )


@pytest.mark.parametrize("averaging", ["token", "image"])
def test_accumulated_batches_give_the_mean_over_tokens_or_over_images(
    tiny, tiny_overrides, tmp_path, averaging
):
    """Two batches of different buckets in one step."""
    from lensmodel.data.loader import Loader

    overrides = [*tiny_overrides, "accumulate=2", "clip=1e9", f"averaging={averaging}"]
    trainer = Trainer(tiny, presets.build("mini", overrides), tmp_path / "run", False)
    with Loader(trainer.data.plan, trainer.data.pictures, trainer.data.captions) as loader:
        batches = [next(iter(loader))]
        batches.append(next(b for b in loader if b.bucket != batches[0].bucket))
    total, weights = 0.0, 0
    for batch in batches:
        x0, grid = trainer.data.latents.encode(torch.from_numpy(batch.pixels))
        text = trainer.data.texts(batch.captions)
        losses = trainer.method.loss(trainer.parallel.model, x0, text, grid, batch.number)
        weight = x0.shape[1] if averaging == "token" else 1
        total, weights = total + losses.sum().item() * weight, weights + len(losses) * weight
    trainer.data.plan.batch = lambda number: batches_as_planned(trainer, batches)[number]
    loss, _, skipped, images, _ = trainer.train_step(batches)
    assert not skipped and images == sum(len(b.rows) for b in batches)
    assert loss == pytest.approx(total / weights, rel=1e-5)


def batches_as_planned(trainer, batches):
    from lensmodel.data.plan import Batch

    return [Batch(n, 0, b.bucket, torch.tensor(b.rows).numpy()) for n, b in enumerate(batches)]


@pytest.mark.slow
def test_compiled_blocks_train_the_same_weights(tiny, tiny_overrides, tmp_path):
    found = []
    for compiled in ("false", "true"):
        run = tmp_path / compiled
        train(tiny, tiny_overrides, run, f"compile={compiled}", "max_steps=3", "sharding=none")
        found.append(load_file(checkpoint.find(run) / "model" / "diffusion_pytorch_model.safetensors"))
    assert found[0].keys() == found[1].keys()
    for name, tensor in found[0].items():
        torch.testing.assert_close(found[1][name], tensor, rtol=1e-3, atol=1e-4, msg=name)
