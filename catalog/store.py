"""The catalog's database: opening, migrating, read-only queries, and commits that happen exactly once."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import duckdb
import polars as pl
import pyarrow as pa

import sql
from catalog import parts, snapshot
from catalog.console import say
from catalog.errors import BadInput, LensError
from catalog.lock import COMMIT_LOCK, JOB_LOCK, SAY_SECONDS, WAIT_SECONDS, commit_lock, job_lock

if TYPE_CHECKING:
    from catalog.select import Selection

DATABASE = "catalog.duckdb"
FOLDERS = ("parts", "embeddings", "manifests")
READS = r"(PIVOT|FROM|SELECT|WITH|\()"
Statement = tuple[str, Mapping[str, Any]]


def open(path: str | Path, read_only: bool = False) -> Catalog:
    """Open the catalog in the folder `path`; for writing it is made if absent and migrated if older.

    Raises BadInput if there is none to read, if `path` is not a folder, or if a newer Lens wrote it.
    """
    root = _absolute(path)
    if root.exists() and not root.is_dir():
        raise BadInput(f"{root} is a file; a catalog is a folder")
    if not (root / DATABASE).is_file():
        if read_only:
            raise BadInput(
                f"there is no catalog at {root}; make one with `lensdata --catalog {path} ingest FOLDER`"
            )
        _require_empty(root)
        for folder in FOLDERS:
            (root / folder).mkdir(parents=True, exist_ok=True)
    found = Catalog(root, read_only)
    found._check_version()
    return found


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
    if any(path.name not in (JOB_LOCK, COMMIT_LOCK) and path.parent.name != snapshot.FOLDER for path in left):
        raise BadInput(f"{root} holds other files and no catalog; name a new or empty folder with --catalog")


class Catalog:
    """A catalog folder. It holds no connection: each query and each commit opens the database for just that long.

    So a query works while a job runs, and nothing is lost with a process that dies.
    """

    def __init__(self, root: Path, read_only: bool) -> None:
        self.root = root
        self.read_only = read_only
        self._views_outdated = False

    # ---- reading

    def sql(self, text: str, **params: Any) -> pl.DataFrame:
        """Run one read-only statement with `$name` parameters and return its rows.

        Raises BadInput for SQL that is wrong or would write.
        """
        self._refuse_writes(text)
        with self._reading(text) as connection:
            return _fetch(connection, text, params)

    def stream(self, text: str, rows: int, **params: Any) -> Iterator[pl.DataFrame]:
        """As `sql`, at most `rows` at a time, for results that memory need not hold."""
        self._refuse_writes(text)
        with self._reading(text) as connection:
            try:
                for batch in connection.sql(text, params=params).to_arrow_reader(rows):
                    yield cast(pl.DataFrame, pl.from_arrow(batch))
            except (duckdb.Error, pl.exceptions.PolarsError, UnicodeError, pa.ArrowException) as error:
                raise BadInput(f"the query failed: {_first_line(error)}") from None

    def named(self, name: str, **params: Any) -> pl.DataFrame:
        """The rows of `sql/statements/NAME.sql`."""
        text = sql.statement(name)
        with self._reading(text) as connection:
            return _fetch(connection, text, params)

    def query(self, text: str, params: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        """As `sql`, with polars frames visible as tables of the given names."""
        with self._reading(text) as connection:
            for name, frame in tables.items():
                connection.register(name, frame.to_arrow())
            return _fetch(connection, text, params)

    @property
    def version(self) -> int:
        """Counts the catalog's states: one more for every part committed."""
        return int(self.named("catalog_version").item())

    def select(self, **thresholds: Any) -> Selection:
        """The images that pass the given thresholds and the defaults of the rest: see `catalog.select.Selection`."""
        from catalog.select import Selection

        return Selection(self, **thresholds)

    # ---- writing

    @contextmanager
    def job(self, stage: str, resumes: bool = False, outdates: Sequence[str] = ()) -> Iterator[None]:
        """Hold the catalog for one filling job, having removed what a killed one left unfinished.

        A stage that commits the finished parts of a killed job itself says so with `resumes`; otherwise its parts
        are made anew. So are those of the stages in `outdates`: they tell of images as they were before this job.
        """
        with job_lock(self.root, stage):
            parts.sweep(self.root)
            for late in (*outdates, *(() if resumes else (stage,))):
                for part in parts.waiting(self.root, late):
                    part.unlink()
            yield

    def commit(self, stage: str, part_id: str, rows: int, statements: Sequence[Statement]) -> bool:
        """Run `statements` (names in sql/statements with parameters) in one transaction that also records `part_id`.

        Returns False, having done nothing, if that part was committed before.
        """
        if self.read_only:
            raise LensError(f"{self.root} was opened read-only")
        with self._writing() as connection:
            connection.execute("BEGIN")
            try:
                if connection.execute(sql.statement("part_known"), {"part_id": part_id}).fetchone():
                    connection.execute("ROLLBACK")
                    return False
                for name, params in statements:
                    connection.execute(sql.statement(name), dict(params))
                record = {"part_id": part_id, "stage": stage, "rows": rows}
                connection.execute(sql.statement("part_record"), record)
                connection.execute("COMMIT")
            except duckdb.Error as error:
                _rollback(connection)
                raise _failed(error, self.root) from error
        return True

    def commit_part(self, stage: str, part: Path, names: Sequence[str], **params: Any) -> bool:
        """Commit one Parquet part (its file's stem is its id) through statements that read `$part`, then delete it."""
        rows = parts.count(part)
        statements = [(name, _used(name, {"part": str(part), **params})) for name in names]
        done = self.commit(stage, part.stem, rows, statements)
        part.unlink(missing_ok=True)
        return done

    # ---- connections

    @contextmanager
    def _reading(self, text: str = "") -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection on which the query `text` may run."""
        with commit_lock(self.root, exclusive=False):
            connection = _connect(self.root / DATABASE, read_only=True)
            try:
                # Where views are of another version and may only be read, the present ones live with the connection.
                if self._views_outdated:
                    for view in sql.views():
                        connection.execute(view.replace("OR REPLACE", "OR REPLACE TEMP"))
                else:
                    snapshot.use(connection, self.root / DATABASE, text)
                yield connection
            finally:
                connection.close()

    @contextmanager
    def _writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with commit_lock(self.root, exclusive=True):
            connection = _connect(self.root / DATABASE, read_only=False)
            try:
                yield connection
            finally:
                connection.close()  # checkpoints, so that plain DuckDB finds everything in the one file

    # ---- versions

    def _check_version(self) -> None:
        newest = sql.migrations()[-1][0]
        if (self.root / DATABASE).is_file():
            with self._reading() as connection:
                try:
                    found = connection.execute(sql.statement("schema_version")).fetchone()[0]  # type: ignore[index]
                except duckdb.CatalogException:
                    found = 0  # killed before the first migration was committed
            if found > newest:
                raise BadInput(
                    f"{self.root} was written by a newer Lens (schema {found}, this one knows {newest}); upgrade"
                )
            if found == newest and self._views_current():
                return
            if found == newest and self.read_only:
                self._views_outdated = True
                return
            if self.read_only:
                raise BadInput(
                    f"{self.root} has schema {found} and this Lens needs {newest}; migrate it with `lensdata migrate`"
                )
        self._migrate()

    def _views_current(self) -> bool:
        with self._reading() as connection:
            try:
                kept = connection.execute(sql.statement("views_mark")).fetchone()
            except duckdb.Error:
                return False
        return kept is not None and kept[0] == _views_hash()

    def _migrate(self) -> None:
        with self._writing() as connection:
            connection.execute("BEGIN")
            connection.execute(sql.statement("schema_versions_create"))
            found = connection.execute(sql.statement("schema_version")).fetchone()[0]  # type: ignore[index]
            for version, text in sql.migrations():
                if version > found:
                    connection.execute(text)
                    connection.execute(sql.statement("schema_version_add"), {"version": version})
            for text in sql.views():
                connection.execute(text)
            connection.execute(sql.statement("views_mark_set").format(hash=_views_hash()))
            connection.execute("COMMIT")

    # ---- what may be run

    def _refuse_writes(self, text: str) -> None:
        inner = re.sub(r"^\s*EXPLAIN\s+(ANALYZE\s+)?", "", text, flags=re.IGNORECASE)
        try:
            statements = duckdb.extract_statements(inner)
        except duckdb.Error as error:
            raise BadInput(f"that is not SQL DuckDB can read: {_first_line(error)}") from None
        if len(statements) != 1:
            raise BadInput(f"a query is one statement; this text holds {len(statements)}")
        kind = statements[0].type
        if kind == duckdb.StatementType.MULTI and re.match(READS, _without_comments(inner), re.IGNORECASE):
            return  # PIVOT, which DuckDB turns into several statements, as it does COPY (PIVOT ...) TO
        if kind != duckdb.StatementType.SELECT:
            raise BadInput(f"a query only reads; {kind.name} statements are refused")


def _without_comments(text: str) -> str:
    return re.sub(r"^(\s|--[^\n]*\n|/\*.*?\*/)+", "", text, flags=re.DOTALL)


def _connect(path: Path, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Open the database, waiting while another program has it open: a commit for as long as it takes, since it must
    not fail a job for somebody's notebook, a query for a minute."""
    started = said = time.monotonic()
    while True:
        try:
            connection = duckdb.connect(str(path), read_only=read_only)
            connection.execute(sql.statement("no_progress_bar"))
            return connection
        except duckdb.IOException as error:
            text = str(error)
            now = time.monotonic()
            if "lock" in text.lower() and (not read_only or now < started + WAIT_SECONDS):
                if now > said + SAY_SECONDS:
                    say(f"waiting for another program to close {path} ({_first_line(error)})")
                    said = now
                time.sleep(0.05)
                continue
            if "lock" in text.lower():
                raise LensError(
                    f"{path} is held open by another program ({_first_line(error)}); close it and try again"
                ) from None
            if "newer version" in text or "version number" in text:
                raise BadInput(f"{path} was written by another DuckDB: {_first_line(error)}") from None
            if "not a valid DuckDB" in text:
                raise BadInput(
                    f"{path} is not a DuckDB file; move it away or name another folder with --catalog"
                ) from None
            raise _failed(error, path) from error


