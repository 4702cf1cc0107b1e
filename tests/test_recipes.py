"""The recipes of docs/recipes.md do what they say: each section's commands are run in a folder with a catalog."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import ROOT

TEXT = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
SECTIONS = {
    part.partition("\n")[0]: re.findall(r"^```(\w+)\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)
    for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
}


def follow(name: str, folder: Path) -> str:
    """Save the section's files and run its commands, as one shell. Returns what they printed."""
    commands = ["set -euo pipefail", f'lensdata() {{ "{sys.executable}" -m lensdata "$@"; }}']
    commands.append(f'python() {{ "{sys.executable}" "$@"; }}')
    for language, block in SECTIONS[name]:
        if language == "python":
            named = re.match(r"# file: (\S+)\n", block)
            assert named, "a block of Python is a file"
            (folder / named[1]).write_text(block, encoding="utf-8")
        else:
            assert language == "bash"
            commands.append(block)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LENS_")} | {
        "PYTHONPATH": str(ROOT)
    }
    done = subprocess.run(
        ["bash", "-c", "\n".join(commands)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path, template: Path) -> Path:
    shutil.copytree(template, tmp_path / "lens-catalog")
    return tmp_path


def ids(shards: Path) -> set[int]:
    return set(pl.read_parquet(shards / "samples.parquet")["image_id"])


def test_every_section_is_followed_here() -> None:
    assert set(SECTIONS) == {
        "A filter of your own, once", "A filter of your own, for good", "Other default thresholds for a team",
        "A catalog that a team shares",
    }  # fmt: skip


def test_a_filter_once(folder: Path) -> None:
    assert "every shard is what the manifest says" in follow("A filter of your own, once", folder)
    bright = set(pl.read_parquet(folder / "bright.parquet")["image_id"])
    assert ids(folder / "bright-shards") == bright - {3, 6, 9, 12}  # which are too small
    assert 0 < len(bright) < 12


def test_a_filter_for_good(folder: Path) -> None:
    told = follow("A filter of your own, for good", folder)
    assert "12 images scored" in told and "min_warmth" in told
    assert 0 < len(ids(folder / "warm-shards")) <= 8


def test_other_defaults(folder: Path) -> None:
    told = follow("Other default thresholds for a team", folder)
    assert "funnel: the rule watermark is off" in told
    assert re.search(r"│ 4\.0 +3\.0 +(null)? *│", told), told
    info = json.loads((folder / "team-shards/manifest.json").read_text())
    assert (info["parameters"]["min_aesthetic"], info["parameters"]["max_watermark"]) == (4.0, None)


def test_a_shared_catalog(folder: Path) -> None:
    told = follow("A catalog that a team shares", folder)
    assert "report on 12 images" in told
    assert len(pl.read_parquet(folder / "trainable.parquet")) == 12
    assert len(ids(folder / "team-v1")) == 8
