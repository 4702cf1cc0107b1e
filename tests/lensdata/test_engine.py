"""The engine outlives workers that crash, hang or are killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from catalog.errors import BadInput, LensError
from lensdata import engine

ROOT = Path(__file__).resolve().parent.parent.parent


def square(task: engine.Task, watch: engine.Watch) -> list[object]:
    """A stage whose items misbehave on request."""
    results: list[object] = []
    for index, item in enumerate(task.items):
        if index in task.poison:
            results.append(task.poison[index])
            continue
        with watch.item(index):
            if item == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            if item == "hang":
                time.sleep(60)
            if item == "slow store":
                with watch.reading():
                    time.sleep(0.5)
            if item == "silent store":
                with watch.reading():
                    time.sleep(4)
            if item == "killed once" and not Path(task.settings).exists():
                Path(task.settings).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            results.append(item * item if isinstance(item, int) else item)
    if "raise" in task.items:
        raise ValueError("a fault in the stage")
    if "exit" in task.items:
        os._exit(3)
    return results


def run(tasks: list[engine.Task], **options: object) -> dict[str, list[object]]:
    return {task.part_id: result for task, result in engine.run(square, tasks, workers=2, **options)}


def test_every_task_is_done_once() -> None:
    tasks = [engine.Task(str(n), [n, n + 1]) for n in range(20)]
    assert run(tasks) == {str(n): [n * n, (n + 1) ** 2] for n in range(20)}


def test_no_tasks() -> None:
    assert run([]) == {}


def test_a_crash_costs_one_item() -> None:
    found = run([engine.Task("a", [1, "crash", 3]), engine.Task("b", [4])])
    assert found["b"] == [16]
    assert found["a"][0] == 1
    assert found["a"][2] == 9
    assert found["a"][1] == ("corrupt", "reading it killed the worker (SIGSEGV)")


def test_an_item_that_hangs_times_out() -> None:
    found = run([engine.Task("a", ["hang", 2, "hang"])], item_seconds=0.5)
    assert [found["a"][0][0], found["a"][1], found["a"][2][0]] == ["timeout", 4, "timeout"]


@pytest.mark.parametrize("on", ["local", engine.THREADS])
def test_waiting_for_a_store_has_a_limit_of_its_own(on: str) -> None:
    tasks = [engine.Task("a", ["slow store", 2])]
    assert run(tasks, item_seconds=0.2, on=on) == {"a": ["slow store", 4]}
    tasks = [engine.Task("a", ["silent store", 2])]
    assert run(tasks, item_seconds=0.1, on=on) == {"a": [engine.LATE, 4]}
    while "lens-worker" in {thread.name for thread in threading.enumerate()}:  # left behind
        time.sleep(0.1)


def test_a_killed_worker_is_replaced_and_its_item_not_blamed(tmp_path: Path) -> None:
    found = run([engine.Task("a", [2, "killed once"], str(tmp_path / "mark"))])
    assert found["a"] == [4, "killed once"]


def test_a_fault_in_the_stage_ends_the_job_in_one_line() -> None:
    with pytest.raises(LensError, match="the part a failed: ValueError: a fault in the stage"):
        run([engine.Task("a", ["raise"])])


def test_a_worker_that_dies_between_items_is_tried_three_times() -> None:
    with pytest.raises(LensError, match="lost its worker 3 times"):
        run([engine.Task("a", ["exit"])])


def test_workers_die_with_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "from lensdata import engine\n"
        "from tests.lensdata.test_engine import report_pid\n"
        f"list(engine.run(report_pid, [engine.Task('a', [], {str(tmp_path / 'pid')!r})], workers=1))"
    )
    script = tmp_path / "job.py"
    script.write_text("if __name__ == '__main__':\n    " + code.replace("\n", "\n    "))
    with subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(ROOT)}) as job:
        pid_file = tmp_path / "pid"
        deadline = time.monotonic() + 30
        while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        worker = int(pid_file.read_text())
        job.kill()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and alive(worker):
        time.sleep(0.05)
    assert not alive(worker)


def test_a_worker_killed_while_it_waits_is_replaced(tmp_path: Path) -> None:
    """The second task comes only when the worker, free after the first, has been killed."""

    def tasks() -> Iterator[engine.Task]:
        yield engine.Task("a", [], str(tmp_path / "pid"))
        yield engine.Task("b", [], str(tmp_path / "pid"))

    running = engine.run(who, tasks(), workers=1)
    first = next(running)[1]
    os.kill(first, signal.SIGKILL)
    while alive(first):
        time.sleep(0.01)
    assert [task.part_id for task, second in running if second != first] == ["b"]


def who(task: engine.Task, watch: engine.Watch) -> int:
    """A stage that says who it is."""
    return os.getpid()


def test_tasks_are_pulled_as_workers_get_free() -> None:
    pulled = []

    def tasks() -> Iterator[engine.Task]:
        for n in range(1_000_000):
            pulled.append(n)
            yield engine.Task(str(n), [n])

    running = engine.run(square, tasks(), workers=2)
    next(running)
    running.close()
    assert len(pulled) <= 3


def copy(task: engine.Task, watch: engine.Watch) -> str:
    """Work that only moves bytes, in threads: `hang` does until the event in the settings is set."""
    done = []
    for index, item in enumerate(task.items):
        if index in task.poison:
            done.append(":".join(task.poison[index]))
            continue
        with watch.item(index):
            if item == "hang":
                task.settings["go on"].wait(60)
            if item == "raise":
                raise ValueError("a fault in the stage")
            if item == "full":
                raise OSError(28, "No space left on device")
            done.append(item)
    watch.rest()
    if task.settings:
        task.settings["appeared"].append(task.part_id)
        if "rested" in task.settings:
            task.settings["rested"].wait(60)
    return " ".join(done)


def in_threads(tasks: Iterable[engine.Task], workers: int = 2, **options: object) -> dict[str, str]:
    running = engine.run(copy, tasks, workers=workers, on=engine.THREADS, **options)
    return {task.part_id: result for task, result in running}


def test_threads_do_every_task_once() -> None:
    assert in_threads(engine.Task(str(n), [str(n)]) for n in range(50)) == {str(n): str(n) for n in range(50)}
    assert in_threads([]) == {}


def test_a_thread_that_hangs_is_left_behind_and_makes_nothing_appear() -> None:
    settings = {"go on": threading.Event(), "appeared": []}
    found = in_threads(
        [engine.Task("a", ["x", "hang", "y"], settings), engine.Task("b", ["z"], settings)], item_seconds=0.3
    )
    assert found == {"a": "x timeout:took longer than the time limit for one image y", "b": "z"}
    before = {thread.name for thread in threading.enumerate()}
    settings["go on"].set()
    deadline = time.monotonic() + 10
    while "lens-worker" in {thread.name for thread in threading.enumerate()} and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "lens-worker" in before
    assert sorted(settings["appeared"]) == ["a", "b"]  # once each: the one that was left behind made nothing


@pytest.mark.parametrize(("item", "told"), [("raise", "the part a failed: ValueError"), ("full", "No space")])
def test_a_fault_in_a_thread_ends_the_job_and_stops_the_others(item: str, told: str) -> None:
    with pytest.raises((LensError, OSError), match=told):
        in_threads([engine.Task("a", [item]), *(engine.Task(str(n), ["x"] * 1000) for n in range(9))])
    assert "lens-worker" not in {thread.name for thread in threading.enumerate()}


def test_who_rests_leaves_the_place_to_another() -> None:
    """One worker: the second task runs while the first waits for the disk, and not before."""
    settings = {"appeared": [], "rested": threading.Event()}
    running = engine.run(
        copy, [engine.Task(name, ["x"], settings) for name in "abc"], workers=1, on=engine.THREADS
    )
    threading.Timer(0.5, settings["rested"].set).start()
    next(running)
    assert len(settings["appeared"]) >= 2
    assert len(list(running)) == 2


def test_ctrl_c_stops_threads(tmp_path: Path) -> None:
    code = (
        "import time\n"
        "from lensdata import engine\n"
        "def work(task, watch):\n"
        "    print('begun', flush=True)\n"
        "    for index in range(100_000):\n"
        "        with watch.item(index): time.sleep(0.01)\n"
        "try:\n"
        "    list(engine.run(work, [engine.Task('a', []), engine.Task('b', [])], 2, on=engine.THREADS))\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT) as job:
        assert job.stdout is not None
        job.stdout.readline()
        job.send_signal(signal.SIGINT)
        out, _ = job.communicate(timeout=30)
    assert out.endswith("stopped\n")
    assert job.returncode == 0


def test_an_unknown_engine_is_bad_input() -> None:
    with pytest.raises(BadInput, match="no engine 'slurm'; choose local or ray"):
        list(engine.run(square, [], on="slurm"))


def test_ray_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadInput, match=r'pip install "lens-t2i\[cluster\]"'):
        list(engine.run(square, [engine.Task("a", [1])], on="ray"))


@pytest.mark.parametrize("name", ["ingest", "score", "dedup", "build-shards", "run"])
def test_commands_with_workers_take_an_engine(command, filled, images: Path, name: str) -> None:
    words = {"ingest": [images], "run": [images], "build-shards": ["--out", "shards"]}.get(name, [])
    found = command("lensdata", name, *words, "--ray-address", "auto")
    assert found.returncode == 2
    assert "go with --engine ray" in found.stderr
    assert found.stderr.count("\n") == 1


def test_a_cluster_that_does_not_answer_is_bad_input(command, images: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and not listening
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        found = command("lensdata", "ingest", images, "--engine", "ray", "--ray-address", address)
    assert found.returncode == 2
    assert f"no Ray cluster answers at {address}" in found.stderr
    assert found.stderr.count("\n") == 1


def test_an_address_without_a_port_is_bad_input(command, images: Path) -> None:
    found = command("lensdata", "ingest", images, "--engine", "ray", "--ray-address", "head")
    assert found.returncode == 2
    assert "HOST:PORT, auto or local, not head" in found.stderr


def report_pid(task: engine.Task, watch: engine.Watch) -> None:
    """A stage that says who it is and stays."""
    Path(task.settings).write_text(str(os.getpid()))
    time.sleep(60)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def openmp(task, watch):
    return os.environ.get("OMP_NUM_THREADS")


@pytest.mark.parametrize(("asked", "given"), [(None, "1"), ("3", "3")])
def test_a_worker_computes_with_one_thread_unless_told_otherwise(monkeypatch, asked, given):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    ((_, found),) = engine.run(openmp, [engine.Task("a", [1])], workers=1)
    assert found == given and os.environ.get("OMP_NUM_THREADS") == asked


SCRIPT = """
from pathlib import Path
import sys
import catalog
from catalog.errors import LensError
from lensdata.ingest import ingest

