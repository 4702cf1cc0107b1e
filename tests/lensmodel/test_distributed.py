"""Two processes train what one process trains, and a run may change its world size on the way."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from lensmodel import checkpoint, presets
from lensmodel.data.plan import Segment, samples_of
from lensmodel.trainer import Trainer

ROOT = Path(__file__).parents[2]


def test_two_processes_train_as_one(tiny, tiny_overrides, tmp_path):
    shared = [*tiny_overrides, "schedule=constant", f"features={tmp_path / 'features'}"]
    one = presets.build("mini", [*shared, "accumulate=2"])
    Trainer(tiny, one, tmp_path / "one", False).run()

    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [
        "-m",
        "lensmodel",
        "train",
        "--shards",
        str(tiny.root),
        "--out",
        str(tmp_path / "two"),
        "--json",
        *shared,
    ]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("done: step 8") == 1  # one rank speaks
    assert json.loads(done.stdout)["step"] == 8  # here, too

    again = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert again.returncode != 0 and again.stderr.count("holds a run already") == 1
    assert "gloo" not in again.stderr.lower() and "Connection" not in again.stderr
    a = load_file(checkpoint.find(tmp_path / "one") / "model" / "diffusion_pytorch_model.safetensors")
    b = load_file(checkpoint.find(tmp_path / "two") / "model" / "diffusion_pytorch_model.safetensors")
    for name, tensor in a.items():
        torch.testing.assert_close(b[name], tensor, rtol=1e-4, atol=2e-5, msg=name)

    alone = Trainer(tiny, presets.build("mini", [*shared, "max_steps=11"]), tmp_path / "two", True)
    alone.run()
    state = checkpoint.read_state(checkpoint.find(tmp_path / "two"))
    history = [Segment(**segment) for segment in state["segments"]]
    assert history == [Segment(0, 0, 2), Segment(8, 16, 1)] and state["position"] == 19
    seen = [row for step in range(11) for row in samples_of(alone.data.plan, history, step).tolist()]
    assert seen == [row for n in range(19) for row in alone.data.plan.batch(n).rows.tolist()]
