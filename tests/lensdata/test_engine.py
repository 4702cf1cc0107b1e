"""The local engine outlives workers that crash, hang or are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from catalog.errors import LensError
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
