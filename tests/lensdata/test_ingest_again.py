"""A second ingest: what has changed on the disk changes in the catalog, and nothing else does."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

import catalog
from catalog.store import parts
from lensdata import score
from lensdata.ingest import ingest
from tests.helpers import commit_scores, make_tar, picture, png, scores_part

TABLES = ("scores", "embeddings", "clusters", "captions", "buckets")


def counts(opened: catalog.Catalog, image_id: int) -> dict[str, int]:
    return {
        table: opened.sql(f"SELECT count(*) FROM {table} WHERE image_id = $id", id=image_id).item()
        for table in TABLES
    }


def image(opened: catalog.Catalog, path: Path, offset: int = 0) -> dict:
    text = "SELECT * FROM images WHERE uri = $uri AND byte_offset = $offset ORDER BY status = 'missing', image_id"
    return opened.sql(text, uri=str(path), offset=offset).row(0, named=True)


@pytest.fixture
def known(filled_own: catalog.Catalog, images: Path) -> tuple[catalog.Catalog, Path, dict]:
    """A catalog in which the picture `path` has a row in every table, and another one was dropped in its favour."""
    path = images / "picture-0003.jpg"
    row = image(filled_own, path)
    commit_scores(filled_own, {row["image_id"]: {"embedding_model": "m", "embedding_row": 0}})
    clusters = pl.DataFrame(
        {"image_id": [1], "keeper_id": [row["image_id"]], "similarity": [0.99], "reason": ["embedding"]},
        schema={"image_id": pl.Int64, "keeper_id": pl.Int64, "similarity": pl.Float32, "reason": pl.String},
    )
    frame = filled_own.sql("SELECT image_id, keeper_id, similarity, reason FROM clusters WHERE image_id > 1")
    part = parts.write(filled_own.root, "dedup", "dedup-again", pl.concat([frame, clusters]))
    filled_own.commit_part("dedup", part, ["dedup/clear", "dedup/part"])
    assert counts(filled_own, row["image_id"]) == dict.fromkeys(TABLES, 1)
    return filled_own, path, row


def test_nothing_new_leaves_the_catalog_alone(filled_own: catalog.Catalog, images: Path) -> None:
    version = filled_own.version
    assert str(ingest(filled_own, [images], workers=1)) == "0 images added, 0 updated, 12 unchanged"
    assert filled_own.version == version


def test_other_bytes_are_another_image(known) -> None:
    opened, path, before = known
    picture(77, 600, 400).save(path)
    done = ingest(opened, [path.parent], workers=1)
    assert (done.added, done.updated, done.unchanged, done.moved) == (0, 1, 11, 0)
    after = image(opened, path)
    assert after["image_id"] == 13
    assert (after["width"], after["height"]) == (600, 400)
    assert after["byte_length"] == path.stat().st_size
    assert counts(opened, 13) == dict.fromkeys(TABLES, 0)
    old = opened.sql("SELECT * FROM images WHERE image_id = $id", id=before["image_id"]).row(0, named=True)
    reason = "other bytes stand in its place"
    assert old == before | {"status": "missing", "status_reason": reason}
    # What was measured of them stays with its id; image 1 was dropped in favour of it, and is judged anew.
    assert counts(opened, before["image_id"]) == dict.fromkeys(TABLES, 1) | {"clusters": 0}
    assert counts(opened, 1) == {"scores": 1, "embeddings": 0, "clusters": 0, "captions": 1, "buckets": 1}
    version = opened.version
    assert ingest(opened, [path.parent], workers=1).unchanged == 12
    assert opened.version == version


def test_bytes_that_come_back_are_the_image_they_were(known) -> None:
    opened, path, before = known
    kept = path.read_bytes()
    picture(77, 600, 400).save(path)
    ingest(opened, [path.parent], workers=1)
    path.write_bytes(kept)
    done = ingest(opened, [path.parent], workers=1)
    assert (done.added, done.updated, done.unchanged, done.moved) == (0, 0, 11, 1)
    assert image(opened, path) == before | {"file_mtime_ns": image(opened, path)["file_mtime_ns"]}
    assert opened.sql("SELECT status FROM images WHERE image_id = 13").item() == "missing"


def test_two_files_that_change_names_keep_their_ids(known) -> None:
    opened, path, _ = known
    other = path.with_name("picture-0005.jpg")
    assert other.is_file()
    text = "SELECT image_id, sha256 FROM images ORDER BY image_id"
    before, scores = opened.sql(text).rows(), opened.sql("FROM scores ORDER BY image_id").rows()
    path.rename(path.with_name("c"))
    other.rename(path)
    path.with_name("c").rename(other)
    done = ingest(opened, [path.parent], workers=1)
    assert (done.added, done.updated, done.unchanged, done.gone, done.moved) == (0, 0, 10, 0, 2)
    assert opened.sql(text).rows() == before
    assert (image(opened, path)["image_id"], image(opened, other)["image_id"]) == (6, 4)
    assert opened.sql("FROM scores ORDER BY image_id").rows() == scores


def test_a_moved_folder_keeps_ids_and_all_that_is_known(known) -> None:
    opened, path, _ = known
    tables = {name: opened.sql(f"FROM {name} ORDER BY image_id").rows() for name in TABLES}
    before = opened.sql("SELECT image_id, sha256, alt_text, status FROM images ORDER BY image_id").rows()
    moved = path.parent.with_name("moved")
    path.parent.rename(moved)
    (moved / "picture-0001.jpg").rename(moved / "renamed.jpg")  # its text stays behind
    picture(78, 300, 300).save(moved / "new.png")
    done = ingest(opened, [moved], workers=1)
    assert (done.added, done.updated, done.unchanged, done.moved) == (1, 0, 0, 12)
    assert str(done) == "1 images added, 0 updated, 0 unchanged, 12 moved"
    text = "SELECT image_id, sha256, alt_text, status FROM images WHERE image_id <= 12 ORDER BY image_id"
    assert opened.sql(text).rows() == before
    assert {name: opened.sql(f"FROM {name} ORDER BY image_id").rows() for name in TABLES} == tables
    assert opened.sql("SELECT count(*) FROM images").item() == 13
    assert all(Path(uri).is_file() for uri in opened.sql("SELECT uri FROM images")["uri"])
    # Ids that turned out to be others' are not given again.
    last = opened.sql("SELECT max(image_id) FROM images").item()
    picture(79, 300, 300).save(moved / "newer.png")
    ingest(opened, [moved], workers=1)
    assert image(opened, moved / "newer.png")["image_id"] > last
    retired = set(opened.sql("SELECT image_id FROM retired")["image_id"])
    assert retired.isdisjoint(opened.sql("SELECT image_id FROM images")["image_id"])
    assert len(retired) == 12


def test_a_copy_is_an_image_of_its_own(known, tmp_path: Path) -> None:
    opened, path, before = known
    copies = tmp_path / "copies"
    copies.mkdir()
    (copies / "x.jpg").write_bytes(path.read_bytes())
    assert str(ingest(opened, [copies], workers=1)).startswith("1 images added, 0 updated, 0 unchanged")
    assert image(opened, path) == before
    # What goes later was no move.
    path.unlink()
    done = ingest(opened, [path.parent], workers=1)
    assert (done.gone, done.moved) == (1, 0)
    assert image(opened, copies / "x.jpg")["image_id"] == 13


def test_a_killed_ingest_leaves_what_moved_to_the_next(known, monkeypatch) -> None:
    opened, path, before = known
    moved = path.parent.with_name("moved")
    path.parent.rename(moved)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("lensdata.ingest.found_again", lambda catalog: (_ for _ in ()).throw(KeyboardInterrupt))
        ingest(opened, [moved], workers=1)
    assert opened.sql("SELECT count(*) FROM images").item() == 24
    done = ingest(opened, [moved], workers=1)
    assert done.moved == 12
    assert opened.sql("SELECT image_id FROM images ORDER BY 1")["image_id"].to_list() == list(range(1, 13))
    assert image(opened, moved / path.name)["image_id"] == before["image_id"]


def test_scores_of_the_old_bytes_are_not_committed_afterwards(known) -> None:
    """A killed job has left them, finished."""
    opened, path, before = known
    scores_part(opened, {before["image_id"]: {"nsfw": 0.1}}, "score-late")
    picture(77, 600, 400).save(path)
    ingest(opened, [path.parent], workers=1)
    score.score(opened, only=("clarity",), workers=1)
    found = opened.sql("SELECT nsfw, clarity FROM scores WHERE image_id = 13").row(0)
    assert found[0] is None
    assert found[1] is not None


def test_a_touched_file_is_unchanged(known) -> None:
    opened, path, before = known
    os.utime(path, ns=(1, 1))
    os.utime(path.with_suffix(".txt"), ns=(1, 1))
    done = ingest(opened, [path.parent], workers=1)
    assert (done.added, done.updated, done.unchanged) == (0, 0, 12)
    assert image(opened, path) == before | {"file_mtime_ns": 1}
    assert counts(opened, before["image_id"]) == dict.fromkeys(TABLES, 1)


@pytest.mark.parametrize("text", ["another", None])
def test_a_changed_text_replaces_the_source_caption_alone(known, text: str | None) -> None:
    opened, path, before = known
    path.with_suffix(".txt").unlink()
    if text:
        path.with_suffix(".txt").write_text(text)
    assert ingest(opened, [path.parent], workers=1).updated == 1
    assert image(opened, path)["alt_text"] == text
    assert counts(opened, before["image_id"]) == dict.fromkeys(TABLES, 1) | {"captions": 0}


def test_a_file_that_scoring_missed_comes_back(known) -> None:
    opened, path, before = known
    gone = {"status": "missing", "status_reason": "does not exist", "nsfw": "missing: does not exist"}
    commit_scores(opened, {before["image_id"]: gone})
    assert image(opened, path)["status"] == "missing"
    assert ingest(opened, [path.parent], workers=1).updated == 1
    assert image(opened, path) == before
    assert counts(opened, before["image_id"]) == dict.fromkeys(TABLES, 1) | {"scores": 0}


def test_a_verdict_of_the_decoder_stands_while_the_bytes_do(known) -> None:
    opened, path, before = known
    verdict = {"status": "truncated", "status_reason": "ends early", "nsfw": "truncated: ends early"}
    commit_scores(opened, {before["image_id"]: verdict})
    os.utime(path, ns=(1, 1))
    done = ingest(opened, [path.parent], workers=1)
    assert (done.updated, done.unchanged) == (0, 12)
    assert image(opened, path)["status"] == "truncated"
    picture(5, 64, 64).save(path)
    assert ingest(opened, [path.parent], workers=1).updated == 1
    assert image(opened, path)["status"] == "ok"
    assert counts(opened, before["image_id"])["scores"] == 0


def test_a_failure_repaired_without_another_time_is_found(opened_with_broken) -> None:
    opened, path = opened_with_broken
    assert image(opened, path)["status"] == "truncated"
    found = path.stat()
    whole = png(1)
    path.write_bytes(whole)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert ingest(opened, [path.parent], workers=1).updated == 1
    assert image(opened, path)["status"] == "ok"


@pytest.fixture
def opened_with_broken(tmp_path: Path) -> tuple[catalog.Catalog, Path]:
    opened = catalog.open(tmp_path / "catalog")
    path = tmp_path / "f" / "a.png"
    path.parent.mkdir()
    path.write_bytes(png(1)[:20])
    ingest(opened, [path.parent], workers=1)
    return opened, path


def test_a_rewritten_tar(tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "catalog")
    path = make_tar(tmp_path / "s.tar", [("a.png", png(1)), ("b.png", png(2)), ("c.png", png(3))])
    ingest(opened, [path], workers=1)
    first = opened.sql("SELECT image_id, byte_offset, sha256 FROM images ORDER BY image_id").rows()
    make_tar(path, [("a.png", png(1)), ("b.png", png(9)), ("b.txt", b"nine")])
    os.utime(path, ns=(1, 1))
    done = ingest(opened, [path], workers=1)
    assert (done.added, done.updated, done.unchanged, done.gone, done.moved) == (1, 0, 1, 2, 0)
    assert "2 gone from folders and tars" in str(done)
    rows = opened.sql("SELECT image_id, status, alt_text, sha256 FROM images ORDER BY image_id").rows()
    assert [row[3] for row in rows[:3]] == [row[2] for row in first]
    assert [row[1] for row in rows] == ["ok", "missing", "missing", "ok"]
    assert rows[3][:3] == (4, "ok", "nine")
    assert "rewritten" in image(opened, path, first[2][1])["status_reason"]
    assert ingest(opened, [path], workers=1).unchanged == 2
    # The old tar comes back: the missing images, too, under their old ids.
    make_tar(path, [("a.png", png(1)), ("b.png", png(2)), ("c.png", png(3))])
    assert ingest(opened, [path], workers=1).moved == 1
    text = "SELECT image_id, byte_offset, sha256 FROM images WHERE status = 'ok' ORDER BY image_id"
    assert opened.sql(text).rows() == first


def test_a_tar_with_a_sample_put_in_front_keeps_every_id(tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "catalog")
    samples = [(f"{n}.png", png(n)) for n in range(1, 8)]
    path = make_tar(tmp_path / "s.tar", samples)
    ingest(opened, [path], workers=1)
    first = opened.sql("SELECT image_id, sha256 FROM images ORDER BY image_id").rows()
    make_tar(path, [("0.png", png(50)), *samples, ("8.png", png(2))])
    done = ingest(opened, [path], workers=1)
    assert (done.added, done.updated, done.unchanged, done.gone, done.moved) == (2, 0, 0, 0, 7)
    rows = opened.sql("SELECT image_id, sha256, status FROM images ORDER BY image_id").rows()
    assert [row[:2] for row in rows[:7]] == first
    assert [row[0] for row in rows[7:]] == [8, 9]
    assert {row[2] for row in rows} == {"ok"}


def test_a_tar_that_became_junk_inside_a_folder(tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "catalog")
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "z.png").write_bytes(png(7))
    make_tar(folder / "s.tar", [("a.png", png(1))])
    ingest(opened, [folder], workers=1)
    (folder / "s.tar").write_bytes(b"junk" * 500)
    assert ingest(opened, [folder], workers=1).gone == 1
    assert image(opened, folder / "s.tar", 512)["status"] == "missing"


@pytest.mark.parametrize("between", [b"", b"\xff\xd8\xff\xe0junk", None])
def test_bytes_that_come_back_after_junk_are_the_image_they_were(known, between: bytes | None) -> None:
    opened, path, before = known
    kept = path.read_bytes()
    path.write_bytes(kept[:15] if between is None else between)
    assert ingest(opened, [path.parent], workers=1).updated == 1
    assert image(opened, path)["status"] not in ("ok", "missing")
    path.write_bytes(kept)
    done = ingest(opened, [path.parent], workers=1)
    assert (done.added, done.updated, done.unchanged, done.moved) == (0, 0, 11, 1)
    assert image(opened, path) == before | {"file_mtime_ns": image(opened, path)["file_mtime_ns"]}
    assert counts(opened, before["image_id"]) == dict.fromkeys(TABLES, 1) | {"clusters": 0}
    assert opened.sql("SELECT count(*) FROM images").item() == 12


@pytest.mark.parametrize("retry", [False, True])
def test_a_tar_that_was_half_copied_for_a_while(tmp_path: Path, retry: bool) -> None:
    opened = catalog.open(tmp_path / "catalog")
    path = make_tar(tmp_path / "s.tar", [("a.png", png(1)), ("b.png", png(2))])
    ingest(opened, [path], workers=1)
    before = opened.sql("SELECT image_id, sha256, status FROM images ORDER BY image_id").rows()
    whole = path.read_bytes()
    path.write_bytes(whole[: image(opened, path, 512)["byte_length"] + 2_000])  # ends within the second
    assert ingest(opened, [path], workers=1).updated == 1
    lost = opened.sql("SELECT status, status_reason FROM images WHERE image_id = 2").row(0)
    assert lost[0] == "missing" and lost[1].startswith("truncated: ")
    path.write_bytes(whole)
    assert ingest(opened, [path], workers=1, retry=retry).updated == 1
    assert opened.sql("SELECT image_id, sha256, status FROM images ORDER BY image_id").rows() == before
