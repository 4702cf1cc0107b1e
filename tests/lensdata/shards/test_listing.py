"""`manifest list`, and what the commands around manifests hold in memory and say of an empty or unscored catalog."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import catalog
from catalog import manifest
from lensdata.ingest import ingest
from lensdata.shards import build, diff, verify
from tests.helpers import fill


def test_all_manifests_and_where_they_are(command, filled: catalog.Catalog, tmp_path: Path) -> None:
    assert "there is no manifest yet" in command("lensdata", "manifest", "list").stdout
    chosen = filled.select().manifest("train")
    build(filled, chosen, tmp_path / "s", shard_samples=1, workers=1)
    build(filled, chosen, tmp_path / "v", virtual=True)
    rows = json.loads(command("lensdata", "manifest", "list", "--json").stdout)
    assert [(row["manifest"], row["samples"], row["shards"], row["where"]) for row in rows] == [
        ("train", 8, 0, str(chosen.root)),
        ("train", 8, 8, str(tmp_path / "s")),
        ("train", 8, 0, str(tmp_path / "v")),
    ]
    assert {row["fingerprint"] for row in rows} == {chosen.fingerprint}
    assert all(row["created"] for row in rows)
    told = command("lensdata", "manifest", "list").stdout
    assert str(tmp_path / "s") in told and chosen.fingerprint[:12] in told


@pytest.fixture
def unheld(monkeypatch) -> None:
    """No manifest's rows may be asked for all at once."""
    monkeypatch.setattr(manifest.Manifest, "samples", property(lambda self: pytest.fail("all rows are held")))


def test_verify_and_diff_hold_no_more_than_a_shard(
    filled: catalog.Catalog, tmp_path: Path, unheld: None
) -> None:
    chosen = filled.select().manifest("train")
    out = build(filled, chosen, tmp_path / "s", shard_samples=1, workers=1).manifest.root
    virtual = build(filled, chosen, tmp_path / "v", virtual=True).manifest.root
    assert list(verify(out)) == []
    assert list(verify(virtual)) == []
    fewer = filled.select(where="image_id > 3").manifest("fewer")
    assert diff(chosen, fewer)["removed"] == [1, 2]
    assert diff(fewer, manifest.load(out))["added"] == [1, 2]


def test_verify_finds_a_virtual_sample_that_has_changed(filled_own: catalog.Catalog, tmp_path: Path) -> None:
    chosen = filled_own.select().manifest("train")
    out = build(filled_own, chosen, tmp_path / "v", virtual=True).manifest.root
    Path(chosen.samples["uri"][0]).write_bytes(b"another")
    assert len(list(verify(out))) == 1


def test_diff_finds_other_captions_and_bytes(filled: catalog.Catalog, tmp_path: Path) -> None:
    import polars as pl

    old = filled.select().manifest("train")
    one, two, three = old.samples["image_id"].to_list()[:3]
    name = pl.col("image_id")
    samples = old.samples.with_columns(
        caption=pl.when(name == one).then(pl.lit("other")).otherwise("caption"),
        sha256=pl.when(name == two).then(pl.lit("0" * 64)).otherwise("sha256"),
        bucket=pl.when(name.is_in([one, three])).then(pl.lit("1024x1024")).otherwise("bucket"),
    )
    manifest.write(tmp_path / "new", {**old.info, "name": "new", "fingerprint": "f"}, samples)
    found = diff(old, manifest.load(tmp_path / "new"))
    assert (found["caption"], found["sha256"]) == ([one], [two])
    assert found["bucket"] == sorted([one, three])
    assert (found["added"], found["removed"], found["same"]) == ([], [], 5)


def test_a_catalog_that_was_not_scored_is_one_line(command, tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "catalog")
    (tmp_path / "one.csv").write_text("")
    for args in (("build-shards", "--plan", 2), ("build-shards", "--plan", 2, "--json")):
        done = command("lensdata", *args)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert "run `lensdata ingest` first" in done.stderr
    ingest(opened, [fill(tmp_path / "images", 3)], workers=1)
    done = command("lensdata", "build-shards", "--plan", 2)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "3 images have no" in done.stderr and "run `lensdata score` first" in done.stderr
    for args in (("funnel",), ("funnel", "--overlaps"), ("report", "--out", tmp_path / "r.html")):
        done = command("lensdata", *args)
        assert done.returncode == 0
        assert "Error" not in done.stderr
    done = command("lensdata", "manifest", "diff", "a", "b")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_a_name_that_a_takedown_ended_says_what_it_is_now(command, filled: catalog.Catalog) -> None:
    filled.select().manifest("train")
    victims = filled.select().frame()["image_id"].to_list()[:2]
    for victim in victims:
        assert command("lensdata", "remove", victim).returncode == 0
    rows = json.loads(command("lensdata", "manifest", "list", "--json").stdout)
    assert {row["manifest"]: row["now"] for row in rows} == {
        "train": "train-r2", "train-r1": "train-r2", "train-r2": None,
    }  # fmt: skip
    assert "now" in command("lensdata", "manifest", "list").stdout
    for ended in ("train", "train-r1"):
        done = command("lensdata", "manifest", "diff", ended, "train-r2")
        assert done.returncode == 2
        assert f"the manifest {ended} was ended by a takedown; it is train-r2 now" in done.stderr
    shutil.rmtree(filled.root / "manifests" / "train-r2")
    done = command("lensdata", "manifest", "diff", "train-r2", "train-r2")
    assert (done.returncode, "train-r2 was made, but its folder" in done.stderr) == (2, True)
