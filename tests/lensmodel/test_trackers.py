"""Curves of a run, and speeds against what the machine could reach."""

import json
import time

import numpy as np
import pytest
import torch

from catalog.errors import BadInput
from lensmodel import presets, throughput, trackers
from lensmodel.trainer import Trainer


def test_tensorboard_gets_the_numbers_of_the_log(tiny, tiny_overrides, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    overrides = [*tiny_overrides, "trackers=tensorboard", "max_steps=4", "log_every=2", "validate_every=2"]
    Trainer(tiny, presets.build("mini", overrides), tmp_path / "run", False).run()
    curves = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    curves.Reload()
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    for kind, name in (("step", "loss"), ("step", "mfu"), ("validation", "loss")):
        drawn = {point.step: point.value for point in curves.Scalars(f"{kind}/{name}")}
        assert drawn == pytest.approx({e["step"]: e[name] for e in log if e["event"] == kind}, rel=1e-5)
    assert "validation/by_base/512" in curves.Tags()["scalars"]
    steps = [e for e in log if e["event"] == "step"]
    assert all(0 < e["mfu"] < 1.5 and e["tokens_per_second"] > 0 for e in steps)


def test_an_unknown_tracker_is_refused_before_anything_is_made(tiny, tiny_overrides, tmp_path):
    with pytest.raises(BadInput, match="no tracker 'tensorbord'"):
        Trainer(
            tiny, presets.build("mini", [*tiny_overrides, "trackers=tensorbord"]), tmp_path / "run", False
        )
    assert not (tmp_path / "run").exists()


def test_a_tracker_that_fails_is_left_and_the_run_goes_on(tmp_path, capsys, monkeypatch):
    class Broken:
        def __init__(self, out, settings): ...

        def add(self, numbers, step):
            raise ConnectionError("the service is away")

        def close(self): ...

    monkeypatch.setitem(trackers._OPEN, "tensorboard", Broken)
    pytest.importorskip("tensorboard")
    curves = trackers.Trackers("tensorboard", tmp_path, {})
    for step in (1, 2):
        curves.add("step", {"step": step, "loss": 1.0})
    assert capsys.readouterr().err.count("takes no more numbers") == 1


def test_the_peak_of_this_cpu_is_measured():
    assert throughput.peak(torch.device("cpu"), bf16=False) > 1e9
    assert throughput.peak(torch.device("meta"), bf16=False) is None


def test_wandb_keeps_a_run_where_nobody_is_asked(tmp_path, monkeypatch):
    """Offline, as on a machine without an account: the numbers and a picture are in the run's own file."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    curves = trackers.Trackers("wandb", tmp_path, {"lr": 1e-4})
    curves.add("step", {"step": 1, "loss": 0.5})
    curves.picture("sample", np.zeros((4, 4, 3), dtype=np.uint8), 1)
    curves.close()
    (kept,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    deadline = (
        time.monotonic() + 60
    )  # its own process writes it, on a busy machine after `finish` has returned
    while b"step/loss" not in kept.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert b"step/loss" in kept.read_bytes()
