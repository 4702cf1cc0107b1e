"""Every statement in sql/ can be bound against the schema, and every named query says what it answers."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

import catalog
import sql

ROOT = Path(sql.__file__).parent


@pytest.mark.parametrize("name", sorted(sql.queries()))
def test_named_query_runs_on_an_empty_catalog(name: str, tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "c")
    opened.sql(sql.query(name))
    assert sql.queries()[name].endswith(".")


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.sql")), ids=lambda path: path.name)
def test_every_file_is_sql_that_duckdb_parses(path: Path) -> None:
    text = (
        path.read_text(encoding="utf-8")
        .replace("{where}", "true")
        .replace("{hash}", "")
        .replace("{mode}", "READ_ONLY")
        .replace("{name}", "other")
    )
    text = re.sub(r"\{\w+\}", "SELECT 1 AS value", text)  # every other slot takes a query
    assert duckdb.extract_statements(text)


def test_migrations_are_numbered_without_gaps() -> None:
    versions = [version for version, _ in sql.migrations()]
    assert versions == list(range(1, len(versions) + 1))


@pytest.mark.parametrize("name", ["../schema/0001_tables", "no_such", ""])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(KeyError):
        sql.query(name)
