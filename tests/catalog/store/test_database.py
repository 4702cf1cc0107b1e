"""Opening, migrating, querying and committing a catalog, with other processes in the way."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import polars as pl
import pytest

import catalog
from catalog.errors import BadInput, LensError
from catalog.store import parts, statements
from catalog.store.database import Statement
from catalog.store.lock import commit_lock

TABLES = {
    "images", "scores", "clusters", "captions", "buckets", "embeddings", "manifests", "shards", "taxonomy",
    "rl_prompts", "rubrics", "llm_calls", "runs", "rewards", "scorers", "parts",
}  # fmt: skip


def bucket_part(opened: catalog.Catalog, name: str, ids: list[int]) -> Path:
    frame = pl.DataFrame({"image_id": ids, "base": 512, "aspect": "1:1", "width": 512, "height": 512})
    return parts.write(opened.root, "bucket", name, frame)


def test_a_new_catalog_has_every_table_and_view(tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "c")
    assert set(opened.sql("SHOW TABLES")["name"]) >= TABLES | {"trainable", "funnel", "thresholds"}
    for name in TABLES - {"parts"}:
        assert opened.sql(f"SELECT count(*) FROM {name}").item() == 0


def test_plain_duckdb_opens_it(filled: catalog.Catalog) -> None:
    with duckdb.connect(str(filled.root / "catalog.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM trainable WHERE is_keeper").fetchone() == (12,)


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no catalog"):
        catalog.open(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()


def test_a_folder_of_other_files_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(BadInput, match="holds other files"):
        catalog.open(tmp_path)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    root = catalog.open(tmp_path / "c").root
    (root / "catalog.duckdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(BadInput, match="not a DuckDB file"):
        catalog.open(root, read_only=True)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    root = catalog.open(tmp_path / "c").root
    newest = statements.versions()[-1]
    with duckdb.connect(str(root / "catalog.duckdb")) as connection:
        connection.execute(statements.statement("catalog/schema_version_add"), {"version": newest + 1})
    for read_only in (True, False):
        with pytest.raises(BadInput, match="newer Lens"):
            catalog.open(root, read_only=read_only)


def older_catalog(root: Path, version: int) -> None:
    """A catalog as the Lens of that schema version made it, with one image, its scores and its bucket."""
    for folder in ("parts", "embeddings", "manifests"):
        (root / folder).mkdir(parents=True)
    with duckdb.connect(str(root / "catalog.duckdb")) as connection:
        connection.execute(statements.statement("catalog/schema_versions_create"))
        for number in (number for number in statements.versions() if number <= version):
            connection.execute(statements.migration(number, scorers=[]))
            connection.execute(statements.statement("catalog/schema_version_add"), {"version": number})
        connection.execute(
            "INSERT INTO images (image_id, source, uri, byte_offset, byte_length, status, alt_text, ingested_at) "
            "VALUES (1, 's', '/a.png', 0, 9, 'ok', 'told', now()::TIMESTAMP)"
        )
        connection.execute("INSERT INTO buckets VALUES (1, 512, '1:1', 512, 512)")
        connection.execute("INSERT INTO parts VALUES (1, 'p1', 'bucket', 1, now()::TIMESTAMP)")
        if version >= 3:
            for number, metric in ((1, "nsfw"), (3, "aesthetic")):
                connection.execute(statements.statement("score/scorer_columns", id=number))
                connection.execute(
                    "INSERT INTO scorers VALUES ($1, $2, 'model', '1', 'none', 'light', now()::TIMESTAMP, true)",
                    [number, metric],
                )
            connection.execute(
                "INSERT INTO measured (image_id, value_1, error_3, phash) VALUES (1, 0.25, 'corrupt: no', 7)"
            )
        else:
            for number, metric in enumerate(("nsfw", "aesthetic", "aesthetic"), 1):
                connection.execute(
                    f"INSERT INTO scorers VALUES ({number}, '{metric}', 'model', '{number}', 'none', 'light', "
                    "now()::TIMESTAMP)"
                )
            connection.execute(
                "INSERT INTO scores (image_id, nsfw, nsfw_state, nsfw_scorer, aesthetic_state, aesthetic_error, "
                "aesthetic_scorer, phash) VALUES (1, 0.25, 'scored', 1, 'failed', 'corrupt: no', 3, 7)"
            )


@pytest.mark.parametrize("version", statements.versions()[:-1])
def test_an_older_schema_is_migrated_when_opened_for_writing(tmp_path: Path, version: int) -> None:
    root = tmp_path / "old"
    older_catalog(root, version)
    with pytest.raises(BadInput, match=f"has schema {version} .*`lensdata migrate`") as caught:
        catalog.open(root, read_only=True)
    assert "\n" not in str(caught.value)
    for _ in range(2):
        migrated = catalog.open(root)
        row = migrated.sql("SELECT uri, alt_text, brief_text, dense_text FROM images").row(0)
        assert row == ("/a.png", "told", None, None)
        assert migrated.sql("SELECT count(*) FROM trainable WHERE base = 512").item() == 1
        scores = migrated.sql("FROM scores").row(0, named=True)
        assert (scores["nsfw"], scores["nsfw_state"], scores["nsfw_scorer"]) == (0.25, "scored", 1)
        assert (scores["aesthetic"], scores["aesthetic_state"]) == (None, "failed")
        assert (scores["aesthetic_error"], scores["aesthetic_scorer"]) == ("corrupt: no", 3)
        assert (scores["clarity"], scores["clarity_state"], scores["phash"]) == (None, None, 7)
    assert catalog.open(root, read_only=True).version == 1
    with duckdb.connect(str(root / "catalog.duckdb"), read_only=True) as connection:
        found = connection.execute("SELECT version FROM schema_versions ORDER BY 1").fetchall()
    assert found == [(number,) for number in statements.versions()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("DELETE FROM images", "DELETE statements are refused"),
        ("INSERT INTO buckets VALUES (1, 1, 'a', 1, 1)", "INSERT"),
        ("COPY images TO 'stolen.csv'", "COPY"),
        ("EXPLAIN ANALYZE COPY images TO 'stolen.csv'", "COPY"),
        ("COPY (PIVOT images ON format USING count(*)) TO 'stolen.csv'", "MULTI"),
        ("/* x */ -- y\nCREATE TEMP TABLE t AS PIVOT images ON format USING count(*)", "MULTI"),
        ("ATTACH 'other.duckdb'", "ATTACH"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("", "one statement"),
        ("SELEC 1", "not SQL"),
        ("SELECT nothing FROM images", "nothing"),
    ],
)
def test_sql_only_reads(tmp_path: Path, text: str, message: str) -> None:
    opened = catalog.open(tmp_path / "c")
    with pytest.raises(BadInput, match=message) as caught:
        opened.sql(text)
    assert "\n" not in str(caught.value)


def test_sql_takes_parameters_and_gives_polars(filled: catalog.Catalog) -> None:
    rows = filled.sql("SELECT image_id FROM images WHERE width = $width ORDER BY image_id", width=480)
    assert rows["image_id"].to_list() == [2, 5, 8, 11]
    assert filled.sql("PIVOT buckets ON base USING count(*)").width > 0


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1 AS a, 2 AS a, 3 AS b", "SELECT 1 AS a WHERE false", "SHOW TABLES", "DESCRIBE images",
        "FROM trainable",
        "SELECT [1, 2] AS l, {'x': 1, 'y': [TRUE]} AS s, MAP {'k': 1} AS m, 1.5::DECIMAL(10, 2) AS d, 'a'::BLOB AS b",
        "SELECT DATE '2020-01-01' AS d, TIMESTAMPTZ '2020-01-01 10:00:00+01' AS z, TIME '10:00' AS t, NULL AS n",
        "SELECT 7::HUGEINT AS h, 7::UTINYINT AS u, 'nan'::FLOAT AS f, 'x'::ENUM('x', 'y') AS e, '{}'::JSON AS j",
        "SELECT i, i::VARCHAR AS s FROM range(300_000) t(i)", "SELECT 1 AS \"INTERVAL\"",
    ],
)  # fmt: skip
def test_rows_come_as_duckdbs_own_way_gives_them(filled: catalog.Catalog, text: str) -> None:
    with duckdb.connect(str(filled.root / "catalog.duckdb"), read_only=True) as connection:
        wanted = connection.sql(text).pl()
    found = filled.sql(text)
    assert found.schema == wanted.schema
    assert found.equals(wanted)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SELECT INTERVAL 1 DAY", "interval"), ("SELECT union_value(k := 1)", "Union"),
        ("SELECT CASE WHEN i = 99999 THEN error('boom') ELSE 'x' END FROM range(100_000) t(i)",
         "the query failed: Invalid Input Error: boom"),
    ],
)  # fmt: skip
def test_rows_that_cannot_come_are_one_line(filled: catalog.Catalog, text: str, told: str) -> None:
    with pytest.raises(BadInput, match=told) as caught:
        filled.sql(text)
    assert "\n" not in str(caught.value)


def test_a_query_goes_to_a_file_as_it_would_come(filled: catalog.Catalog, tmp_path: Path) -> None:
    text = "SELECT image_id, uri, $word AS word FROM images ORDER BY image_id DESC"
    filled.export(text, tmp_path / "it's.parquet", 2048, word="x")
    assert pl.read_parquet(tmp_path / "it's.parquet").equals(filled.sql(text, word="x"))
    for wrong in ("DELETE FROM images", "SELECT nothing FROM images", "SELECT 1) TO 'x.csv' --"):
        with pytest.raises(BadInput):
            filled.export(wrong, tmp_path / "other.parquet", 2048)
    with pytest.raises(LensError, match="no space left"):
        filled.export("FROM images", Path("/dev/full"), 2048)


def test_a_session_sees_one_state_over_one_connection(filled: catalog.Catalog, monkeypatch) -> None:
    opened = []
    real = duckdb.connect
    monkeypatch.setattr(
        duckdb, "connect", lambda *args, **options: opened.append(args) or real(*args, **options)
    )
    with filled.session():
        assert filled.version == filled.version
        assert filled.sql("SELECT count(*) FROM images").item() == 12
        with pytest.raises(AssertionError, match="wait for itself"):
            filled.commit("x", "y", 0, [])
    assert len(opened) == 1
    assert filled.version == filled.version
    assert len(opened) == 3
    assert filled.commit("x", "y", 0, [])


def test_a_reader_may_leave_the_check_to_its_first_query(tmp_path: Path) -> None:
    root = catalog.open(tmp_path / "c").root
    newest = statements.versions()[-1]
    with duckdb.connect(str(root / "catalog.duckdb")) as connection:
        connection.execute(statements.statement("catalog/schema_version_add"), {"version": newest + 1})
    for read_only in (True, False):
        opened = catalog.open(root, read_only=read_only, at_once=False)
        with pytest.raises(BadInput, match="newer Lens"):
            opened.sql("SELECT 1 AS one")
    with pytest.raises(BadInput, match="newer Lens"):
        catalog.open(root, at_once=False).commit("x", "y", 0, [])
    with pytest.raises(BadInput, match="there is no catalog"):
        catalog.open(tmp_path / "none", read_only=True, at_once=False)


@pytest.mark.parametrize("first", ["query", "commit"])
def test_a_writer_may_migrate_with_its_first_work(tmp_path: Path, first: str) -> None:
    older_catalog(tmp_path / "old", 1)
    opened = catalog.open(tmp_path / "old", at_once=False)
    if first == "commit":
        assert opened.commit("x", "y", 0, [])
    assert opened.sql("SELECT count(*) FROM trainable WHERE base = 512").item() == 1


def test_a_slow_query_draws_no_bar_among_its_rows(tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "c")
    assert opened.sql("SELECT current_setting('enable_progress_bar')").item() is False


def test_a_part_is_committed_exactly_once(tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "c")
    assert opened.commit_part("bucket", bucket_part(opened, "p1", [1, 2]), ["bucket/part"])
    before = opened.version
    again = bucket_part(opened, "p1", [1, 2])
    assert not opened.commit_part("bucket", again, ["bucket/part"])
    assert not again.exists()
    assert opened.sql("SELECT count(*) FROM buckets").item() == 2
    assert opened.version == before


def test_a_failed_commit_leaves_nothing(tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "c")
    part = bucket_part(opened, "p1", [1])
    missing = {"part": str(tmp_path / "no.parquet")}
    with pytest.raises(LensError):
        opened.commit(
            "bucket",
            "p1",
            1,
            [Statement("bucket/part", {"part": str(part)}), Statement("bucket/part", missing)],
        )
    assert opened.sql("SELECT count(*) FROM buckets").item() == 0
    assert opened.version == 0


def test_a_query_waits_for_a_commit_and_a_commit_for_a_query(tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "c")
    seen = []
    with commit_lock(opened.root, exclusive=True):
        thread = threading.Thread(target=lambda: seen.append(opened.sql("SELECT 1 AS one").item()))
        thread.start()
        time.sleep(0.2)
        assert not seen
    thread.join(10)
    assert seen == [1]


def test_readers_do_not_exclude_one_another(tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "c")
    with commit_lock(opened.root, exclusive=False):
        assert opened.sql("SELECT 1 AS one").item() == 1


def test_another_programs_write_connection_is_waited_for(tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "c")
    code = (
        "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); print('open', flush=True); time.sleep(1)"
    )
    line = [sys.executable, "-c", code, str(opened.root / "catalog.duckdb")]
    with subprocess.Popen(line, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert opened.commit_part("bucket", bucket_part(opened, "p1", [1]), ["bucket/part"])


def test_one_job_at_a_time(tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "c")
    with (
        opened.job("score"),
        pytest.raises(BadInput, match="being filled by `score`"),
        catalog.open(opened.root).job("dedup"),
    ):
        pass
    with opened.job("dedup"):  # let go with its block
        pass


def test_a_read_only_catalog_cannot_commit(filled: catalog.Catalog) -> None:
    reader = catalog.open(filled.root, read_only=True)
    with pytest.raises(LensError, match="read-only"):
        reader.commit("x", "y", 0, [])


def test_a_catalog_that_lost_its_database_is_not_filled_anew(tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "c")
    bucket_part(opened, "p1", [1])
    (opened.root / "catalog.duckdb").unlink()
    with pytest.raises(BadInput, match=r"lost its catalog\.duckdb"):
        catalog.open(opened.root)


def test_a_part_that_is_no_part_is_set_aside(tmp_path: Path, capsys) -> None:
    opened = catalog.open(tmp_path / "c")
    good = bucket_part(opened, "p1", [1])
    (good.parent / "p0.parquet").write_bytes(b"garbage")
    assert parts.waiting(opened.root, "bucket") == [good]
    assert "set aside as p0.bad" in capsys.readouterr().err
    assert (good.parent / "p0.bad").exists()


def test_a_commit_outwaits_a_reader_that_keeps_the_file_open(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("catalog.store.connection.WAIT_SECONDS", 0.1)
    opened = catalog.open(tmp_path / "c")
    code = (
        "import duckdb, sys, time; c = duckdb.connect(sys.argv[1], read_only=True); print('open', flush=True);"
        "time.sleep(1.5)"
    )
    line = [sys.executable, "-c", code, str(opened.root / "catalog.duckdb")]
    with subprocess.Popen(line, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert opened.commit_part("bucket", bucket_part(opened, "p1", [1]), ["bucket/part"])


def test_a_folder_name_that_is_none(tmp_path: Path) -> None:
    for name in (tmp_path / ("x" * 300), tmp_path / "g\udcff"):
        with pytest.raises(BadInput, match="cannot name a folder"):
            catalog.open(name)
