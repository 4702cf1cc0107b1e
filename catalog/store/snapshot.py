"""The view `trainable` of a large catalog, kept as a table: what a selection costs is then a scan and not five joins.

CATALOG/cache/trainable-KEY.duckdb may be deleted at any time. KEY is the state of the database file, whoever wrote to
it, so a snapshot is never stale; one of another state is removed when the next is made. Where a selection names scorers
their ids follow, for these see other values. It appears whole or not at
all. Where it cannot be made (a disk that is full or may only be read) queries join as they do in a small catalog.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

import duckdb

from catalog.errors import one_line
from catalog.notices import say
from catalog.store import lock, statements

FOLDER = "cache"
NONE: Mapping[str, int] = MappingProxyType({})
LEAST_IMAGES = 500_000  # below this the joins take tenths of a second
BLOCK_IMAGES = 8 * 122_880  # eight of DuckDB's row groups
OVER_IT = re.compile(
    r"\b(trainable|judged(_at_defaults)?|funnel(_at)?|overlaps_at|combinations_at)\b", re.IGNORECASE
)
# Here zone maps spare reading the rest of the tables.
OF_FEW = re.compile(r"\bimage_id\s*(=|BETWEEN)\s*[$\d]", re.IGNORECASE)


def use(
    connection: duckdb.DuckDBPyConnection, database: Path, text: str, scorers: Mapping[str, int] = NONE
) -> None:
    """Let `connection`, which reads `database`, find `trainable` in the snapshot of its present state if the query
    `text` is over it. With `scorers` its view is a temporary one, by these.

    One is made if there is none, the query is over all images, and no job is filling the catalog, whose next part
    would outdate it.
    """
    if not OVER_IT.search(text):
        return
    state = f"trainable-{_key(database)}"
    named = "".join(f"-{scorer}" for scorer in sorted(scorers.values()))
    path = database.parent / FOLDER / f"{state}{named}.duckdb"
    with suppress(OSError):
        if path.is_file() or (
            not OF_FEW.search(text)
            and not lock.busy(database.parent)
            and _range(connection)[0] >= LEAST_IMAGES
            and _make(connection, path, state, "temp" if scorers else "main")
        ):
            _attach(connection, path)


def remove(root: Path, but: str = "") -> None:
    """Delete the snapshots of the catalog at `root`, but not those of the state `but`: after a takedown they still hold
    what was taken down."""
    for path in (root / FOLDER).glob("trainable-*"):
        if not but or not path.name.startswith(but):
            path.unlink(missing_ok=True)


def _key(database: Path) -> str:
    """A digest of what changes whenever the database does, and of the views' texts."""
    found: list[object] = [statements.views_key()]
    for path in (database, database.with_name(f"{database.name}.wal")):
        with suppress(FileNotFoundError):
            state = path.stat()
            # ctime, too: nobody can set it back, as a copy into place or a restored time does with mtime.
            found.append((path.name, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns))
    return hashlib.sha256(repr(found).encode()).hexdigest()[:16]


def _range(connection: duckdb.DuckDBPyConnection) -> tuple[int, int, int]:
    """(how many images there are, the first id, the last)."""
    return connection.execute(statements.statement("snapshot/images_range")).fetchall()[0]


def _attach(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    try:
        _run(connection, "snapshot/attach", path, mode="READ_ONLY")
        _run(connection, "snapshot/use", path)
    except duckdb.Error as error:
        say(f"{path} cannot be used ({one_line(error)}); it is removed")
        path.unlink()


def _make(connection: duckdb.DuckDBPyConnection, path: Path, state: str, home: str) -> bool:
    """Write the snapshot of the view `trainable` in `home`, unless another process is at it. False if there is none
    then."""
    path.parent.mkdir(exist_ok=True)
    with _alone(path.parent) as alone:
        if not alone or path.is_file():
            return path.is_file()
        remove(path.parents[1], state)
        making = path.with_name(f"{path.stem}-making.tmp")
        making.unlink(missing_ok=True)
        try:
            images, first, last = _range(connection)
            say(f"putting {images} images into one table for this and further queries ({path.parent})")
            _run(connection, "snapshot/attach", making, mode="READ_WRITE")
            _run(connection, "snapshot/create", making, home=home)
            for start in range(first, last + 1, BLOCK_IMAGES):
                block = {"first": start, "last": min(start + BLOCK_IMAGES - 1, last)}
                connection.execute(
                    statements.statement("snapshot/fill", name=_name(making), home=home), block
                )
            _run(connection, "snapshot/detach", making)
        except duckdb.Error as error:
            say(f"no snapshot could be written ({one_line(error)}); queries take longer without it")
            with suppress(duckdb.Error):
                _run(connection, "snapshot/detach", making)
            making.unlink(missing_ok=True)
            return False
        making.rename(path)
    return True


def _run(connection: duckdb.DuckDBPyConnection, statement: str, path: Path, **slots: str) -> None:
    quoted = str(path).replace("'", "''")
    connection.execute(statements.statement(statement, path=quoted, name=_name(path), **slots))


def _name(path: Path) -> str:
    """What a file is attached as. All connections of a process to one database share what any of them attaches, so
    each state has a name of its own."""
    return path.stem.replace("-", "_")


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether no other process writes a snapshot; the lock goes with the process."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
