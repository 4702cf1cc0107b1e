"""Takedown: the image is gone from everything derived, and only its shards are rewritten."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import catalog
from catalog import manifest
from catalog.bytes import locate
from catalog.errors import BadInput, LensError
from catalog.manifest import files, names
from catalog.store import parts, snapshot
from lensdata import score, vectors
from lensdata.caption import copy_all
from lensdata.ingest import ingest
from lensdata.shards import build, verify
from lensdata.takedown import remove
from tests.helpers import png, scores_part


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
    path = Path(filled_own.sql("SELECT located(uri) FROM images WHERE image_id = 1").item())
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

    def killed(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lensdata.takedown.manifest.write_info", killed)
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


def test_a_manifest_is_never_written_twice(filled: catalog.Catalog, tmp_path: Path) -> None:
    """Build, take down, build again under the same name, take down again: four states, four names or fewer, each of
    which the table and the folder tell alike, for good."""
    first = filled.select().manifest("train")
    remove(filled, [1], "x", [])
    kept = filled.root / "manifests" / "train-r1"
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    again = filled.select().manifest("train")
    assert again.name == "train-r1"  # the very images that the takedown has left
    assert again.fingerprint == manifest.load(kept).fingerprint
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before
    with pytest.raises(BadInput, match="manifests never change"):
        filled.select(where="width = 480").manifest("train")
    build(filled, again, tmp_path / "s", workers=1)
    remove(filled, [2], "x", [])
    rows = filled.sql("SELECT manifest, fingerprint, samples FROM manifests ORDER BY created_at").rows()
    assert [(name, samples) for name, _, samples in rows] == [("train", 8), ("train-r1", 7), ("train-r2", 6)]
    assert rows[0][1] == first.fingerprint
    assert [row[1:] for row in rows if row[0] == "train-r1"] == [(again.fingerprint, 7)]
    assert sorted(path.name for path in (filled.root / "manifests").iterdir()) == ["train-r2"]


def test_a_name_that_is_taken_is_passed_over(filled: catalog.Catalog, tmp_path: Path) -> None:
    other = filled.select(where="width = 480").manifest("train-r1")
    text = (other.root / "manifest.json").read_bytes()
    out = build(filled, filled.select().manifest("train"), tmp_path / "s", workers=1).manifest.root
    victim = next(
        n for n in manifest.load(out).samples["image_id"] if n not in set(other.samples["image_id"])
    )
    remove(filled, [victim], "x", [out])
    assert manifest.load(out).name == "train-r2"
    assert (other.root / "manifest.json").read_bytes() == text
    found = dict(filled.sql("SELECT manifest, fingerprint FROM manifests").rows())
    for name in ("train-r1", "train-r2"):
        assert manifest.load(filled.root / "manifests" / name).fingerprint == found[name]


def test_the_mechanism_refuses_to_write_over_a_manifest(filled: catalog.Catalog) -> None:
    kept = filled.select().manifest("train")
    other = filled.select(where="width = 480").manifest("other")
    for write in (
        lambda: manifest.write(kept.root, other.info, other.samples),
        lambda: manifest.write_info(kept.root, other.info),
        lambda: files.adopt(kept.root, other.info, other.samples_path),
    ):
        with pytest.raises(BadInput, match="manifests never change"):
            write()
    record = {"manifest": "train", "fingerprint": other.fingerprint, "samples": 1, "query": "", "parameters": "{}",
              "catalog_version": 1, "virtual": True}  # fmt: skip
    with pytest.raises(BadInput, match="manifests never change"), names.naming(filled):
        names.enter(filled, record)
    assert manifest.load(kept.root).samples.equals(kept.samples)


def test_the_same_bytes_under_another_name_stay_removed(
    filled_own: catalog.Catalog, images: Path, tmp_path: Path
) -> None:
    remove(filled_own, [1], "ticket 7", [])
    shutil.copy(images / "picture-0000.png", images / "renamed.png")
    (images / "renamed.txt").write_text("a text that tells")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(images / "picture-0000.png", elsewhere / "other.png")
    shutil.copy(images / "picture-0000.png", images / "picture-0002.png")  # in the place of another image
    ingest(filled_own, [images, elsewhere], workers=1)
    rows = filled_own.sql(
        "SELECT status, status_reason, alt_text FROM images "
        "WHERE sha256 = (SELECT sha256 FROM images WHERE image_id = 1)"
    ).rows()
    assert rows == [("removed", "ticket 7", None)] * 4
    assert filled_own.sql("SELECT count(*) FROM images WHERE status = 'removed'").item() == 4


def packed(path: Path, images: Path) -> Path:
    """A table with the bytes of the pictures, and another column so that it may be changed."""
    files = sorted(images.glob("picture-*.png"))
    rows = {
        "image": [file.read_bytes() for file in files],
        "text": [f"secret of {file.stem}" for file in files],
    }
    pl.DataFrame(rows).write_parquet(path)
    return path


def ours(root: Path) -> bytes:
    """All that stands in the catalog's own copies."""
    return b"".join(path.read_bytes() for path in sorted((root / "imported").rglob("*.tar")))


