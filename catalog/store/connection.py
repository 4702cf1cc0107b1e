"""Connections to the database file: opening it, waiting for it, and what may be run on one that only reads."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import duckdb
import polars as pl

from catalog.errors import BadInput, LensError
from catalog.notices import say
from catalog.store import statements
from catalog.store.lock import SAY_SECONDS, WAIT_SECONDS

LACKED = re.compile(r"\b(INTERVAL|UNION)\b")  # types of DuckDB's that polars has not
THROUGH_ARROW = "got external error: "  # what polars says before DuckDB's own words
READS = r"(PIVOT|FROM|SELECT|WITH|\()"


def connect(path: Path, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Open the database, waiting while another program has it open: a commit for as long as it takes, since it must
    not fail a job for somebody's notebook, a query for a minute.

    Raises BadInput for a file that is no such database, LensError if it stays held.
    """
    started = said = time.monotonic()
    while True:
        try:
            connection = duckdb.connect(str(path), read_only=read_only)
            connection.execute(statements.statement("catalog/no_progress_bar"))
            connection.execute(statements.statement("catalog/root"), {"root": f"{path.parent}/"})
            return connection
        except duckdb.IOException as error:
            text = str(error)
            now = time.monotonic()
            if "lock" in text.lower() and (not read_only or now < started + WAIT_SECONDS):
                if now > said + SAY_SECONDS:
                    say(f"waiting for another program to close {path} ({first_line(error)})")
                    said = now
                time.sleep(0.05)
                continue
            if "lock" in text.lower():
                raise LensError(
                    f"{path} is held open by another program ({first_line(error)}); close it and try again"
                ) from None
            if "newer version" in text or "version number" in text:
                raise BadInput(f"{path} was written by another DuckDB: {first_line(error)}") from None
            if "not a valid DuckDB" in text:
                raise BadInput(
                    f"{path} is not a DuckDB file; move it away or name another folder with --catalog"
                ) from None
            raise failed(error, path) from error


def fetch(connection: duckdb.DuckDBPyConnection, text: str, params: Mapping[str, Any]) -> pl.DataFrame:
    """The rows of a query. Raises BadInput for SQL that is wrong."""
    try:
        relation = connection.sql(text, params=dict(params)) if params else connection.sql(text)
        return _frame(relation)
    except Exception as error:
        raise query_failed(error) from None


def _frame(relation: duckdb.DuckDBPyRelation) -> pl.DataFrame:
    """The rows of a relation, handed over as Arrow's C stream: DuckDB's own way imports pyarrow, which takes longer
    than most queries. It is left what that stream cannot do: names that occur twice, and types that polars lacks."""
    columns = relation.columns
    if len(set(columns)) < len(columns) or any(LACKED.search(str(kind)) for kind in relation.types):
        return relation.pl()
    return pl.DataFrame(_Stream(relation))


class _Stream:
    """A relation's rows. Polars keeps the types that it has met for as long as the process lives; met with DuckDB's
    own, it would have DuckDB complain of leaks at the end."""

    def __init__(self, relation: duckdb.DuckDBPyRelation) -> None:
        self._relation = relation

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._relation.__arrow_c_stream__(requested_schema)


def query_failed(error: Exception) -> BadInput:
    """What to raise for an error of DuckDB's, polars' or Arrow's while a query ran; raises anything else again."""
    known = isinstance(error, duckdb.Error | pl.exceptions.PolarsError | UnicodeError)
    if not known and not type(error).__module__.startswith("pyarrow"):
        raise error
    return BadInput(f"the query failed: {first_line(error).removeprefix(THROUGH_ARROW)}")


def refuse_writes(text: str) -> None:
    """Raise BadInput unless `text` is one statement that only reads."""
    inner = re.sub(r"^\s*EXPLAIN\s+(ANALYZE\s+)?", "", text, flags=re.IGNORECASE)
    try:
        found = duckdb.extract_statements(inner)
    except duckdb.Error as error:
        raise BadInput(f"that is not SQL DuckDB can read: {first_line(error)}") from None
    if len(found) != 1:
        raise BadInput(f"a query is one statement; this text holds {len(found)}")
    kind = found[0].type
    if kind == duckdb.StatementType.MULTI and re.match(READS, _without_comments(inner), re.IGNORECASE):
        return  # PIVOT, which DuckDB turns into several statements, as it does COPY (PIVOT ...) TO
    if kind != duckdb.StatementType.SELECT:
        raise BadInput(f"a query only reads; {kind.name} statements are refused")


def failed(error: duckdb.Error, where: Path) -> LensError:
    """What to raise for an error while writing the database."""
    if "No space left" in str(error) or "could not write" in str(error).lower():
        return LensError(
            f"no space left for the catalog at {where}; free some and run the same command again"
        )
    return LensError(f"the catalog at {where} could not be written: {first_line(error)}")


def rollback(connection: duckdb.DuckDBPyConnection) -> None:
    """End a transaction that failed; a failed COMMIT has done so already."""
    try:
        connection.execute("ROLLBACK")
    except duckdb.Error:
        pass


def row(connection: duckdb.DuckDBPyConnection, name: str) -> tuple[Any, ...]:
    """The first row of a statement that gives one."""
    return cast(tuple[Any, ...], connection.execute(statements.statement(name)).fetchone())


def first_line(error: Exception) -> str:
    """The line of an error that says what is wrong, and a suggestion if DuckDB makes one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    keep = lines[:1] + [line for line in lines[1:] if line.startswith(("Candidate", "Did you mean"))][:1]
    return "; ".join(keep)


def _without_comments(text: str) -> str:
    return re.sub(r"^(\s|--[^\n]*\n|/\*.*?\*/)+", "", text, flags=re.DOTALL)
