"""The database file written anew holds all that it held, and nothing of what was deleted."""

from __future__ import annotations

from pathlib import Path

import duckdb

import catalog

OWN = """
CREATE SCHEMA "the team's";
CREATE TABLE "the team's"."a ""quoted"" table" (id INTEGER PRIMARY KEY, text VARCHAR DEFAULT 'none');
INSERT INTO "the team's"."a ""quoted"" table" SELECT range, 'text ' || range FROM range(1000);
COMMENT ON TABLE "the team's"."a ""quoted"" table" IS 'kept by us';
CREATE INDEX by_text ON "the team's"."a ""quoted"" table" (text);
CREATE SEQUENCE numbers START 5;
CREATE MACRO doubled(x) AS 2 * x;
CREATE VIEW of_ours AS SELECT doubled(image_id) AS twice FROM images;
CREATE TABLE notes (text VARCHAR);
INSERT INTO notes SELECT 'SECRETTEXT ' || range FROM range(3);
DELETE FROM notes WHERE text LIKE '%1';
"""
HELD = (
    "SELECT schema_name, table_name, sql, comment FROM duckdb_tables() WHERE NOT internal ORDER BY ALL",
    "SELECT view_name, sql, comment FROM duckdb_views() WHERE NOT internal ORDER BY ALL",
    "SELECT function_name, macro_definition FROM duckdb_functions() WHERE NOT internal ORDER BY ALL",
    "SELECT index_name, sql FROM duckdb_indexes() ORDER BY ALL",
    "SELECT sequence_name, sql FROM duckdb_sequences() ORDER BY ALL",
    """SELECT count(*), sum(id) FROM "the team's"."a ""quoted"" table" """,
    "FROM of_ours ORDER BY ALL",
    "SELECT count(*) FROM trainable",
)


def held(root: Path) -> list[list[tuple[object, ...]]]:
    with duckdb.connect(str(root / "catalog.duckdb")) as connection:
        return [connection.execute(text).fetchall() for text in HELD]


def test_all_stays_but_what_was_deleted(filled: catalog.Catalog) -> None:
    with duckdb.connect(str(filled.root / "catalog.duckdb")) as connection:
        connection.execute(OWN)
    database = filled.root / "catalog.duckdb"
    before, version = held(filled.root), filled.version
    assert b"SECRETTEXT 1" in database.read_bytes()
    with filled.job("remove"):
        filled.rewrite()
    assert b"SECRETTEXT 1" not in database.read_bytes()
    assert held(filled.root) == before
    assert filled.version == version
    with duckdb.connect(str(database)) as connection:
        assert connection.execute("SELECT nextval('numbers')").fetchall() == [(5,)]
        assert connection.execute("SELECT text FROM notes ORDER BY 1").fetchall() == [
            ("SECRETTEXT 0",), ("SECRETTEXT 2",),
        ]  # fmt: skip


def test_a_link_stays_a_link(filled: catalog.Catalog, tmp_path: Path) -> None:
    database, elsewhere = filled.root / "catalog.duckdb", tmp_path / "disk" / "the.duckdb"
    elsewhere.parent.mkdir()
    database.rename(elsewhere)
    database.symlink_to(elsewhere)
    with filled.job("remove"):
        filled.rewrite()
    assert database.is_symlink()
    assert [path.name for path in elsewhere.parent.iterdir()] == ["the.duckdb"]
    assert filled.sql("SELECT count(*) FROM images").item() == 12


def test_what_a_killed_rewrite_left_goes_with_the_next_job(filled: catalog.Catalog) -> None:
    left = [filled.root / "catalog.duckdb.new", filled.root / "catalog.duckdb.new.wal"]
    for path in left:
        path.write_bytes(b"half")
    with filled.job("bucket"):
        assert not any(path.exists() for path in left)
