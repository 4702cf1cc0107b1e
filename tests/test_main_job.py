"""The main job from pictures to pictures, through the commands alone and with the real light models: a mixture of two
sources, selected by query, trains one model."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers import fill


@pytest.mark.slow
def test_from_two_sources_to_sampled_pictures_and_an_exam(command, tmp_path: Path) -> None:
    def done(name: str, *args: object) -> str:
        result = command(name, *args)
        assert result.returncode == 0, result.stderr
        return result.stdout

    fill(tmp_path / "images", 64, sizes=((520, 520), (480, 640)))
    (tmp_path / "images" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much of a picture")
    done("lensmodel", "shapes", "--out", "shapes", "-n", 16, "--workers", 1)
    done("lensdata", "ingest", "shapes", "--source", "public-synthetic")
    loose = ("--max-watermark", "none", "--min-clarity", "none", "--min-entropy", "none", "--no-dedup")
    mixture = ("--min-aesthetic", "none", "--where", "source = 'public-synthetic' OR aesthetic >= 3",
               "--select-source", "public-real", "--select-source", "public-synthetic=2")  # fmt: skip
    done("lensdata", "run", "images", "--out", "shards", "--report", "report.html", *loose, *mixture)
    manifest = json.loads((tmp_path / "shards" / "manifest.json").read_text())
    assert manifest["sources"]["public-synthetic"] == 16  # whatever the filters for photographs think of them
    assert 0 < manifest["sources"]["public-real"] <= 64
    assert manifest["mixture"]["public-synthetic"] == 2
    settings = ("max_steps=40", "validate_every=20", "checkpoint_every=20", "holdout_least=8", "log_every=10")
    train = (
        "lensmodel",
        "train",
        "--shards",
        "shards",
        "--preset",
        "mini",
        "--out",
        "run",
        "--json",
        *settings,
    )
    told = json.loads(done(*train))
    assert told["step"] == 40
    assert told["bad_samples"] == 0
    assert told["held_out_last"] < 0.9 * told["held_out_first"]
    (shown,) = (line for line in _log(tmp_path / "run") if line["event"] == "mixture")
    assert set(shown["sources"]) == {"public-real", "public-synthetic"}
    done("lensmodel", "sample", "--checkpoint", "run", "--prompt", "picture number 3", "--prompt", "x",
         "--steps", 4, "--out", "samples")  # fmt: skip
    pictures = sorted((tmp_path / "samples").glob("*.png"))
    assert "grid.png" in {path.name for path in pictures}
    assert len(pictures) == 3
    for path in pictures:
        assert math.prod(Image.open(path).size) > 0
    exam = ("-n", 2, "--steps", 2, "--sheet", "sheet.png", "--prompt", "picture number 3", "--json")
    marks = json.loads(done("lensmodel", "evaluate", "shapes", "--checkpoint", "run", *exam))
    assert marks["step"] == 40 and 0 <= marks["overall"] <= 1
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.text["overall"] == f"{marks['overall']:.4f}" and sheet.text["prompts"] == "picture number 3"
    resumed = json.loads(done(*train, "--resume"))
    assert resumed["step"] == 40


def _log(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
