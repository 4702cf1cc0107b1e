"""scripts/miniature: its tables from given exams, its options, and one part of it for real at a tiny size."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from tests.lensmodel.conftest import tiny_llama  # noqa: F401

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
loader = SourceFileLoader("miniature", str(SCRIPTS / "miniature"))
miniature = importlib.util.module_from_spec(importlib.util.spec_from_loader("miniature", loader))
loader.exec_module(miniature)
report = miniature.report

TASKS = ("single_object", "two_object")


def row(part="curve", variant="dense", seed=0, step=80, overall=0.5, **more):
    return {
        "part": part, "variant": variant, "seed": seed, "step": step, "max_steps": 80, "cpu_seconds": 30.0 * step,
        "form": "dense", "width": 512, "height": 512, "trained_size": True, "overall": overall, "strict": overall / 2,
        "rubrics": 0.8, "tasks": dict.fromkeys(TASKS, overall), **more,
    }  # fmt: skip


def test_a_curve_says_when_the_targets_are_passed() -> None:
    rows = [
        row(seed=s, step=step, overall=y + 0.1 * s) for s in (0, 1) for step, y in ((20, 0.35), (80, 0.75))
    ]
    text, svg, found = report.curve(rows)
    assert "| 10.0 | 2 | 0.400 (0.350-0.450) |" in text
    assert found["passed"][0.6] == pytest.approx(10 + 30 * 0.2 / 0.4)
    assert found["passed"][0.93] is None and "not reached" in text
    assert ET.fromstring(svg).tag.endswith("svg")


def test_captions_are_compared_at_the_end_and_briefs_by_their_better_form() -> None:
    rows = [row("captions", "dense", overall=0.7), row("captions", "dense", form="brief", overall=0.2)]
    rows += [row("captions", "brief", overall=0.1), row("captions", "brief", form="brief", overall=0.4)]
    rows.append(row("captions", "brief", step=40, overall=0.9))
    text, svg, found = report.captions(rows)
    assert found == {
        "dense": {"dense": 0.7, "brief": 0.2, "better": 0.7},
        "brief": {"dense": 0.1, "brief": 0.4, "better": 0.4},
    }
    assert "| brief | 1 | 80 | 40.0 | 0.100 | 0.400 | 0.400 |" in text
    ET.fromstring(svg)


def test_unseen_sizes_are_held_against_the_trained_ones() -> None:
    rows = [row("sizes", rubrics=0.9), row("sizes", width=768, rubrics=0.7)]
    rows.append(row("sizes", width=640, trained_size=False, rubrics=0.6))
    text, svg, found = report.sizes(rows)
    assert found["unseen_over_seen"]["rubrics"] == pytest.approx(0.75)
    assert "| 640x512 | no |" in text and "rubrics 0.750 (wanted 0.85)" in text
    ET.fromstring(svg)


def test_everything_is_written(tmp_path: Path) -> None:
    rows = [row(part, variant) for part, of in miniature.PARTS.items() for variant in of.variants]
    costs = [{"data": "grid", "encoder_layers": "3", "step_seconds": 0.2, "once_seconds": 9.0, "encoded": 100,
              "encode_seconds": 5.0}]  # fmt: skip
    about = {"preset": "miniature", "overrides": [], "exam": {"n": 80, "guidance": 3.0, "steps": 12}}
    report.write(tmp_path, about, rows, costs)
    text = (tmp_path / "results.md").read_text()
    for part in miniature.PARTS:
        ET.parse(tmp_path / f"{part}.svg")
        assert f"({part}.svg)" in text
    assert "| grid | 3 | 100 | 0.1 | 50 | 9 | 200 |" in text
    assert set(json.loads((tmp_path / "results.json").read_text())["summary"]) == set(miniature.PARTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--minutes", "curves=3"], "curves=3"),
        (["--seeds", "0"], "'0'"),
        (["lrr=1"], "did you mean 'lr'"),
        (["--preset", "minature"], "there is no preset"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, capsys, options: list[str], message: str) -> None:
    assert miniature.main([str(tmp_path / "out"), *options]) == 2
    said = capsys.readouterr().err
    assert message in said and len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_parts_are_the_ones_that_are_asked_for() -> None:
    sizes = miniature.PARTS["sizes"]
    assert len(sizes.trained) == 6 and len(sizes.boxes) == 11
    assert not sizes.trained & set(sizes.boxes[6:])
    assert miniature.PARTS["captions"].briefs and not miniature.PARTS["curve"].briefs
    assert miniature.PARTS["curve"].data == miniature.PARTS["captions"].data  # made and encoded once
    with pytest.raises(miniature.click.BadParameter):
        miniature.numbers(int)(None, None, ("free=1.5",))
    assert miniature.numbers(float)(None, None, ("9", "curve=40"))["curve"] == 40


def test_the_seed_of_a_run_is_not_that_of_its_exam(tmp_path: Path) -> None:
    exam = {"n": 1, "guidance": 3.0, "steps": 12, "seed": 0}
    study = miniature.Study(tmp_path, miniature.PARTS, "miniature", [], 1, exam, 8)
    for name in ("runs", "exams", "timing"):
        (tmp_path / name).mkdir()
    for seed in (0, 1):
        run = miniature.Run("curve", "dense", seed)
        about = {"part": "curve", "variant": "dense", "seed": seed, "data": "d", "minutes": 1, "max_steps": 8}
        (tmp_path / "runs" / f"{run.name}.json").write_text(json.dumps(about))
        marks = {"tasks": {"colors": 0.5}, "overall": 0.5, "strict": 0.5, "rubrics": 0.5}
        line = {
            "checkpoint": "c",
            "step": 8,
            "form": "dense",
            "width": 512,
            "height": 512,
            "cpu_seconds": 60.0,
        }
        (tmp_path / "exams" / f"{run.name}.jsonl").write_text(
            json.dumps({**line, **exam, **marks, "seed": 0}) + "\n"
        )
    study.tell()
    found = json.loads((tmp_path / "results.json").read_text())
    assert [row["seed"] for row in found["exams"]] == [0, 1]
    assert "| 1.0 | 2 | 0.500" in (tmp_path / "results.md").read_text()


@pytest.mark.slow
def test_a_part_runs_is_killed_goes_on_and_is_not_done_again(tmp_path: Path, tiny_llama: Path) -> None:  # noqa: F811
    out = tmp_path / "out"
    line = [sys.executable, str(SCRIPTS / "miniature"), str(out), "--quick", "--only", "curve", "--n", "1",
            f"encoder={tiny_llama}", "encoder_layers=1,3", "enc_hidden_dim=32", "num_layers=1"]  # fmt: skip
    first = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (out / "timing").is_dir() or not list((out / "timing").iterdir()):
        assert first.poll() is None, first.communicate()
        time.sleep(0.2)
    first.send_signal(signal.SIGTERM)
    assert "interrupted" in first.communicate()[1]
    assert first.returncode == 130

    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "making grid" not in done.stderr  # what was finished before
    (exams,) = (out / "exams").iterdir()
    rows = [json.loads(text) for text in exams.read_text().splitlines()]
    steps = [row["step"] for row in rows]
    assert steps == [steps[0] * n for n in (1, 2, 4, 6, 8)]
    cpu = [row["cpu_seconds"] for row in rows]
    assert cpu == sorted(cpu) and cpu[0] > 0
    assert len(list((out / "runs" / "curve-dense-s0").glob("checkpoint-*"))) == 1
    assert (out / "sheets" / "curve-dense-s0.png").exists()
    text = (out / "results.md").read_text()

    with exams.open("a") as file:
        file.write('{"checkpoint": "half a li')  # of an exam that was killed
    again = subprocess.run(line, capture_output=True, text=True, check=False)
    assert again.returncode == 0 and again.stderr == ""
    assert (out / "results.md").read_text() == text
    other = subprocess.run([*line, "lr=0.5"], capture_output=True, text=True, check=False, env={**os.environ})
    assert other.returncode == 2 and "was begun with" in other.stderr
