"""A large catalog keeps `trainable` as a table: the same answers, never stale, and never in the way."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import polars as pl
import pytest

import catalog
from catalog import metrics
from catalog.store import parts, snapshot, statements
from catalog.store.lock import busy
from tests.helpers import commit_scores

QUERIES = (
    "FROM trainable ORDER BY image_id",
    "FROM judged_at_defaults ORDER BY image_id",
    "FROM funnel",
    statements.query("buckets"),
)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch, filled: catalog.Catalog) -> catalog.Catalog:
    """Twelve images are many."""
    monkeypatch.setattr(snapshot, "LEAST_IMAGES", 12)
    monkeypatch.setattr(snapshot, "BLOCK_IMAGES", 5)
    return filled


def kept(opened: catalog.Catalog) -> list[Path]:
    return sorted((opened.root / snapshot.FOLDER).glob("trainable-*"))


def test_a_small_catalog_has_none(filled: catalog.Catalog) -> None:
    assert len(filled.select().frame()) == 8
    assert kept(filled) == []


def test_the_answers_are_the_same(filled: catalog.Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [filled.sql(text) for text in QUERIES] + [filled.select().frame(), filled.select().overlaps()]
    monkeypatch.setattr(snapshot, "LEAST_IMAGES", 12)
    monkeypatch.setattr(snapshot, "BLOCK_IMAGES", 5)
    for _ in range(2):  # the one that makes it and one that finds it
        after = [filled.sql(text) for text in QUERIES] + [filled.select().frame(), filled.select().overlaps()]
        assert all(a.equals(b) for a, b in zip(before, after, strict=True))
        assert len(kept(filled)) == 1


def test_a_selection_that_names_scorers_has_one_of_its_own(
    filled: catalog.Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_scores(filled, {image_id: {"aesthetic": image_id / 2} for image_id in range(1, 13)}, "other")
    named = {"aesthetic": "other"}
    before = [
        (chosen.frame(), chosen.funnel())
        for chosen in (
            filled.select(),
            filled.select(scorers=named),
            filled.select(scorers={"aesthetic": "test@1"}),
        )
    ]
    assert len(before[0][0]) > len(before[1][0]) > 0
    monkeypatch.setattr(snapshot, "LEAST_IMAGES", 12)
    for _ in range(2):
        plain, other = filled.select(), filled.select(scorers=named)
        for chosen, (frame, funnel) in zip((plain, other), before, strict=False):
            assert chosen.frame().equals(frame)
            assert chosen.funnel().equals(funnel)
        assert len(kept(filled)) == 2
    commit_scores(filled, {1: {"nsfw": 0.2}})
    filled.select().frame()
    assert len(kept(filled)) == 1


def test_a_commit_outdates_it(large: catalog.Catalog) -> None:
    assert large.sql("SELECT count(*) FROM trainable WHERE nsfw < 0.5").item() == 12
    first = kept(large)
    part = parts.write(large.root, "takedown", "takedown-1", pl.DataFrame({"image_id": [1, 2, 3]}))
    assert large.commit_part("takedown", part, ["remove/scores"])
    assert large.sql("SELECT count(*) FROM trainable WHERE nsfw < 0.5").item() == 9
    assert len(kept(large)) == 1
    assert kept(large) != first


def test_so_does_another_programs_change(large: catalog.Catalog) -> None:
    assert large.sql("SELECT count(*) FROM trainable WHERE nsfw < 0.5").item() == 12
    with duckdb.connect(str(large.root / "catalog.duckdb")) as connection:
        connection.execute("UPDATE measured SET value_1 = 0.9 WHERE image_id <= 4")
    assert large.sql("SELECT count(*) FROM trainable WHERE nsfw < 0.5").item() == 8


def test_even_if_it_sets_the_time_back(large: catalog.Catalog) -> None:
    path = large.root / "catalog.duckdb"
    assert large.sql("SELECT count(*) FROM trainable WHERE nsfw < 0.5").item() == 12
    before = path.stat()
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE measured SET value_1 = 0.9 WHERE image_id <= 4")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert large.sql("SELECT count(*) FROM trainable WHERE nsfw < 0.5").item() == 8


def test_only_queries_over_all_images_make_it(large: catalog.Catalog) -> None:
    from lensdata.ask import why

    large.sql("SELECT count(*) FROM images WHERE ingested_at IS NOT NULL")
    large.sql("FROM trainable WHERE image_id = 3")
    why(large.select(), 3)
    assert kept(large) == []


def test_a_job_that_fills_the_catalog_makes_none(large: catalog.Catalog) -> None:
    with large.job("score"):
        assert busy(large.root)
        assert len(large.select().frame()) == 8
        assert kept(large) == []
    assert not busy(large.root)
    assert len(large.select().frame()) == 8
    assert len(kept(large)) == 1


def test_the_holder_of_a_stale_job_lock_does_not_count(large: catalog.Catalog) -> None:
    (large.root / ".job-lock").write_text('{"pid": 4194304999, "job": "score"}')
    assert not busy(large.root)
    (large.root / ".job-lock").write_text("half")
    assert not busy(large.root)


def test_a_folder_that_takes_no_file_only_costs_time(large: catalog.Catalog) -> None:
    (large.root / snapshot.FOLDER).write_text("in the way")
    assert len(large.select().frame()) == 8


def test_a_damaged_one_is_removed_and_made_again(large: catalog.Catalog, capsys) -> None:
    large.select().frame()
    [path] = kept(large)
    path.write_bytes(b"garbage" * 5_000)
    assert len(large.select().frame()) == 8
    assert "cannot be used" in capsys.readouterr().err
    assert kept(large) == []
    assert len(large.select().frame()) == 8
    assert kept(large) == [path]


def test_what_a_killed_process_left_is_removed(large: catalog.Catalog) -> None:
    large.select().frame()
    [path] = kept(large)
    half = path.with_name(f"{path.stem}-making.tmp")
    path.rename(half)
    half.with_name(f"{half.name}.wal").write_bytes(b"half")
    assert len(large.select().frame()) == 8
    assert kept(large) == [path]


def test_while_another_process_makes_it_queries_join(large: catalog.Catalog) -> None:
    folder = large.root / snapshot.FOLDER
    folder.mkdir()
    with snapshot._alone(folder) as alone:
        assert alone
        assert len(large.select().frame()) == 8
        assert kept(large) == []


def test_threads_may_ask_at_once(large: catalog.Catalog) -> None:
    found: list[pl.DataFrame] = []
    threads = [threading.Thread(target=lambda: found.append(large.select().frame())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4
    assert all(frame.equals(found[0]) for frame in found)


def test_a_reader_of_a_catalog_with_older_views_has_the_present_ones(filled: catalog.Catalog) -> None:
    expected = filled.select().funnel()
    with duckdb.connect(str(filled.root / "catalog.duckdb")) as connection:
        connection.execute("DROP MACRO TABLE overlaps_at")
        connection.execute("CREATE OR REPLACE VIEW funnel AS SELECT 'old' AS rule")
        connection.execute(statements.statement("catalog/views_mark_set", hash="older"))
    reader = catalog.open(filled.root, read_only=True)
    assert reader.sql("FROM funnel").equals(expected)
    assert len(reader.select().overlaps()) == len(metrics.rules())
    assert catalog.open(filled.root).sql("FROM funnel").equals(expected)  # for good
    assert catalog.open(filled.root, read_only=True).sql("FROM funnel").equals(expected)


def test_a_catalog_that_lost_its_database_may_keep_a_cache(large: catalog.Catalog) -> None:
    large.select().frame()
    for path in large.root.iterdir():
        if path.name != snapshot.FOLDER and not path.is_dir():
            path.unlink()
    assert catalog.open(large.root).sql("SELECT count(*) FROM trainable").item() == 0


def test_kill_9_while_it_is_made(large: catalog.Catalog) -> None:
    code = """
import os, sys
import catalog
from catalog.store import snapshot

run = snapshot._run
def killed(connection, statement, *rest, **more):
    if statement == "snapshot/detach":
        os.kill(os.getpid(), 9)
    run(connection, statement, *rest, **more)

snapshot._run, snapshot.LEAST_IMAGES = killed, 1
catalog.open(sys.argv[1], read_only=True).select().frame()
"""
    root = Path(catalog.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code, str(large.root)], cwd=root, check=False)
    assert done.returncode == -9
    assert any(path.suffix != ".duckdb" for path in kept(large))
    assert len(large.select().frame()) == 8
    assert [path.suffix for path in kept(large)] == [".duckdb"]