def test_our_own_copies_are_blanked_and_the_others_hold(tmp_path: Path, images: Path) -> None:
    table = packed(tmp_path / "t.parquet", images)
    opened = catalog.open(tmp_path / "own")
    ingest(opened, [table], workers=1)
    content = {n: (images / f"picture-{n:04d}.png").read_bytes() for n in (0, 2, 4)}
    assert all(data in ours(opened.root) for data in content.values())
    told = opened.sql(
        "SELECT image_id, located(uri) AS uri, byte_offset, byte_length, sha256 FROM images ORDER BY image_id"
    )
    tar = Path(told["uri"][1])
    before = tar.stat()
    remove(opened, [2], "x", [])
    assert content[2] not in ours(opened.root)
    assert b"secret of picture-0002" not in ours(opened.root)
    assert content[0] in ours(opened.root) and b"secret of picture-0004" in ours(opened.root)
    assert (tar.stat().st_size, tar.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    for row in told.filter(pl.col("image_id") != 2).iter_rows(named=True):
        data = locate.read(row["uri"], row["byte_offset"], row["byte_length"])
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
    for again in (lambda: None, lambda: os.utime(tar, (9, 9)), lambda: packed(table, images)):
        again()  # nothing; the copies look new, as after `cp -r`; the table is copied anew, its bytes come back
        ingest(opened, [table], workers=1, retry=True)
        states = opened.sql("SELECT image_id, status, sha256 FROM images ORDER BY image_id")
        assert states["sha256"].to_list() == told["sha256"].to_list()
        assert states.filter(pl.col("status") != "ok")["image_id"].to_list() == [2]
        assert content[2] not in ours(opened.root)


def test_what_was_removed_earlier_leaves_shards_that_were_not_named_then(
    command, filled: catalog.Catalog, shards: Path
) -> None:
    ids = manifest.load(shards).samples["image_id"].to_list()[:2]
    told = command("lensdata", "remove", ids[0])
    assert told.returncode == 0
    assert f"--shards {shards}" in told.stderr
    told = command("lensdata", "remove", ids[1], "--shards", shards, "--json")
    assert json.loads(told.stdout)["still_hold"] == []
    assert told.stderr.count("still hold") == 0
    assert not set(ids) & set(manifest.load(shards).samples["image_id"])
    assert list(verify(shards)) == []


def test_a_takedown_reads_each_row_once(filled: catalog.Catalog, tmp_path: Path, monkeypatch) -> None:
    """However many shards there are: the table is never held, nor filtered shard by shard."""
    out = build(
        filled, filled.select().manifest("train"), tmp_path / "s", shard_samples=1, workers=1
    ).manifest.root
    ids = manifest.load(out).samples["image_id"].to_list()
    monkeypatch.setattr(manifest.Manifest, "samples", property(lambda self: pytest.fail("all rows are held")))
    held = []
    real = manifest.Manifest.batches
    monkeypatch.setattr(manifest.Manifest, "batches", lambda self: held.append(self.where) or real(self))
    remove(filled, [ids[0], ids[5]], "x", [out])
    assert held.count(str(out)) == 1
    assert list(verify(out)) == []
    assert manifest.load(out).info["samples"] == 6


def test_what_comes_back_is_counted_as_removed(
    filled_own: catalog.Catalog, images: Path, tmp_path: Path
) -> None:
    data = (images / "picture-0000.png").read_bytes()
    remove(filled_own, [1], "asked for", [])
    again = tmp_path / "again"
    again.mkdir()
    for name in ("x.png", "y.png"):
        (again / name).write_bytes(data)
    (again / "z.png").write_bytes(png(77))
    done = ingest(filled_own, [again], workers=1)
    assert (done.added, done.taken_down, done.states) == (3, 2, {"ok": 1, "removed": 2})
    assert "2 of them taken down before and removed" in str(done)
    found = filled_own.sql("SELECT status FROM images WHERE uri LIKE '%again%' ORDER BY uri")[
        "status"
    ].to_list()
    assert found == ["removed", "removed", "ok"]


def holding(root: Path, text: bytes) -> list[str]:
    """The files of a catalog in which `text` stands."""
    return [
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and text in path.read_bytes()
    ]


def test_no_file_of_the_catalog_holds_a_text_any_more(tmp_path: Path, images: Path) -> None:
    secret = "SECRETTEXT of somebody"
    (images / "picture-0002.txt").write_text(secret)
    opened = catalog.open(tmp_path / "own")
    ingest(opened, [images], workers=1)
    copy_all(opened)
    database = opened.root / "catalog.duckdb"
    database.chmod(0o640)
    waiting = parts.write(opened.root, "ingest", "of-a-killed-job", pl.DataFrame({"alt_text": [secret]}))
    assert "catalog.duckdb" in holding(opened.root, secret.encode())
    others = "SELECT image_id, alt_text, status FROM images WHERE image_id <> 3 ORDER BY image_id"
    tables = "SELECT table_name, sql FROM duckdb_tables() ORDER BY table_name"
    views = "SELECT view_name, sql, comment FROM duckdb_views() WHERE NOT internal ORDER BY view_name"
    before = [opened.sql(text) for text in (others, tables, views)]
    assert opened.sql("SELECT alt_text FROM images WHERE image_id = 3").item() == secret
    remove(opened, [3], "x", [])
    assert holding(opened.root, secret.encode()) == []
    assert holding(opened.root, b"SECRETTEXT") == []
    assert not waiting.exists()
    assert sorted(path.name for path in opened.root.iterdir() if path.name.startswith("catalog.")) == [
        database.name
    ]
    assert database.stat().st_mode & 0o777 == 0o640
    assert [opened.sql(text).rows() for text in (others, tables, views)] == [rows.rows() for rows in before]
    assert len(opened.sql("FROM trainable")) == 12
    ingest(opened, [images], workers=1)  # the new file is written to as the old one was
    assert opened.sql("SELECT status FROM images WHERE image_id = 3").item() == "removed"


KILLED = """
import os, sys
from pathlib import Path
import catalog
from catalog.store import parts
from lensdata.takedown import remove

real = parts.fsync
def killed(path):
    if path.name.endswith(".new"):
        os.kill(os.getpid(), 9)
    real(path)
parts.fsync = killed
if __name__ == "__main__":
    remove(catalog.open(sys.argv[1]), [3], "x", [])
"""


def test_a_takedown_killed_amid_the_new_file_leaves_the_old_and_is_completed(
    tmp_path: Path, images: Path
) -> None:
    (images / "picture-0002.txt").write_text("SECRETTEXT")
    opened = catalog.open(tmp_path / "own")
    ingest(opened, [images], workers=1)
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    done = subprocess.run([sys.executable, script, opened.root], check=False)
    assert done.returncode == -9
    assert (opened.root / "catalog.duckdb.new").is_file()
    assert opened.sql("SELECT count(*) FROM images WHERE status = 'removed'").item() == 1
    assert "catalog.duckdb" in holding(opened.root, b"SECRETTEXT")
    remove(opened, [3], "x", [])
    assert holding(opened.root, b"SECRETTEXT") == []
    assert not (opened.root / "catalog.duckdb.new").exists()


def test_a_disk_without_room_for_the_new_file_is_told_and_loses_nothing(
    filled: catalog.Catalog, monkeypatch
) -> None:
    def full(*args: object, **more: object) -> None:
        raise LensError("no space left")

    monkeypatch.setattr("catalog.store.rewrite._copy", full)
    with pytest.raises(
        LensError, match=r"images are removed, but .* could not be written anew: no space left"
    ):
        remove(filled, [3], "x", [])
    assert filled.sql("SELECT count(*) FROM images").item() == 12
    assert filled.sql("SELECT status FROM images WHERE image_id = 3").item() == "removed"
