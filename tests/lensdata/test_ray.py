"""The same stages on Ray: a cluster in this process, and one that `ray start` began and commands join."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import catalog
from catalog.errors import BadInput, LensError
from lensdata import engine
from lensdata.bucket import bucket
from lensdata.caption import FromSource, caption
from lensdata.dedup import dedup
from lensdata.engine import connect
from lensdata.ingest import STAGE, ingest
from lensdata.score import score
from lensdata.shards import build
from tests.conftest import ROOT
from tests.helpers import fill
from tests.lensdata.test_engine import alive, square
from tests.lensdata.test_faults import digests, same, tables

# in one process of the test run: `ray start` takes fixed ports, and `ray stop` ends every cluster of the machine
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]
CHEAP = ("--only", "clarity", "--only", "entropy", "--only", "luminance")


@pytest.fixture(scope="module")
def short() -> Iterator[Path]:
    """A folder with a short name, as Ray's sockets need."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def own(short: Path) -> Iterator[None]:
    """A cluster of this process's own, with two places."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            patch.delenv(name)
        patch.setenv("RAY_TMPDIR", str(short))
        patch.setenv("PYTHONPATH", str(ROOT))
        ray = connect.connect("local", 2)
        yield
        ray.shutdown()
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            patch.delenv(name)  # what `connect` has set


def run(tasks: list[engine.Task], **options: float) -> dict[str, list[object]]:
    return {task.part_id: found for task, found in engine.run(square, tasks, on="ray", **options)}


def all_stages(folder: Path, images: Path, on: engine.On) -> Path:
    opened = catalog.open(folder / "catalog")
    ingest(opened, [images], workers=2, on=on)
    score(opened, workers=1 if on == "local" else 2, on=on)  # the models load once a worker
    dedup(opened, workers=2, on=on)
    caption(opened, FromSource())
    bucket(opened)
    rules = dict.fromkeys(("max_nsfw", "min_aesthetic", "max_watermark", "min_area"))
    chosen = opened.select(**rules).manifest("all")
    build(opened, chosen, folder / "shards", shard_samples=8, workers=2, on=on)
    return opened.root


def test_tables_and_tars_equal_the_local_engines(
    own: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lensdata.ingest.STAGE", replace(STAGE, part_items=16))
    monkeypatch.setattr("lensdata.score.PART_IMAGES", 16)
    images = fill(tmp_path / "images", 40, sizes=((200, 200), (180, 240)))
    shutil.copy(images / "picture-0000.png", images / "copy.png")
    (images / "broken.jpg").write_bytes((images / "picture-0001.jpg").read_bytes()[:500])
    left = all_stages(tmp_path / "local", images, "local")
    right = all_stages(tmp_path / "ray", images, "ray")
    found = tables(left)
    assert len(found["images"]) == 42
    assert found["clusters"]["reason"].drop_nulls().to_list() == ["bytes"]
    assert same(found, tables(right))
    tars = {
        name: digest
        for name, digest in digests(tmp_path / "local" / "shards").items()
        if name.endswith(".tar")
    }
    assert len(tars) > 4
    assert tars.items() <= digests(tmp_path / "ray" / "shards").items()


def test_an_image_that_kills_or_hangs_its_worker_costs_itself(own: None) -> None:
    crash, hang = engine.Task("crash", [1, "crash", 3]), engine.Task("hang", ["hang", 2])
    found = run([crash, hang, *(engine.Task(str(n), [n]) for n in range(8))], item_seconds=0.5)
    assert found["crash"] == [1, ("corrupt", "reading it killed the worker (SIGSEGV)"), 9]
    assert found["hang"] == [("timeout", "took longer than the time limit for one image"), 4]
    assert [found[str(n)] for n in range(8)] == [[n * n] for n in range(8)]


def test_faults_end_the_job_in_one_line(own: None) -> None:
    with pytest.raises(LensError, match="the part a failed: ValueError: a fault in the stage"):
        run([engine.Task("a", ["raise"])])
    with pytest.raises(LensError, match=r"lost its worker 3 times \(exit code 3\)"):
        run([engine.Task("a", ["exit"])])


def kill_host(task: engine.Task, watch: engine.Watch) -> list[object]:
    """A stage that kills the actor above it: the first time, or every time."""
    with watch.item(0):
        mark = Path(task.settings)
        if task.part_id == "always" or (task.part_id == "once" and not mark.exists()):
            mark.touch()
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
    return [task.part_id, os.getppid()]


def test_a_lost_actor_is_replaced_and_its_part_run_again(own: None, tmp_path: Path) -> None:
    tasks = [engine.Task(name, [None], str(tmp_path / "mark")) for name in ("once", "other")]
    found = {task.part_id: task for task, _ in engine.run(kill_host, tasks, on="ray")}
    assert found.keys() == {"once", "other"}
    assert (found["once"].attempts, found["once"].poison) == (1, {})


def test_a_part_that_keeps_losing_its_actor_ends_the_job(own: None, tmp_path: Path) -> None:
    with pytest.raises(LensError, match="the part always lost its worker 3 times"):
        list(engine.run(kill_host, [engine.Task("always", [None], str(tmp_path / "mark"))], on="ray"))


def test_tasks_are_pulled_as_actors_get_free(own: None) -> None:
    pulled = []

    def tasks() -> Iterator[engine.Task]:
        for n in range(1_000_000):
            pulled.append(n)
            yield engine.Task(str(n), [n])

    running = engine.run(square, tasks(), on="ray")
    next(running)
    running.close()
    assert len(pulled) <= 3


def test_more_workers_than_places_share_them(own: None) -> None:
    """Actors that find no place are given no task to sit on."""
    tasks = [engine.Task(str(n), [n]) for n in range(12)]
    assert len(run(tasks, workers=6)) == 12


def test_gpus_where_there_are_none_are_bad_input(own: None) -> None:
    with pytest.raises(BadInput, match="the Ray cluster has no GPU"):
        list(engine.run(square, [engine.Task("a", [1])], on=engine.Ray(gpus=1)))


def test_a_node_with_other_packages_is_refused(own: None, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {**connect.installed(), "pillow": "0.0.1"}
    monkeypatch.setattr(connect, "installed", lambda: other)
    with pytest.raises(BadInput, match=r"has pillow \d.*, this machine 0\.0\.1; install the same packages"):
        run([engine.Task("a", [1])])


# ---- commands that join a cluster by its address


@pytest.fixture(scope="module")
def started(short: Path) -> Iterator[dict[str, str]]:
    """The environment of commands that join a cluster of two places begun by `ray start` on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = short / "started"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "PYTHONPATH": str(ROOT), "RAY_TMPDIR": str(short), "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(16).hex(), "RAY_USAGE_STATS_ENABLED": "0",
    }  # fmt: skip
    line = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}"]
    line += ["--num-cpus=2", "--num-gpus=2", "--include-dashboard=false", f"--temp-dir={folder}"]
    head = subprocess.Popen(
        line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert head.stdout is not None
    said = []
    while line := head.stdout.readline():
        said.append(line)
        if "Ray runtime started" in line:
            break
    assert head.poll() is None, "".join(said)
    yield {**environment, "RAY_ADDRESS": f"127.0.0.1:{port}"}
    head.terminate()  # not `ray stop`, which ends every cluster on the machine
    head.communicate(timeout=30)
    wait_until(lambda: not processes(str(folder)))


def processes(word: str) -> list[int]:
    """Ids of the processes whose command line holds a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in path.read_bytes() and alive(int(path.parent.name)):
                found.append(int(path.parent.name))
        except OSError:
            pass
    return found


def children(parents: list[int]) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) in parents:
                found.append(int(path.parent.name))
        except OSError:
            pass
    return found


def at_work(folder: Path) -> tuple[list[int], list[int]]:
    """(actors with a worker process, those processes) of the cluster in `folder`."""
    raylets = [
        pid
        for pid in processes(str(folder))
        if b"raylet/raylet\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    hosts = [pid for pid in children(raylets) if b"ray::Host" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    busy = [pid for pid in hosts if children([pid])]
    return busy, children(busy)


def wait_until(true: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of 300 pictures, ingested here, and its scores, computed here, beside it as `scored`."""
    folder = tmp_path_factory.mktemp("ingested")
    opened = catalog.open(folder / "catalog")
    ingest(opened, [fill(folder / "images", 300, sizes=((200, 200), (180, 240)))])
    shutil.copytree(opened.root, folder / "scored")
    score(catalog.open(folder / "scored"), only=("clarity", "entropy", "luminance"), workers=2)
    return opened.root


def scoring(root: Path, environment: dict[str, str], *options: str) -> subprocess.Popen[str]:
    line = [
        sys.executable,
        "-m",
        "lensdata",
        "--catalog",
        str(root),
        "score",
        *CHEAP,
        "--engine",
        "ray",
        *options,
    ]
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def shown(task: engine.Task, watch: engine.Watch) -> str | None:
    """A stage that says which GPUs it is shown."""
    time.sleep(0.2)
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def test_workers_are_shown_the_gpus_they_hold(started: dict[str, str]) -> None:
    """Ray deals out two GPUs that it was told of; none need be there."""
    code = (
        "from lensdata import engine\nfrom tests.lensdata.test_ray import shown\n"
        "for gpus in (0, 1, 2):\n"
        "    tasks = [engine.Task(str(n), []) for n in range(40)]\n"
        "    print(sorted({found for _, found in engine.run(shown, tasks, on=engine.Ray(gpus=gpus))}))"
    )
    line = [sys.executable, "-c", code]
    found = subprocess.run(line, env=started, capture_output=True, text=True, check=False)
    assert found.stdout.splitlines() == ["['']", "['0', '1']", "['0,1']"], found.stderr


def test_a_command_goes_on_when_its_actor_is_killed(
    started: dict[str, str], short: Path, ingested: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(ingested, tmp_path / "catalog")
    job = scoring(root, started, "--json")
    wait_until(lambda: at_work(short / "started")[0])
    killed = at_work(short / "started")[0][0]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: set(at_work(short / "started")[0]) - {killed} or job.poll() is not None)
    out, err = job.communicate(timeout=120)
    assert job.returncode == 0, err
    assert out == '{"images": 300, "failed": 0, "without": {}}\n'  # Ray's own notices stay out of it
    assert err.startswith(f"ray: joined the cluster at {started['RAY_ADDRESS']}: 2 CPUs")
    assert all(line.startswith(("ray: ", "score: ")) for line in err.splitlines()), err
    assert same(tables(root), tables(ingested.parent / "scored"))


def test_a_killed_command_leaves_nothing_running_and_resumes(
    started: dict[str, str], short: Path, ingested: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(ingested, tmp_path / "catalog")
    job = scoring(root, started)
    wait_until(lambda: at_work(short / "started")[0])
    actors, workers = at_work(short / "started")
    job.kill()
    job.communicate()
    wait_until(lambda: not any(alive(pid) for pid in actors + workers))
    again = scoring(root, started, "--ray-address", started["RAY_ADDRESS"])
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert same(tables(root), tables(ingested.parent / "scored"))
    assert not list((root / "parts").rglob("*.parquet"))
