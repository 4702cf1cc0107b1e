"""Two processes train what one process trains, and a run may change its world size on the way."""

import json
import os
import shutil
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
def test_shards_go_on_with_muon_as_one_process_does(tiny, tiny_overrides, tmp_path):
    """From the same checkpoint of one process; loosely, for Newton-Schulz runs in bfloat16. And back to one process."""
    shared = [*tiny_overrides, "schedule=constant", f"features={tmp_path / 'features'}", "optimizer=muon",
              "muon_times=50", "weight_decay=0.1", "lr=0.001"]  # fmt: skip
    single, many = tmp_path / "one", tmp_path / "many"

    def alone(out, *more):
        return Trainer(tiny, presets.build("mini", [*shared, *more]), out, True)

    def moments(where):
        return load_file(checkpoint.find(where) / "optimizer.safetensors")

    alone(single, "accumulate=2", "max_steps=3").run()
    file = checkpoint.find(shutil.copytree(single, many)) / "state.json"
    state = json.loads(file.read_text())
    state["settings"]["accumulate"] = 1  # of two ranks: the same two batches a step
    file.write_text(json.dumps(state))

    alone(single, "accumulate=2", "max_steps=5").run()
    done = run(many, tiny, 2, *shared, "sharding=full", "max_steps=5", "--resume")
    assert done.returncode == 0, done.stderr
    saved = moments(many)
    assert any(key.endswith("momentum_buffer") for key in saved)
    # What five steps change of a matrix is a quarter of it and more.
    for mine, theirs in ((weights(single), weights(many)), (moments(single), saved)):
        assert mine.keys() == theirs.keys()
        for name, tensor in mine.items():
            assert (theirs[name] - tensor).norm() <= 0.05 * tensor.norm() + 1e-5, name

    trainer = alone(many, "max_steps=6")
    loaded = trainer.parallel.moments(trainer.optimizer)
    assert loaded.keys() == saved.keys()
    assert all(torch.equal(value, saved[key]) for key, value in loaded.items())
    trainer.run()


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
import os, pathlib, signal, sys, time
from lensmodel import distributed
ranks = distributed.start("cpu")
if sys.argv[1] == "gone":  # not before the other is in, too: what it would say then is another test's
    here = pathlib.Path(sys.argv[2])
    (here / str(ranks.rank)).touch()
    while len(list(here.iterdir())) < 2:
        time.sleep(0.01)
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
def test_the_outcome_reaches_all_or_its_absence_does(how, told, tmp_path):
    """A second Ctrl-C while rank 0 tells the others; rank 0 killed before it could."""
    both = started(OUTCOME, how, tmp_path)
    assert sorted(line.strip() for one in both for line in one.communicate()[0].splitlines()) == told


EARLY = """
import os, time
from catalog.errors import LensError
from lensmodel import distributed
real = distributed.dist.new_group
def late(*args, **kwargs):
    if os.environ["RANK"] == "0":
        os._exit(9)
    time.sleep(0.5)
    return real(*args, **kwargs)
distributed.dist.new_group = late
try:
    distributed.start("cpu")
except LensError as error:
    print(error, flush=True)
"""


def test_a_rank_that_comes_late_to_an_end_says_so():
    lines = [line for one in started(EARLY) for line in one.communicate()[0].splitlines()]
    assert len(lines) == 1 and lines[0].startswith("rank 1 of 2 could not join the others (")


def started(script, *args):
    """Two processes that can find each other."""
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
    return [
        subprocess.Popen([sys.executable, "-c", script, *map(str, args)], cwd=ROOT, env={**env, "RANK": str(rank)},
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for rank in range(2)
    ]  # fmt: skip
