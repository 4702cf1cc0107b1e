"""The main job from pictures to pictures, through the commands alone and with the real light models."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers import fill


@pytest.mark.slow
def test_from_a_folder_to_sampled_pictures(command, tmp_path: Path) -> None:
    def done(name: str, *args: object) -> str:
        result = command(name, *args)
        assert result.returncode == 0, result.stderr
        return result.stdout

    fill(tmp_path / "images", 64, sizes=((520, 520), (480, 640)))
    (tmp_path / "images" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much of a picture")
    loose = ("--min-aesthetic", 3, "--max-watermark", "none", "--no-dedup")
    done("lensdata", "run", "images", "--out", "shards", "--report", "report.html", *loose)
    settings = ("max_steps=40", "validate_every=20", "checkpoint_every=20", "holdout_least=8", "log_every=10")
    told = json.loads(
        done(
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
    )
    assert told["step"] == 40
    assert told["bad_samples"] == 0
    assert told["held_out_last"] < 0.9 * told["held_out_first"]
    done("lensmodel", "sample", "--checkpoint", "run", "--prompt", "picture number 3", "--prompt", "x",
         "--steps", 4, "--out", "samples")  # fmt: skip
    pictures = sorted((tmp_path / "samples").glob("*.png"))
    assert "grid.png" in {path.name for path in pictures}
    assert len(pictures) == 3
    for path in pictures:
        assert math.prod(Image.open(path).size) > 0
    resumed = json.loads(
        done(
            "lensmodel",
            "train",
            "--shards",
            "shards",
            "--preset",
            "mini",
            "--out",
            "run",
            "--json",
            "--resume",
            *settings,
        )
    )
    assert resumed["step"] == 40
