"""A checkpoint resumes as it was saved or is refused by one line that says what to do."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from catalog.errors import BadInput, LensError
from lensmodel import checkpoint, generate, nn, presets
from lensmodel.trainer import Trainer


def trainer(manifest, overrides, run, *more, resume=False):
    return Trainer(manifest, presets.build("mini", [*overrides, *more]), run, resume)


@pytest.fixture(scope="module")
def saved(tiny, tiny_overrides, tmp_path_factory):
    run = tmp_path_factory.mktemp("saved") / "run"
    trainer(tiny, tiny_overrides, run, "max_steps=2").run()
    return run


@pytest.fixture
def run(saved, tmp_path):
    """A copy of a finished run of two steps, for damaging."""
    return shutil.copytree(saved, tmp_path / "run")


def resume(tiny, tiny_overrides, run):
    return trainer(tiny, tiny_overrides, run, "max_steps=3", resume=True)


@pytest.mark.parametrize(
    "damage", ["empty", "partial", "misshapen", "zeroed moments", "zeroed weights", "missing weights"]
)
def test_damaged_files_are_refused(tiny, tiny_overrides, run, damage):
    folder = checkpoint.find(run)
    file = folder / "optimizer.safetensors"
    weights = folder / "model" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    key = next(k for k in sorted(tensors) if k.endswith("exp_avg"))
    if damage == "empty":
        save_file({}, file)
    elif damage == "partial":
        save_file({k: v for k, v in tensors.items() if k != key}, file)
    elif damage == "misshapen":
        save_file({**tensors, key: tensors[key].flatten()[:1].clone()}, file)
    elif damage == "missing weights":
        file = weights
        file.unlink()
    else:
        file = file if "moments" in damage else weights
        data = file.read_bytes()
        file.write_bytes(data[:-64] + bytes(64))
    with pytest.raises(BadInput, match=f"{file.name}.*delete this checkpoint to resume from the one before"):
        resume(tiny, tiny_overrides, run)


def test_moments_must_fit_even_when_they_are_what_was_saved(saved):
    state = checkpoint.read_state(checkpoint.find(saved))
    model = nn.load(checkpoint.find(saved) / "model")
    optimizer = torch.optim.AdamW(model.parameters())
    for numbers in (state["moments"][1:], [*state["moments"], 9999]):
        with pytest.raises(BadInput, match="does not fit the model"):
            checkpoint.load_optimizer(checkpoint.find(saved), optimizer, numbers)


@pytest.mark.parametrize("change", ["manifest", "segments", "files", "moments", "bucket", "segment", "list"])
def test_a_damaged_state_is_one_line(tiny, tiny_overrides, run, change):
    file = checkpoint.find(run) / "state.json"
    state = json.loads(file.read_text())
    if change == "bucket":
        state["main_bucket"] = "7x7"
    elif change == "segment":
        state["segments"] = [{"step": 0}]
    elif change == "list":
        state["manifest"] = []
    else:
        del state[change]
    file.write_text(json.dumps(state))
    with pytest.raises(BadInput, match=r"state\.json .*delete this checkpoint"):
        resume(tiny, tiny_overrides, run)
    with pytest.raises(BadInput, match=r"state\.json"):
        generate.Generator(run, device="cpu")


@pytest.mark.parametrize(
    ("where", "key", "value"),
    [("settings", "num_layers", "two"), ("settings", "mu", 1000), ("encoder", "max_length", "many")],
)
def test_wrong_types_in_a_state_are_one_line(run, where, key, value):
    file = checkpoint.find(run) / "state.json"
    state = json.loads(file.read_text())
    state[where][key] = value
    file.write_text(json.dumps(state))
    with pytest.raises(BadInput, match=rf"state\.json.*{key}"):
        generate.Generator(run, device="cpu")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_layers", "2"),
        ("num_layers", 2.5),
        ("axes_dims_rope", 3),
        ("gate_init", None),
        ("axes_dims_rope", [0, 0, 16]),
    ],
)
def test_wrong_types_in_a_models_config_are_one_line(saved, tmp_path, key, value):
    folder = shutil.copytree(checkpoint.find(saved) / "ema", tmp_path / "ema")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(BadInput, match=key):
        nn.load(folder)


def test_a_finished_run_that_resumes_to_the_same_end_tells_its_numbers(tiny, tiny_overrides, run, capsys):
    before = checkpoint.read_state(checkpoint.find(run))
    summary = trainer(tiny, tiny_overrides, run, "max_steps=1", resume=True).run()
    assert summary["step"] == 2 and summary["held_out_last"] == before["last_validation"] is not None
    assert (
        "nothing to do: the run is at step 2 already and max_steps=1 is not above it"
        in capsys.readouterr().err
    )


def test_broken_weights_are_not_saved_and_push_nothing_out(tiny, tiny_overrides, tmp_path, monkeypatch):
    """From step 4 on the weights are not a number: every later step is skipped and the good checkpoint stays."""
    one = trainer(
        tiny, tiny_overrides, tmp_path, "max_steps=9", "checkpoint_every=1", "keep_checkpoints=1", "holdout=0"
    )
    step = one.train_step

    def broken(batches):
        if one.at.step == 3:
            with torch.no_grad():
                next(iter(one.parallel.model.parameters())).fill_(float("nan"))
        return step(batches)

    monkeypatch.setattr(one, "train_step", broken)
    with pytest.raises(LensError, match=r"step 9 are not finite .*checkpoint-000003") as caught:
        one.run()
    assert caught.value.exit_code == 1
    assert [n for n, _ in checkpoint.numbered(tmp_path)] == [3]


def test_steps_that_are_being_skipped_postpone_a_checkpoint(tiny, tiny_overrides, tmp_path, monkeypatch):
    more = ("max_steps=7", "checkpoint_every=3", "keep_checkpoints=1", "holdout=0")
    one = trainer(tiny, tiny_overrides, tmp_path, *more)
    step, steps = one.train_step, []

    def some(batches):
        value, norm, _, images, tokens = step(batches)
        one.saver.wait()
        steps.append([n for n, _ in checkpoint.numbered(tmp_path)])
        return value, norm, one.at.step in (2, 3, 6), images, tokens  # skipped: steps 3, 4 and the last, 7

    monkeypatch.setattr(one, "train_step", some)
    one.run()
    assert steps == [[], [], [], [], [], [5], [6]]  # due at 3, saved at 5
    assert [n for n, _ in checkpoint.numbered(tmp_path)] == [
        6,
        7,
    ]  # the end of a run in trouble deletes nothing


def test_a_checkpoint_of_before_there_was_muon_resumes(tiny, tiny_overrides, run):
    file = checkpoint.find(run) / "state.json"
    state = json.loads(file.read_text())
    for name in ("optimizer", "muon_times", "length_window", "batches", "sample_prompts"):
        del state["settings"][name]
    file.write_text(json.dumps(state))
    resume(tiny, tiny_overrides, run).run()
    assert checkpoint.read_state(checkpoint.find(run))["step"] == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [(["optimizer=muon"], "optimizer was adamw and is muon"), (["length_window=3"], "length_window was 1 and is 3"),
     (["optimizer=muon", "muon_times=2"], "optimizer was adamw and is muon; muon_times was 1.0 and is 2.0")],
)  # fmt: skip
def test_another_optimiser_or_order_is_refused_in_one_line(tiny, tiny_overrides, run, changes, message):
    with pytest.raises(BadInput, match=f"is of another configuration: {message}$") as refused:
        trainer(tiny, tiny_overrides, run, *changes, resume=True)
    assert "\n" not in str(refused.value)


def test_another_end_of_a_linear_schedule_is_said(tiny, tiny_overrides, run, capsys):
    trainer(tiny, tiny_overrides, run, "max_steps=4", resume=True).run()
    told = capsys.readouterr().err
    assert "max_steps was 2 and is 4: the linear schedule now ends there" in told
    assert "goes on at 5.00e-04 instead of 0.00e+00" in told
    trainer(tiny, tiny_overrides, run, "max_steps=4", resume=True).run()
    assert "linear schedule" not in capsys.readouterr().err


def test_a_save_that_fails_once_is_made_good_and_one_that_keeps_failing_ends_the_run(
    tiny, tiny_overrides, tmp_path, monkeypatch, capsys
):
    more = ("max_steps=8", "checkpoint_every=3", "log_every=1", "holdout=0")
    save, calls = checkpoint.save_checkpoint, []

    def failing(times):
        def one(*args):
            calls.append(args[1])
            if len(calls) in times:
                raise LensError("could not save: no space left on the disk")
            return save(*args)

        return one

    monkeypatch.setattr(checkpoint, "save_checkpoint", failing({1}))
    trainer(tiny, tiny_overrides, tmp_path / "once", *more).run()
    assert "trying once more" in capsys.readouterr().err
    assert calls[0] == 3 and calls[1] in (4, 5, 6) and calls[-1] == 8
    assert [n for n, _ in checkpoint.numbered(tmp_path / "once")] == calls[1:]

    calls.clear()
    monkeypatch.setattr(checkpoint, "save_checkpoint", failing({2, 3}))
    with pytest.raises(LensError, match="no space left"):
        trainer(tiny, tiny_overrides, tmp_path / "twice", *more).run()
    assert [n for n, _ in checkpoint.numbered(tmp_path / "twice")] == [3]
