"""The database file written anew. What is deleted from a table stays in the file, in blocks that are free, until others
fill them; a new file holds what the tables hold and nothing else."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import duckdb

from catalog.errors import LensError
from catalog.store import parts, statements
from catalog.store.connection import connect, failed, row

NEW = ".new"  # the ending of the file under way
LOG = ".wal"  # of DuckDB's, beside its file


def rewrite(database: Path) -> None:
    """Copy all that `database` holds to a new file, and let that take its place at once.

    Call it with the job lock and the commit lock held exclusively. Killed at any time, the file is the old one or the
    new one, whole. The disk needs room for both. Raises LensError where there is none; the old file stays then.
    """
    place = database.resolve()  # a link stays one
    making = _making(place)
    discard(database)
    connection = connect(database, read_only=False)  # waits until no other program has it open
    try:
        try:
            _copy(connection, making)
        except duckdb.Error as error:
            raise failed(error, place) from error
        if _log(place).exists() or _log(making).exists():
            raise LensError(f"{place} still has a log ({LOG}), so it could not be written anew")
        parts.fsync(making)
        shutil.copymode(place, making)
        with suppress(PermissionError):
            os.chown(making, place.stat().st_uid, place.stat().st_gid)
        making.rename(place)  # while the old one is still held: nobody has opened it since it was copied
        parts.fsync(place.parent)
    finally:
        connection.close()
        discard(database)


def discard(database: Path) -> None:
    """Remove what a killed `rewrite` left. Call it with the job lock held."""
    making = _making(database.resolve())
    for path in (making, _log(making)):
        path.unlink(missing_ok=True)


def _copy(connection: duckdb.DuckDBPyConnection, making: Path) -> None:
    connection.execute(statements.statement("rewrite/checkpoint"))
    (name,) = row(connection, "rewrite/name")
    quoted = str(making).replace("'", "''")
    connection.execute(statements.statement("rewrite/attach", path=quoted))
    connection.execute(statements.statement("rewrite/copy", name=name))
    before, after = _contents(connection, name), _contents(connection, "rewritten")
    if before != after:
        raise LensError("a copy of the database lacks something that is in it; it is not used")
    connection.execute(statements.statement("rewrite/detach"))  # which writes all of it into the file


def _contents(connection: duckdb.DuckDBPyConnection, name: str) -> list[tuple[object, ...]]:
    """What a database holds, and the rows of each table."""
    counts = connection.execute(statements.statement("rewrite/contents", name=name)).fetchall()
    for (table,) in connection.execute(statements.statement("rewrite/tables", name=name)).fetchall():
        text = statements.statement("rewrite/rows", name=name, table=table)
        counts += [(table, *rows) for rows in connection.execute(text).fetchall()]
    return counts


def _making(place: Path) -> Path:
    return place.with_name(place.name + NEW)


def _log(path: Path) -> Path:
    return path.with_name(path.name + LOG)
