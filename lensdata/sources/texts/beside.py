"""Tables of texts beside images: `captions.csv`, `metadata.jsonl` and their like in a folder of images or above it.

Such a table may have more rows than memory holds. The first time that a page of a listing has an image below its
folder, its rows are written to a Parquet file in CATALOG/parts, sorted by the image's place (DuckDB sorts on the disk
where they are many). A listing goes on in the order of places, too, so that each of its pages is joined with few row
groups of that file, and memory and time do not grow with the table. Once the listing has left the folder the file is
removed; one that a killed job left is swept with the other half-written parts.
"""

from __future__ import annotations

import os
import posixpath
import secrets
import shutil
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalog.bytes.place import Facts, Place, suffix
from catalog.errors import BadInput, LensError
from catalog.store import parts, statements
from lensdata.sources.item import IMAGE_SUFFIXES, LINE_SUFFIXES, TABLE_SUFFIXES, Item
from lensdata.sources.source import Columns
from lensdata.sources.survey import Survey
from lensdata.sources.tables.columns import (
    image_column,
    is_list,
    listed,
    paths_and_texts,
    read,
    tell_textless,
)
from lensdata.sources.tables.fault import FAULT, Faults
from lensdata.sources.tables.open import row_file
from lensdata.sources.tables.rowfile import OF_IMAGES, Batch, RowFile
from lensdata.sources.texts import values

PAGE = 16_384  # images
SPILL = ".spill"
MEMORY = "256MB"  # for sorting a table; what is more goes to the disk
READ_ROWS = 8_192  # of a table at once
MOST = 64  # tables of one folder that are looked at; where there are more, they are no tables of texts beside images
ENDINGS = (*TABLE_SUFFIXES, *LINE_SUFFIXES)
GIVEN = (*values.NAMES, *values.ORIGIN, "alt_error")
ROWS = pa.schema(
    [
        ("key", pa.string()),
        ("path", pa.string()),
        ("row", pa.int64()),
        *((name, pa.string()) for name in GIVEN),
    ]
)
MET = pa.schema([("row", pa.int64())])
GAVE = "rows of tables beside images that gave them texts"
UNMET = "rows of tables beside images that name no image below their folder"
EMPTY = "rows of tables beside images without a text"
PATHLESS = "tables beside images without a column of paths, such as `file_name` (name it with --image-column)"
AGAIN = "rows of tables beside images for an image that had its texts already"


@dataclass(frozen=True)
class Table:
    """A table that may tell of the images below its folder. `path` is how its folder's listing calls it; `told` is
    whether it is to be told of where it is no such table."""

    path: str
    place: Place
    facts: Facts
    told: bool

    @property
    def folder(self) -> str:
        return posixpath.dirname(self.path)


