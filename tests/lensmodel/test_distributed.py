"""Two processes train what one process trains, and a run may change its world size on the way."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lensmodel import checkpoint, presets
from lensmodel.data.plan import Segment, samples_of
from lensmodel.trainer import Trainer

ROOT = Path(__file__).parents[2]


def run(
    out, tiny, processes, *overrides, launcher=("torch.distributed.run", "--standalone", "--nproc-per-node")
):
    command = [sys.executable, "-m", *launcher, str(processes), "-m", "lensmodel", "train"]
    command += ["--shards", str(tiny.root), "--out", str(out), "--json", *overrides]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


def weights(run, folder="model"):
    return load_file(checkpoint.find(run) / folder / "diffusion_pytorch_model.safetensors")


def same(a, b):
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        torch.testing.assert_close(b[name], tensor, rtol=1e-4, atol=2e-5, msg=name)


def test_two_processes_train_as_one(tiny, tiny_overrides, tmp_path):
    shared = [*tiny_overrides, "schedule=constant", f"features={tmp_path / 'features'}"]
    one = presets.build("mini", [*shared, "accumulate=2"])
    Trainer(tiny, one, tmp_path / "one", False).run()

    done = run(tmp_path / "two", tiny, 2, *shared)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("done: step 8") == 1  # one rank speaks
    assert json.loads(done.stdout)["step"] == 8  # here, too

    again = run(tmp_path / "two", tiny, 2, *shared)
    assert again.returncode != 0 and again.stderr.count("holds a run already") == 1
    assert "gloo" not in again.stderr.lower() and "Connection" not in again.stderr
    same(weights(tmp_path / "one"), weights(tmp_path / "two"))

    alone = Trainer(tiny, presets.build("mini", [*shared, "max_steps=11"]), tmp_path / "two", True)
    alone.run()
    state = checkpoint.read_state(checkpoint.find(tmp_path / "two"))
    history = [Segment(**segment) for segment in state["segments"]]
    assert history == [Segment(0, 0, 2), Segment(8, 16, 1)] and state["position"] == 19
    seen = [row for step in range(11) for row in samples_of(alone.data.plan, history, step).tolist()]
    assert seen == [row for n in range(19) for row in alone.data.plan.batch(n).rows.tolist()]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("sharding", ["none", "full"])
def test_copies_and_shards_train_as_one_process(tiny, tiny_overrides, tmp_path, processes, sharding):
    """DDP and FSDP2 over gloo: losses, weights, average and moments, also after a resume and with checkpointing."""
    shared = [
        *tiny_overrides,
        "schedule=constant",
        f"features={tmp_path / 'features'}",
        "ema=0.9",
        "log_every=1",
        "precision=fp32",
        "sample_every=4",
        "sample_steps=2",
    ]
    for steps, more in ((5, []), (8, ["--resume"])):
        plain = presets.build("mini", [*shared, f"accumulate={processes}", f"max_steps={steps}"])
        Trainer(tiny, plain, tmp_path / "one", bool(more)).run()
        options = [f"sharding={sharding}", "gradient_checkpointing=true", f"max_steps={steps}", *more]
        done = run(tmp_path / "many", tiny, processes, *shared, *options)
        assert done.returncode == 0, done.stderr
    for folder in ("model", "ema"):
        same(weights(tmp_path / "one", folder), weights(tmp_path / "many", folder))
    moments = [
        load_file(checkpoint.find(tmp_path / name) / "optimizer.safetensors") for name in ("one", "many")
    ]
    same(*moments)
    sheets = [sorted((tmp_path / name / "samples").glob("*.png")) for name in ("one", "many")]
    assert [p.name for p in sheets[0]] == [p.name for p in sheets[1]] and len(sheets[0]) == 3  # 4, 5 and 8
    for mine, theirs in zip(*sheets, strict=True):
        a, b = (np.asarray(Image.open(path)).astype(int) for path in (mine, theirs))
        assert a.shape == b.shape and abs(a - b).max() <= 2
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("one", "many")]
    losses = [
        [e["loss"] for e in map(json.loads, log) if e["event"] in ("step", "validation")] for log in logs
    ]
    assert len(losses[0]) >= 8 and losses[1] == pytest.approx(losses[0], rel=1e-4)


@pytest.mark.slow
def test_accelerate_launches_it_too(tiny, tiny_overrides, tmp_path):
    launcher = ("accelerate.commands.launch", "--multi_gpu", "--num_machines", "1", "--mixed_precision", "no",
                "--dynamo_backend", "no", "--num_processes")  # fmt: skip
    done = run(tmp_path / "run", tiny, 2, *tiny_overrides, "sharding=full", launcher=launcher)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["step"] == 8


@pytest.mark.slow
def test_balanced_batches_are_the_first_ranks_and_stay(tiny, tiny_overrides, tmp_path):
    for steps, more in ((2, []), (4, ["--resume"])):
        options = ["batches=balanced", "batch_512=6", "batch_768=6", f"max_steps={steps}", *more]
        done = run(tmp_path / "run", tiny, 2, *tiny_overrides, "sharding=full", *options)
        assert done.returncode == 0, done.stderr
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    (found,) = [event for event in log if event["event"] == "batches"]
    settings = checkpoint.read_state(checkpoint.find(tmp_path / "run"))["settings"]
    assert {base: settings[f"batch_{base}"] for base in found["sizes"]} == found["sizes"]


OUTCOME = """
import os, signal, sys, threading, time
from lensmodel import distributed
ranks = distributed.start("cpu")
if ranks.main and sys.argv[1] == "early":
    real = distributed.dist.broadcast_object_list
    def interrupted(*args):
        signal.raise_signal(signal.SIGINT)
        return real(*args)
    distributed.dist.broadcast_object_list = interrupted
try:
    with ranks.main_first():
        if ranks.main and sys.argv[1] == "gone":
            os._exit(9)
        print("in", ranks.rank, flush=True)
except BaseException as error:
    print(type(error).__name__, ranks.rank, error, flush=True)
"""


@pytest.mark.parametrize(
    ("how", "told"),
    [("early", ["KeyboardInterrupt 0", "in 0", "in 1"]),
     ("gone", ["LensError 1 rank 1 lost rank 0, which has ended"])],
)  # fmt: skip
def test_the_outcome_reaches_all_or_its_absence_does(how, told):
    """A second Ctrl-C while rank 0 tells the others; rank 0 killed before it could."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {
        **os.environ,
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": "1",
    }
    both = [
        subprocess.Popen([sys.executable, "-c", OUTCOME, how], cwd=ROOT, env={**env, "RANK": str(rank)},
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for rank in range(2)
    ]  # fmt: skip
    assert sorted(line.strip() for one in both for line in one.communicate()[0].splitlines()) == told
