"""kill -9 at any moment, then --resume: the weights of an undisturbed run, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lensmodel import checkpoint, presets
from lensmodel.trainer import Trainer

ROOT = Path(__file__).parents[2]
STEPS = 40
MORE = (f"max_steps={STEPS}", "checkpoint_every=4", "log_every=1", "keep_checkpoints=99", "cache_mb=0")


def start(manifest, run, overrides):
    """`lensmodel train --resume` in a process of its own, with as many threads as this one."""
    args = [
        "train",
        "--shards",
        str(manifest.root),
        "--preset",
        "mini",
        "--out",
        str(run),
        "--resume",
        *overrides,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-m", "lensmodel", *args]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def weights(run):
    last = checkpoint.find(run)
    assert checkpoint.read_state(last)["step"] == STEPS
    files = sorted(p.relative_to(last) for p in last.rglob("*.safetensors"))
    assert len(files) == 3  # model, ema, optimizer
    return {(str(f), name): tensor for f in files for name, tensor in load_file(last / f).items()}


def wait_for_step(process, run, step):
    """Return when the log names `step`, or the process has ended."""
    log = run / "log.jsonl"
    while process.poll() is None:
        lines = log.read_text().splitlines() if log.exists() else []
        if max((json.loads(x).get("step", 0) for x in lines if x.endswith("}")), default=0) >= step:
            return
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("kill_at", "more"),
    [((9,), ()), pytest.param((2, 14, 30), (), marks=pytest.mark.slow),
     pytest.param((9,), ("optimizer=muon", "muon_times=5", "length_window=4"), marks=pytest.mark.slow)],
    ids=["once", "three times", "muon"],
)  # fmt: skip
def test_killed_and_resumed_equals_undisturbed(tiny, tiny_overrides, tmp_path, kill_at, more):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    settings = presets.build("mini", [*tiny_overrides, *MORE, *more])
    Trainer(tiny, settings, undisturbed, False).run()
    for step in kill_at:
        process = start(tiny, killed, [*tiny_overrides, *MORE, *more])
        wait_for_step(process, killed, step)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    (killed / ".saving-checkpoint-000999").mkdir(exist_ok=True)  # what a kill in the middle of saving leaves
    Trainer(tiny, settings, killed, True).run()
    assert not list(killed.glob(".saving-*"))
    mine, theirs = weights(killed), weights(undisturbed)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_sigterm_saves_and_resumes(tiny, tiny_overrides, tmp_path):
    run = tmp_path / "run"
    more = ["validate_every=1", "max_steps=100000", "checkpoint_every=100000", "log_every=1"]
    process = start(tiny, run, [*tiny_overrides, *more])
    wait_for_step(process, run, 3)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate()
    assert process.returncode == 130 and stderr.endswith("lensmodel: interrupted; go on with --resume\n")
    assert checkpoint.read_state(checkpoint.find(run))["step"] >= 3