def main():
    opened = catalog.open(sys.argv[1])
    print(ingest(opened, [Path(sys.argv[2])], workers=2))

{start}
"""


@pytest.mark.parametrize("guarded", [True, False])
def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path, images: Path, guarded: bool) -> None:
    """Its workers read it again, and would start the job anew; they say so, quietly and once."""
    script = tmp_path / "script.py"
    start = "if __name__ == '__main__':\n    main()"
    if not guarded:
        start = "try:\n    main()\nexcept LensError as error:\n    print(error)"
    script.write_text(SCRIPT.format(start=start))
    line = [sys.executable, str(script), str(tmp_path / "catalog"), str(images)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (told,) = done.stdout.splitlines()
    if guarded:
        assert told.startswith("12 images added")
    else:
        assert 'under `if __name__ == "__main__":`' in told


def test_a_script_that_fails_when_it_is_read_again_is_named(tmp_path: Path, images: Path) -> None:
    script = tmp_path / "script.py"
    start = "import os\ndel os.environ['READ_ONCE']\nif __name__ == '__main__':\n    main()"
    script.write_text(SCRIPT.format(start=start))
    line = [sys.executable, str(script), str(tmp_path / "catalog"), str(images)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "READ_ONCE": "1"}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "a worker process ended while it was starting (exit code 1)" in done.stderr.splitlines()[-1]
    assert (
        done.stderr.count("KeyError: 'READ_ONCE'") <= 2
    )  # of the workers that were started at once; not tried again
