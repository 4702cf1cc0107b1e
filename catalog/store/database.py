"""The catalog's database: opening and migrating it, read-only queries, and commits that happen exactly once."""

from __future__ import annotations

import copy
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import duckdb
import polars as pl

from catalog.errors import BadInput, LensError
from catalog.store import parts, rewrite, schema, snapshot, statements
from catalog.store.connection import connect, failed, fetch, query_failed, refuse_writes, rollback
from catalog.store.lock import LOCKS, commit_lock, job_lock

DATABASE = "catalog.duckdb"
FOLDERS = ("parts", "embeddings", "manifests")


@dataclass(frozen=True)
class Statement:
    """A file of sql/statements with the values of its `$parameters` and of its slots."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    slots: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return statements.statement(self.name, **self.slots)

    @property
    def used(self) -> dict[str, Any]:
        """The parameters that the text mentions; DuckDB refuses others."""
        mentioned = set(re.findall(r"\$(\w+)", self.text))
        return {key: value for key, value in self.params.items() if key in mentioned}


class Database:
    """A catalog's folder and the database in it. It holds no connection: each query and each commit opens the file for
    just that long. So a query works while a job runs, and nothing is lost with a process that dies.
    """

    def __init__(self, path: str | Path, read_only: bool = False, at_once: bool = True) -> None:
        """Open the folder `path`: see `catalog.open`."""
        self.root = _absolute(path)
        self.read_only = read_only
        self._current: bool | None = None  # whether schema and views are this Lens's; None: not looked at yet
        self._scorers: Mapping[str, int] = schema.NONE
        self._shared: dict[int, duckdb.DuckDBPyConnection] = {}  # of a `session`, by its thread
        if self.root.exists() and not self.root.is_dir():
            raise BadInput(f"{self.root} is a file; a catalog is a folder")
        if not (self.root / DATABASE).is_file():
            if read_only:
                raise BadInput(
                    f"there is no catalog at {self.root}; make one with `lensdata --catalog {path} ingest FOLDER`"
                )
            _require_empty(self.root)
            for folder in FOLDERS:
                (self.root / folder).mkdir(parents=True, exist_ok=True)
        exists = (self.root / DATABASE).is_file()
        if at_once or not exists:
            with self._connected() if exists else self._writing():
                pass

    # ---- reading

    def sql(self, text: str, **params: Any) -> pl.DataFrame:
        """Run one read-only statement with `$name` parameters and return its rows.

        Raises BadInput for SQL that is wrong or would write.
        """
        refuse_writes(text)
        with self._reading(text) as connection:
            return fetch(connection, text, params)

    def export(self, text: str, path: Path, rows: int, **params: Any) -> None:
        """As `sql`, to a Parquet file with `rows` rows a group: memory need not hold the result, nor Python see it."""
        refuse_writes(text)
        quoted = str(path).replace("'", "''")
        copy = statements.statement("catalog/export", select=text, path=quoted, rows=rows)
        with self._reading(text) as connection:
            try:
                connection.execute(copy, params)
            except duckdb.IOException as error:
                raise failed(error, self.root) from None
            except Exception as error:
                raise query_failed(error) from None
        parts.fsync(path)

    def named(self, name: str, slots: Mapping[str, Any] | None = None, /, **params: Any) -> pl.DataFrame:
        """The rows of `sql/statements/NAME.sql`, its `slots` filled."""
        text = statements.statement(name, **(slots or {}))
        with self._reading(text) as connection:
            return fetch(connection, text, params)

    def query(self, name: str, params: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        """As `named`, with polars frames visible as tables of the given names."""
        text = statements.statement(name)
        with self._reading(text) as connection:
            for table, frame in tables.items():
                connection.register(table, frame.to_arrow())
            return fetch(connection, text, params)

    @property
    def version(self) -> int:
        """Counts the catalog's states: one more for every part committed."""
        return int(self.named("catalog/version").item())

    def judged_by(self, scorers: Mapping[str, int]) -> Self:
        """This catalog with views that show for some metrics (-> scorer_id) another scorer than the one in use."""
        other = copy.copy(self)
        other._scorers, other._shared = dict(scorers), {}
        return other

    # ---- writing

    @contextmanager
    def job(self, stage: str, resumes: bool = False, outdates: Sequence[str] = ()) -> Iterator[None]:
        """Hold the catalog for one filling job, having removed what a killed one left unfinished.

        A stage that commits the finished parts of a killed job itself says so with `resumes`; otherwise its parts
        are made anew. So are those of the stages in `outdates`: they tell of images as they were before this job.
        """
        with job_lock(self.root, stage):
            parts.sweep(self.root)
            rewrite.discard(self.root / DATABASE)
            for late in (*outdates, *(() if resumes else (stage,))):
                for part in parts.waiting(self.root, late):
                    part.unlink()
            yield

    def commit(
        self, stage: str, part_id: str, rows: int, todo: Sequence[Statement], views: bool = False
    ) -> bool:
        """Run the statements `todo` in one transaction that also records `part_id`, and with `views` makes the views
        anew, as a change of the scorers in use asks for.

        Returns False, having done nothing, if that part was committed before.
        """
        if self.read_only:
            raise LensError(f"{self.root} was opened read-only")
        with self._writing() as connection:
            connection.execute("BEGIN")
            try:
                known = connection.execute(statements.statement("catalog/part_known"), {"part_id": part_id})
                if known.fetchone():
                    connection.execute("ROLLBACK")
                    return False
                for statement in todo:
                    connection.execute(statement.text, statement.used)
                if views:
                    schema.create_views(connection)
                record = {"part_id": part_id, "stage": stage, "rows": rows}
                connection.execute(statements.statement("catalog/part_record"), record)
                connection.execute("COMMIT")
            except duckdb.Error as error:
                rollback(connection)
                raise failed(error, self.root) from error
        return True

    def commit_part(
        self,
        stage: str,
        part: Path,
        names: Sequence[str],
        slots: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> bool:
        """Commit one Parquet part (its file's stem is its id) through statements that read `$part`, then delete it."""
        rows = parts.count(part)
        given = {"part": str(part), "part_id": part.stem, **params}
        done = self.commit(stage, part.stem, rows, [Statement(name, given, slots or {}) for name in names])
        part.unlink(missing_ok=True)
        return done

    def rewrite(self) -> None:
        """Write the database file anew, so that nothing is left in it of what was deleted: see `catalog.store.rewrite`.
        Call it within `job`. Raises LensError if the disk is full; all is as it was then."""
        assert threading.get_ident() not in self._shared, "a rewrite within a session would wait for itself"
        with commit_lock(self.root, exclusive=True):
            rewrite.rewrite(self.root / DATABASE)

    # ---- connections

    @contextmanager
    def session(self) -> Iterator[None]:
        """Let the queries of this block see one state of the catalog over one connection, whose opening takes longer
        than most of them. Commits, also of other processes, wait for its end: keep it short."""
        with self._connected() as connection:
            self._shared[threading.get_ident()] = connection
            try:
                yield
            finally:
                del self._shared[threading.get_ident()]

    @contextmanager
    def _reading(self, text: str = "") -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection on which the query `text` may run."""
        shared = self._shared.get(threading.get_ident())
        with self._connected() if shared is None else nullcontext(shared) as connection:
            if self._current:
                snapshot.use(connection, self.root / DATABASE, text, self._scorers)
            yield connection

    @contextmanager
    def _connected(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that may read, closed at the end."""
        with commit_lock(self.root, exclusive=False):
            connection = connect(self.root / DATABASE, read_only=True)
            try:
                if self._current is None:
                    self._current = self._is_current(connection)
                if self._current or self.read_only:
                    # Temporary views live with a connection that may not write.
                    if not self._current or self._scorers:
                        schema.create_views(connection, True, self._scorers)
                    yield connection
                    return
            finally:
                connection.close()
        with self._writing():  # which migrates
            pass
        with self._connected() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        assert threading.get_ident() not in self._shared, "a commit within a session would wait for itself"
        with commit_lock(self.root, exclusive=True):
            connection = connect(self.root / DATABASE, read_only=False)
            try:
                if not self._current and not self._is_current(connection):
                    connection.execute("BEGIN")
                    schema.migrate(connection)
                    connection.execute("COMMIT")
                self._current = True
                yield connection
            finally:
                connection.close()  # checkpoints, so that plain DuckDB finds everything in the one file

    def _is_current(self, connection: duckdb.DuckDBPyConnection) -> bool:
        """Whether the database needs no migration and no new views. Raises BadInput where it cannot be used."""
        found = schema.version(connection)
        if found > schema.NEWEST:
            raise BadInput(
                f"{self.root} was written by a newer Lens (schema {found}, this one knows {schema.NEWEST}); upgrade"
            )
        if found < schema.NEWEST and self.read_only:
            raise BadInput(
                f"{self.root} has schema {found} and this Lens needs {schema.NEWEST}; "
                "migrate it with `lensdata migrate`"
            )
        return found == schema.NEWEST and schema.views_current(connection)


def _absolute(path: str | Path) -> Path:
    try:
        root = Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 (".." goes, links stay)
        str(root).encode()
        root.exists()
    except (UnicodeEncodeError, OSError, RuntimeError, ValueError) as error:
        raise BadInput(f"{str(path)!r} cannot name a folder: {error}") from None
    return root


def _require_empty(root: Path) -> None:
    """Refuse a folder of other files, and one whose database is gone: its parts and vectors would join a new one."""
    left = [path for path in root.rglob("*") if path.is_file()] if root.is_dir() else []
    ours = [path for path in left if path.relative_to(root).parts[0] in FOLDERS]
    if ours:
        raise BadInput(
            f"{root} lost its {DATABASE} (it still holds {ours[0].relative_to(root)}); restore it or empty the folder"
        )
    if any(path.name not in LOCKS and path.parent.name != snapshot.FOLDER for path in left):
        raise BadInput(f"{root} holds other files and no catalog; name a new or empty folder with --catalog")
