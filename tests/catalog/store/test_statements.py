"""Every statement in sql/ can be bound against the schema, and every named query says what it answers."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

import catalog
from catalog import metrics
from catalog.store import statements

ROOT = statements.ROOT


@pytest.mark.parametrize("name", sorted(statements.queries()))
def test_named_query_runs_on_an_empty_catalog(name: str, tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "c")
    opened.sql(statements.query(name))
    assert statements.queries()[name].endswith(".")


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.sql")), ids=lambda path: path.name)
def test_every_file_is_sql_that_duckdb_parses(path: Path) -> None:
    slots = {
        "where": "true", "hash": "", "mode": "READ_ONLY", "name": "other", "path": "x", "id": 1,
        "metric": metrics.METRICS[0],
        "tiers": {},
        "scorers": [(1, "nsfw"), (2, "clarity")] if path.parent.name == "schema" else [1, 2],
        "in_use": {"nsfw": 1}, "columns": ["nsfw", "warmth"], "rows": 1, "column": "source", "of_header": False,
        "resumed": True, "home": "main", "table": "images",
    }  # fmt: skip
    queries = dict.fromkeys(("values", "selected", "select", "pairs"), "SELECT 1 AS value")
    assert duckdb.extract_statements(statements._filled(path.read_text(encoding="utf-8"), slots | queries))


def test_migrations_are_numbered_without_gaps() -> None:
    assert statements.versions() == tuple(range(1, len(statements.versions()) + 1))


@pytest.mark.parametrize("name", ["../schema/0001_tables", "no_such", ""])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(KeyError):
        statements.query(name)