class Beside:
    """The tables of a listing: those that it met and has not used yet, and those that are in use."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.met: dict[str, list[Table]] = {}  # folder -> its tables
        self.left: list[Table] = []  # that turned out to be none of texts
        self._in_use: dict[str, list[_Kept]] = {}

    def meet(self, folder: str, tables: list[Table]) -> None:
        """Told of the tables of a folder before its images are listed."""
        if len(tables) <= MOST:
            self.met[folder] = tables
        else:
            self.left += tables

    def join(self, items: Iterable[Item], survey: Survey, root: Path) -> Iterator[Item]:
        """The items, in order, those of them with their texts that a table gives texts. At the end all tables that
        gave none are in `left`."""
        for leftover in (root / "parts").glob(f"ingest-texts.*{SPILL}"):  # of a killed job
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            for page in _pages(items):
                above = _folders_above(page)
                self._close([folder for folder in self._in_use if folder not in above], survey)
                for folder in [folder for folder in self.met if folder in above]:
                    kept = [_open(table, self.columns, survey, root) for table in self.met.pop(folder)]
                    self.left += [found for found in kept if isinstance(found, Table)]
                    self._in_use[folder] = [found for found in kept if isinstance(found, _Kept)]
                yield from self._with_texts(page)
            self._close(list(self._in_use), survey)
        finally:
            self._close(list(self._in_use), None)
        self.left += [table for tables in self.met.values() for table in tables]

    def _with_texts(self, page: list[Item]) -> Iterator[Item]:
        """The nearest folder's table counts first, of one folder's the first by name; of each text the first that
        there is."""
        kept = [
            table for folder in sorted(self._in_use, key=len, reverse=True) for table in self._in_use[folder]
        ]
        given: dict[int, dict[str, str | None]] = {}
        if kept:
            keys = pl.DataFrame({"ordinal": range(len(page)), "key": [_nfc(item.uri) for item in page]})
            for table in kept:
                for ordinal, texts in table.texts_of(keys):
                    before = given.setdefault(ordinal, {})
                    given[ordinal] = {name: before.get(name) or texts[name] for name in GIVEN}
        for ordinal, item in enumerate(page):
            yield replace(item, given=given[ordinal]) if ordinal in given else item

    def _close(self, folders: list[str], survey: Survey | None) -> None:
        for folder in folders:
            for table in self._in_use.pop(folder):
                table.close(survey)


class _Kept:
    """A table in use: its rows, sorted, and which of them met an image."""

    def __init__(self, table: Table, found: Iterator[Batch], root: Path) -> None:
        self.table = table
        above = root / "parts"
        above.mkdir(parents=True, exist_ok=True)
        name = f"ingest-texts.{secrets.token_hex(6)}"
        self.rows, raw = (above / f"{name}{which}{parts.TEMPORARY}" for which in ("", ".raw"))
        self.path = above / f"{name}.met{parts.TEMPORARY}"
        self.database = duckdb.connect(
            config={"memory_limit": MEMORY, "temp_directory": str(above / f"{name}{SPILL}")}
        )
        self.gave = self.empty = self.again = 0
        self.faults = Faults()
        try:
            with pq.ParquetWriter(raw, ROWS, compression="zstd") as writer:
                for batch in _keyed(table, found, self.faults):
                    writer.write_table(batch)
            ordered = self._ask("ingest/texts/sort", raw=str(raw)).to_arrow_reader(parts.ROW_GROUP)
            with pq.ParquetWriter(self.rows, ROWS, compression="zstd") as writer:
                for batch in ordered:
                    writer.write_batch(batch.cast(ROWS))
        except BaseException:
            self.close(None)
            raise
        finally:
            raw.unlink(missing_ok=True)
        self.met = pq.ParquetWriter(self.path, MET)

    def texts_of(self, page: pl.DataFrame) -> Iterator[tuple[int, dict[str, str | None]]]:
        """The texts of those images of a page (ordinal, key) that it has, by their ordinals."""
        self.database.register("page", page.to_arrow())
        first, last = str(page["key"].min()), str(page["key"].max())
        found = self._ask("ingest/texts/of", rows=str(self.rows), first=first, last=last).to_arrow_table()
        if len(found):
            self.met.write_table(found.select(["row"]).cast(MET))
        for ordinal, same in groupby(found.to_pylist(), key=lambda row: row["ordinal"]):
            several = list(same)
            self.again += len(several) - 1
            texts = several[0]
            gave = any(texts[name] for name in values.NAMES)
            self.gave += gave
            self.empty += not gave and not (texts["alt_error"] or "").startswith(values.ROW)
            yield ordinal, texts

    def close(self, survey: Survey | None) -> None:
        """Tell what became of its rows, unless the listing ended early, and remove what was kept."""
        with suppress(AttributeError):
            self.met.close()
        if survey is not None:
            told = self._ask("ingest/texts/unmet", rows=str(self.rows), met=str(self.path))
            count, unmet, example = told.fetchall()[0]
            first = f": {example}"
            if example and suffix(example) not in IMAGE_SUFFIXES:
                first += ", a path without an image's ending"
            for kind, rows_of_kind, which in (
                (GAVE, self.gave, ""), (EMPTY, self.empty, ""), (AGAIN, self.again, ""), (UNMET, unmet, first),
            ):  # fmt: skip
                if rows_of_kind or (kind == GAVE and not count):
                    survey.note(kind, f"{self.table.path}{which}", rows_of_kind)
            self.faults.tell(survey, self.table.path)
        self.database.close()
        for path in (self.rows, self.path):
            path.unlink(missing_ok=True)

    def _ask(self, statement: str, **given: str) -> duckdb.DuckDBPyRelation:
        return self.database.sql(statements.statement(statement), params=given)


def _open(table: Table, columns: Columns, survey: Survey, root: Path) -> _Kept | Table:
    """The table ready for use; itself if it is none of paths and texts, or cannot be read."""
    try:
        file = row_file(table.place, table.facts)
        named = paths_and_texts(file, columns)
        if named is None:
            if is_list(file, columns) or _has_images(file, columns):
                return table
            survey.note(PATHLESS, f"{table.path}, which has {listed(file)}")
            return replace(table, told=False)
        told = tell_textless(file, named, survey)
        if not named.keys() & values.NAMES.keys():
            return replace(table, told=not told)
        return _Kept(table, read(file, named, READ_ROWS), root)
    except BadInput as error:
        survey.refuse_table("tables beside images that cannot be read", str(error))
        return replace(table, told=False)


def _has_images(file: RowFile, columns: Columns) -> bool:
    """Whether a table without paths holds images itself."""
    try:
        return file.kinds[image_column(file, columns)] in OF_IMAGES
    except BadInput:
        return False


def _keyed(table: Table, found: Iterator[Batch], faults: Faults) -> Iterator[pa.Table]:
    """The rows that name a file, as ROWS has them; what is wrong with any goes to `faults`."""
    number = 0
    for batch in found:
        faults.add(batch.pop(FAULT))
        paths = [path.strip() if isinstance(path, str) else "" for path in batch["image"]]
        made = batch | {
            "key": [_key(table.folder, path) for path in paths],
            "path": [path or None for path in paths],
            "row": list(range(number, number + len(paths))),
        }
        number += len(paths)
        rows = pa.table([pa.array(made[field.name], field.type) for field in ROWS], ROWS)
        yield rows.filter(pc.is_valid(rows["path"]))


def _key(folder: str, path: str) -> str | None:
    """The uri of the image that a row of a table in `folder` names, composed as Unicode's NFC; None if that is not
    below the folder. Backslashes are a Windows path's."""
    path = path.removeprefix("file://")
    if "\\" in path and "/" not in path:
        path = path.replace("\\", "/")
    if "://" not in path and not path.startswith("/"):
        path = (
            f"{folder}/{posixpath.normpath(path)}" if not posixpath.normpath(path).startswith("../") else ""
        )
    elif path.startswith("/"):
        path = posixpath.normpath(path)
    return _nfc(path) if path.startswith(f"{folder.rstrip('/')}/") else None


def _nfc(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _pages(items: Iterable[Item]) -> Iterator[list[Item]]:
    """The items, PAGE at a time. Where a listing breaks off, what it gave before comes first."""
    page: list[Item] = []
    try:
        for item in items:
            page.append(item)
            if len(page) == PAGE:
                yield page
                page = []
    except LensError:
        if page:
            yield page
        raise
    if page:
        yield page


def _folders_above(page: list[Item]) -> set[str]:
    above: set[str] = set()
    for folder in {os.path.dirname(item.uri) for item in page}:  # noqa: PTH120
        while folder and folder not in above:
            above.add(folder)
            folder = posixpath.dirname(folder)
    return above