def _fetch(connection: duckdb.DuckDBPyConnection, text: str, params: Mapping[str, Any]) -> pl.DataFrame:
    try:
        relation = connection.sql(text, params=dict(params)) if params else connection.sql(text)
        return relation.pl()
    except (duckdb.Error, pl.exceptions.PolarsError, UnicodeError, pa.ArrowException) as error:
        raise BadInput(f"the query failed: {_first_line(error)}") from None


def _used(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """DuckDB refuses parameters a statement does not mention."""
    text = sql.statement(name)
    return {key: value for key, value in params.items() if re.search(rf"\${key}\b", text)}


def _rollback(connection: duckdb.DuckDBPyConnection) -> None:
    try:
        connection.execute("ROLLBACK")
    except duckdb.Error:
        pass  # a failed COMMIT has rolled back already


def _failed(error: duckdb.Error, where: Path) -> LensError:
    text = _first_line(error)
    if "No space left" in str(error) or "could not write" in str(error).lower():
        return LensError(
            f"no space left for the catalog at {where}; free some and run the same command again"
        )
    return LensError(f"the catalog at {where} could not be written: {text}")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    keep = lines[:1] + [line for line in lines[1:] if line.startswith(("Candidate", "Did you mean"))][:1]
    return "; ".join(keep)


def _views_hash() -> str:
    import hashlib

    return hashlib.sha256("\n".join(sql.views()).encode()).hexdigest()
