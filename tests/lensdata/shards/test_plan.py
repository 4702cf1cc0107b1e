"""What a selection would give a run, and what changed between two manifests."""

from __future__ import annotations

import json

import pytest

import catalog
from catalog import metrics
from catalog.errors import BadInput
from lensdata.shards import batch_plan, diff, parse_sizes
from tests.helpers import commit_scores


def test_batches_are_whole_and_the_rest_is_told() -> None:
    table, steps = batch_plan({"512x512": 100, "768x768": 25, "1024x1024": 5}, 3, parse_sizes("24,10,6"))
    assert table.select("bucket", "batch", "batches", "left_over").rows() == [
        ("512x512", 24, 4, 4), ("768x768", 10, 2, 5), ("1024x1024", 6, 0, 5),
    ]  # fmt: skip
    assert steps == 2


@pytest.mark.parametrize("text", ["24", "24,10", "a,b,c", "24,10,0", "24,10,6,2", ""])
def test_batch_sizes_are_three_numbers(text: str) -> None:
    with pytest.raises(BadInput, match="three numbers"):
        parse_sizes(text)


def test_the_command_shows_the_plan_and_builds_nothing(command, filled: catalog.Catalog, tmp_path) -> None:
    done = command("lensdata", "build-shards", "--plan", 2, "--batch", "2,1,1", "--json")
    told = json.loads(done.stdout)
    assert told["steps_per_epoch"] == 2
    assert sum(row["samples"] for row in told["buckets"]) == 8
    assert not list((filled.root / "manifests").iterdir())
    assert "needs --out" in command("lensdata", "build-shards").stderr


def test_no_filters_stands_for_every_switch(command, filled: catalog.Catalog, tmp_path) -> None:
    switches = [part for name in metrics.thresholds() for part in (f"--{name.replace('_', '-')}", "none")]
    bad = {1: {"nsfw": 0.99}, 2: {"clarity": 0.0}, 4: {"aesthetic": 1.0}}
    commit_scores(filled, bad)
    for line in ([*switches, "--no-dedup"], ["--no-filters"]):
        done = command("lensdata", "build-shards", "--out", tmp_path / str(len(line)), *line, "--json")
        assert json.loads(done.stdout)["samples"] == 12, done.stderr
    assert len(list((filled.root / "manifests").iterdir())) == 1
    done = command("lensdata", "build-shards", "--plan", 1, "--no-filters", "--max-nsfw", "0.5", "--json")
    assert sum(row["samples"] for row in json.loads(done.stdout)["buckets"]) == 11
    rules = json.loads(command("lensdata", "funnel", "--no-filters", "--json").stdout)
    assert sum(row["dropped"] for row in rules) == 0
    done = command("lensdata", "report", "--out", tmp_path / "r.html", "--no-filters")
    assert done.returncode == 0, done.stderr
    done = command("lensdata", "build-shards", "--out", tmp_path / "1", "--resume", "--no-filters", "--json")
    assert json.loads(done.stdout)["reused"]
    done = command("lensdata", "build-shards", "--out", tmp_path / "1", "--resume", "--max-nsfw", "0.5")
    assert "begun with max_nsfw None" in done.stderr


def test_diff(command, filled: catalog.Catalog) -> None:
    old = filled.select().manifest("old")
    new = filled.select(where="image_id <> 1", min_area=None).manifest("new")
    found = diff(old, new)
    assert found["added"] == [3, 6, 9, 12]
    assert found["removed"] == [1]
    assert found["same"] == 7
    assert found["parameters"] == {"min_area": [147456, None]}
    done = command("lensdata", "manifest", "diff", "old", filled.root / "manifests" / "new")
    assert "added: 4 (3, 6, 9, 12)" in done.stdout
    assert command("lensdata", "manifest", "diff", "old", "nowhere").returncode == 2
