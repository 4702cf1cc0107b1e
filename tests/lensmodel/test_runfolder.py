"""A run folder: one writer at a time, a refused command changes nothing, no log is lost or glued."""

import json
from pathlib import Path

import pytest

from catalog.errors import BadInput, LensError
from lensmodel import presets
from lensmodel.runfolder import RunFolder
from lensmodel.runlog import Meter, RunLog
from lensmodel.trainer import Trainer


def make(manifest, overrides, run, *more, resume=False):
    return Trainer(manifest, presets.build("mini", [*overrides, *more]), run, resume)


def lines(path):
    return [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("batch_512=999", "no bucket has enough"),
        ("enc_hidden_dim=64", "set enc_hidden_dim=32"),
        ("encoder=nowhere", "neither"),
        ("device=toaster", "device=toaster"),
    ],
)
def test_a_refused_command_leaves_the_log_alone(tiny, tiny_overrides, tmp_path, override, message):
    (tmp_path / "log.jsonl").write_text("mine\n")
    (tmp_path / "bad_samples.jsonl").write_text("mine, too\n")
    more = (override, "batch_768=999", "batch_1024=999") if "batch" in override else (override,)
    with pytest.raises(BadInput, match=message):
        make(tiny, tiny_overrides, tmp_path, *more)
    assert (tmp_path / "log.jsonl").read_text() == "mine\n"
    assert (tmp_path / "bad_samples.jsonl").read_text() == "mine, too\n"
    RunFolder(tmp_path, False).close()  # and the folder is free again


def test_logs_of_a_run_without_a_checkpoint_move_aside(tiny, tiny_overrides, tmp_path):
    (tmp_path / "log.jsonl").write_text("first\n")
    (tmp_path / "log.jsonl.1").write_text("zeroth\n")
    (tmp_path / "bad_samples.jsonl").write_text('{"image_id": 1, "reason": "of another time"}\n')
    summary = make(tiny, tiny_overrides, tmp_path, "max_steps=1", resume=True).run()
    assert (tmp_path / "log.jsonl.1").read_text() == "zeroth\n"
    assert (tmp_path / "log.jsonl.2").read_text() == "first\n"
    assert (tmp_path / "bad_samples.jsonl.1").is_file() and summary["bad_samples"] == 0
    kinds = [event["event"] for event in lines(tmp_path / "log.jsonl")]
    assert kinds.index("data") < kinds.index("start") < kinds.index("step") < kinds.index("done")


def test_two_runs_cannot_share_a_folder(tiny, tiny_overrides, tmp_path):
    first = make(tiny, tiny_overrides, tmp_path, "max_steps=1")
    with pytest.raises(BadInput, match=r"another run is writing .*\.lock"):
        make(tiny, tiny_overrides, tmp_path, resume=True)
    summary = first.run()
    again = make(tiny, tiny_overrides, tmp_path, "max_steps=2", resume=True).run()  # let go at the end
    assert summary["checkpoint"].endswith("000001") and again["checkpoint"].endswith("000002")


def test_half_a_line_is_cut_before_more_is_written(tiny, tiny_overrides, tmp_path):
    make(tiny, tiny_overrides, tmp_path, "max_steps=1").run()
    whole = (tmp_path / "log.jsonl").read_text()
    (tmp_path / "log.jsonl").write_text(whole + '{"event": "st')
    (tmp_path / "bad_samples.jsonl").write_text('{"image_id": 7, "reason": "gone"}\n{"image')
    summary = make(tiny, tiny_overrides, tmp_path, "max_steps=2", resume=True).run()
    assert (tmp_path / "log.jsonl").read_text().startswith(whole)
    assert lines(tmp_path / "log.jsonl")[-1]["event"] == "done"
    assert (tmp_path / "bad_samples.jsonl").read_text().endswith("}\n") and summary["bad_samples"] == 1


def test_numbers_that_are_none_are_null(tmp_path):
    log = RunLog(tmp_path / "log.jsonl", True)
    log.event("step", "", loss=float("nan"), deep={"a": [float("inf"), 1.5]})
    assert not log.path.exists()
    log.start()
    (event,) = lines(log.path)
    assert event["loss"] is None and event["deep"] == {"a": [None, 1.5]}


def test_the_meter_leaves_out_what_is_no_training(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("lensmodel.runlog.time.monotonic", lambda: clock[0])
    meter = Meter()
    clock[0] = 2.0
    meter.add(1.0, 10, 10, False, flops=8.0)
    with meter.paused():
        clock[0] = 100.0
    assert meter.numbers(0.5, 3) == {
        "loss": 1.0, "images_per_second": 5.0, "data_wait": 0.25, "eta_seconds": 6.0,
        "tokens_per_second": 5.0, "flops_per_second": 4.0,
    }  # fmt: skip


def test_a_log_that_cannot_be_written_is_named():
    log = RunLog(Path("/dev/full"), True)
    log.start()
    with pytest.raises(
        LensError, match=r"/dev/full cannot be written \(No space left on device\); make room"
    ):
        log.event("step", "", step=1)


def test_samples_of_a_run_without_a_checkpoint_move_aside(tmp_path):
    for number in range(2):
        (tmp_path / "samples").mkdir()
        folder = RunFolder(tmp_path, True)
        folder.begin()
        folder.close()
        assert not (tmp_path / "samples").exists() and (tmp_path / f"samples.{number + 1}").is_dir()
