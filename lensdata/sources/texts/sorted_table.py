"""The rows of one table of texts, on the disk in order of the places of the images, as a listing goes on, too."""

from __future__ import annotations

import posixpath
import secrets
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalog.bytes.place import Facts, Place, suffix
from catalog.store import parts, statements
from lensdata.sources.item import IMAGE_SUFFIXES
from lensdata.sources.survey import Survey
from lensdata.sources.tables.fault import FAULT, Faults
from lensdata.sources.tables.rowfile import Batch
from lensdata.sources.texts import values

SPILL = ".spill"
MEMORY = "256MB"  # for sorting a table; what is more goes to the disk
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


class SortedTable:
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
    return nfc(path) if path.startswith(f"{folder.rstrip('/')}/") else None


def nfc(text: str) -> str:
    """Composed, as a table and a disk may each not have it."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
