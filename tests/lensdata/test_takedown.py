"""Takedown: the image is gone from everything derived, and only its shards are rewritten."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import catalog
from catalog import manifest
from catalog.errors import BadInput
from catalog.store import snapshot
from lensdata import score, vectors
from lensdata.caption import copy_all
from lensdata.ingest import ingest
from lensdata.shards import build, verify
from lensdata.takedown import remove
from tests.helpers import scores_part


def digests(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.glob("*.tar"))}


@pytest.fixture
def shards(filled: catalog.Catalog, tmp_path: Path) -> Path:
    return build(filled, filled.select().manifest("train"), tmp_path / "s", workers=1).manifest.root


def test_only_the_shards_that_held_it_change(filled: catalog.Catalog, shards: Path) -> None:
    old = manifest.load(shards)
    samples = {old.samples["image_id"][row]: old.read(row) for row in range(8)}
    victim = old.samples["image_id"][3]
    shard = old.samples["shard"][3]
    before = digests(shards)
    told = remove(filled, [victim], "rights holder", [shards])
    assert told["removed"] == [victim]
    new = manifest.load(shards)
    after = digests(shards)
    assert shard not in after
    assert {name: digest for name, digest in before.items() if name != shard}.items() <= after.items()
    assert len(after) == len(before)
    assert new.name == "train-r1"
    assert new.fingerprint != old.fingerprint
    assert {new.samples["image_id"][row]: new.read(row) for row in range(7)} == {
        image_id: sample for image_id, sample in samples.items() if image_id != victim
    }
    assert list(verify(shards)) == []
    assert new.info["removed"] == [victim]
    assert sorted(path.name for path in shards.iterdir() if path.suffix != ".tar") == [
        "manifest.json", "samples-r1.parquet",
    ]  # fmt: skip


def test_the_catalog_forgets_what_it_knew(filled: catalog.Catalog, shards: Path) -> None:
    remove(filled, [2], "ticket 5", [])
    row = filled.sql("SELECT status, status_reason, alt_text FROM images WHERE image_id = 2").row(0)
    assert row == ("removed", "ticket 5", None)
    for table in ("scores", "captions", "clusters", "embeddings"):
        assert filled.sql(f"SELECT count(*) FROM {table} WHERE image_id = 2").item() == 0
    assert 2 not in filled.select(dedup=False).frame()["image_id"].to_list()
    names = [path.name for path in (filled.root / "manifests").iterdir()]
    assert names == ["train-r1"]
    kept = manifest.load(filled.root / "manifests" / "train-r1")
    assert 2 not in kept.samples["image_id"].to_list()
    assert "picture number 1" not in kept.samples["caption"].to_list()
    assert len(manifest.load(shards).samples) == 8  # not asked for


def test_no_snapshot_keeps_what_was_taken_down(filled: catalog.Catalog, monkeypatch) -> None:
    monkeypatch.setattr(snapshot, "LEAST_IMAGES", 12)
    filled.select().frame()
    assert list((filled.root / snapshot.FOLDER).glob("trainable-*"))
    remove(filled, [2], "ticket 5", [])
    assert not list((filled.root / snapshot.FOLDER).glob("trainable-*"))


def test_a_second_takedown_goes_on_from_the_first(filled: catalog.Catalog, shards: Path) -> None:
    remove(filled, [1], "x", [shards])
    remove(filled, [2, 4], "x", [shards])
    found = manifest.load(shards)
    assert found.name == "train-r2"
    assert found.info["removed"] == [1, 2, 4]
    assert len(found.samples) == 5
    assert list(verify(shards)) == []
    assert filled.sql("SELECT manifest, samples FROM manifests ORDER BY samples").rows() == [
        ("train-r2", 5), ("train-r1", 7), ("train", 8),
    ]  # fmt: skip


def test_copies_of_the_same_bytes_go_too(filled_own: catalog.Catalog, images: Path, tmp_path: Path) -> None:
    shutil.copy(images / "picture-0000.png", images / "picture-0099.png")
    ingest(filled_own, [images], workers=1)
    assert remove(filled_own, [13], "x", [])["removed"] == [1, 13]


def test_a_removed_image_is_not_ingested_again(filled_own: catalog.Catalog, images: Path) -> None:
    remove(filled_own, [1], "x", [])
    ingest(filled_own, [images], workers=1)
    assert filled_own.sql("SELECT status FROM images WHERE uri LIKE '%0000.png'")["status"].to_list() == [
        "removed"
    ]


def test_it_stays_removed_whatever_becomes_of_its_file(filled_own: catalog.Catalog, images: Path) -> None:
    remove(filled_own, [1], "x", [])
    path = Path(filled_own.sql("SELECT uri FROM images WHERE image_id = 1").item())
    content = path.read_bytes()
    for change in (path.unlink, lambda: path.write_bytes(content), lambda: os.utime(path, (9, 9))):
        change()
        ingest(filled_own, [images], workers=1, retry=True)
        score.score(filled_own, only=("clarity",), retry_failed=True, workers=1)
        row = filled_own.sql("SELECT status, status_reason, alt_text FROM images WHERE image_id = 1").row(0)
        assert row == ("removed", "x", None)
        assert filled_own.sql("SELECT count(*) FROM scores WHERE image_id = 1").item() == 0


def test_what_a_killed_job_knew_of_it_is_not_committed_afterwards(filled_own: catalog.Catalog) -> None:
    scores_part(filled_own, {2: {"nsfw": 0.1}}, "score-late")
    folder = filled_own.root / "embeddings" / "m"
    vectors.save_vectors(folder, "score-late", [(np.ones(4), np.ones((32, 32, 3), np.uint8))])
    remove(filled_own, [2], "x", [])
    score.score(filled_own, only=("clarity",), workers=1)
    assert filled_own.sql("SELECT status FROM images WHERE image_id = 2").item() == "removed"
    assert filled_own.sql("SELECT count(*) FROM scores WHERE image_id = 2").item() == 0
    assert list(folder.iterdir()) == []


def test_vectors_are_blanked(filled: catalog.Catalog) -> None:
    folder = filled.root / "embeddings" / "m"
    folder.mkdir(parents=True)
    np.save(folder / "p.npy", np.ones((3, 4), dtype=np.float16))
    part, _ = scores_part(filled, {2: {"embedding_model": "m", "embedding_row": 1}}, "p")
    filled.commit_part("score", part, score.STAGE.commit, {"scorers": []})
    remove(filled, [2], "x", [])
    assert np.load(folder / "p.npy").sum(axis=1).tolist() == [4, 0, 4]


def test_a_kill_before_the_switch_leaves_the_old_whole_and_after_it_the_new(
    filled: catalog.Catalog, shards: Path, monkeypatch
) -> None:
    victim = manifest.load(shards).samples["image_id"][0]

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lensdata.takedown.manifest.write", killed)
        with pytest.raises(KeyboardInterrupt):
            remove(filled, [victim], "x", [shards])
    assert len(manifest.load(shards).samples) == 8
    with monkeypatch.context() as patch:
        patch.setattr("lensdata.takedown.say", killed)
        with pytest.raises(KeyboardInterrupt):
            remove(filled, [victim], "x", [shards])
    remove(filled, [victim], "x", [shards])
    assert len(manifest.load(shards).samples) == 7
    assert list(verify(shards)) == []


def test_an_unknown_id_changes_nothing(filled: catalog.Catalog, shards: Path) -> None:
    with pytest.raises(BadInput, match="there is no image 99"):
        remove(filled, [1, 99], "x", [shards])
    assert filled.sql("SELECT count(*) FROM images WHERE status = 'removed'").item() == 0


def test_it_forgets_every_text_of_the_source(filled_own: catalog.Catalog, images: Path) -> None:
    fields = {"brief": "brief of 0", "dense": "dense of 0"}
    (images / "picture-0000.json").write_text(json.dumps(fields))
    ingest(filled_own, [images], workers=1)
    told = "SELECT alt_text, brief_text, dense_text FROM images WHERE image_id = 1"
    assert filled_own.sql(told).row(0) == ("picture number 0", "brief of 0", "dense of 0")
    copy_all(filled_own)
    remove(filled_own, [1], "x", [])
    os.utime(images / "picture-0000.json", (9, 9))
    ingest(filled_own, [images], workers=1, retry=True)
    copy_all(filled_own)
    assert filled_own.sql(told).row(0) == (None, None, None)
    assert filled_own.sql("SELECT count(*) FROM captions WHERE image_id = 1").item() == 0
