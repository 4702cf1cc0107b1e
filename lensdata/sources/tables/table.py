"""A table of images: the bytes in its rows are copied once, rows that name a file or URL are listed as that."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from catalog import pixels
from catalog.bytes import locate, place
from catalog.bytes.place import Place, printable
from catalog.errors import BadInput
from catalog.notices import say
from catalog.store import parts, statements
from lensdata.sources import sidecars
from lensdata.sources.item import Item
from lensdata.sources.kept import MARK, Kept, Row, shown
from lensdata.sources.source import Columns, Empty, Source
from lensdata.sources.survey import Survey
from lensdata.sources.tables.cell import image_of
from lensdata.sources.tables.columns import columns_of, image_column, rows, tell_textless
from lensdata.sources.tables.fault import FAULT, Faults
from lensdata.sources.tables.reader import TableFile
from lensdata.sources.tables.rowfile import ANY, TEXT, RowFile
from lensdata.sources.texts import values

URIS = "uris.parquet"
URI_SCHEMA = pa.schema(
    [("row", pa.int64()), ("uri", pa.string()), ("alt_text", pa.string()), ("url", pa.string()),
     ("licence", pa.string()), ("brief_text", pa.string()), ("dense_text", pa.string()), ("alt_error", pa.string()),
     ("refused", pa.string()), ("fault", pa.string())]
)  # fmt: skip
GIVEN = (*values.NAMES, *values.ORIGIN, "alt_error")
LISTED = 4096  # rows at once
MEMORY = "256MB"  # for sorting the rows; what is more goes to the disk


class Table(Source):
    """The images of one or more files of rows, in the order of the rows, those with bytes first."""

    nothing = "is a table that holds no image"

    def __init__(self, place: Place, files: Sequence[RowFile], columns: Columns) -> None:
        super().__init__(place)
        self.files, self.columns = files, columns

    @property
    def names_places(self) -> bool:
        """As `Source` has it."""
        return any(file.kinds[image_column(file, self.columns)] in (TEXT, ANY) for file in self.files)

    def look(self) -> None:
        """Raise BadInput if a file cannot be read or lacks a column."""
        for file in self.files:
            columns_of(file, self.columns)

    def check(self) -> None:
        """Reads the footers, and of a table of paths or URLs the first rows: whether what is installed reads them."""
        self.look()
        if all(file.empty for file in self.files):
            raise Empty(f"{self.shown} is a table without rows")
        for file in self.files:
            column = image_column(file, self.columns)
            cells = (file.first([column]) or {}).get(column, ()) if file.kinds[column] in (TEXT, ANY) else ()
            places = [uri for cell in cells if (uri := image_of(cell)[1])]
            for uri in places:
                locate.require(uri)
            if len(places) == len(cells) and places and not any(map(self._may_be, places)):
                raise BadInput(
                    f"{file.shown}: no image is where its first {len(places)} rows say (such as "
                    f"{printable(places[0])}); paths are relative to the table's folder, and have their endings"
                )

    def _may_be(self, uri: str) -> bool:
        """Whether a row's image may be there: a file of this disk that is not is not."""
        path = uri.removeprefix("file://")
        if "://" in path or (isinstance(self.place, str) and not path.startswith("/")):
            return True
        return os.path.lexists(self._base / path)

    @cached_property
    def _base(self) -> Path:
        """The folder that relative paths are meant from."""
        if isinstance(self.place, str):
            return Path("/")
        return self.place if self.place.is_dir() else self.place.parent

    def _items(self, survey: Survey, root: Path, retry: bool) -> Iterator[Item]:
        self.check()
        named = [str(self.place), self.columns.image, self.columns.text, *self.columns.further.items()]
        kept = Kept(root / "imported", place.stem(self.place)[:40], json.dumps(named))
        self._copy(kept)
        for file in self.files:
            tell_textless(file, columns_of(file, self.columns), survey)
        for tar in kept.tars():
            yield from kept.items(tar, survey)
        mtime, faults = self.files[0].facts[1], Faults()
        for row in self._once(kept, survey, faults):
            if row["uri"]:
                if (item := self._named(row, mtime)) is not None:
                    yield item
            elif not row.get("fault"):
                why = row.get("refused")
                kind = f"rows of tables whose image is {why}" if why else "rows of tables without an image"
                survey.note(kind, f"{self.place}, row {row['row']}")
        faults.tell(survey, self.place)

    def _once(self, kept: Kept, survey: Survey, faults: Faults) -> Iterator[dict[str, Any]]:
        """The rows without bytes in order, of those that name the same image the first: tables with a row a caption.
        What is wrong with any row goes to `faults`."""
        kept_in = str(kept.folder / URIS)
        with duckdb.connect(
            config={"memory_limit": MEMORY, "temp_directory": str(kept.folder / "spill")}
        ) as connection:
            found = connection.sql(statements.statement("ingest/texts/rows"), params={"rows": kept_in})
            reader: pa.RecordBatchReader = found.to_arrow_reader(LISTED)
            for batch in reader:
                for row in batch.to_pylist():
                    faults.add([row.get("fault")])  # an earlier Lens knew of none
                    if row.pop("again"):
                        survey.note(
                            "rows of tables that name an image once more (the first counts)",
                            f"{self.place}, row {row['row']}",
                        )
                    else:
                        yield row

    def _copy(self, kept: Kept) -> None:
        """Fill `kept` unless it holds just these files; its mark comes last, so a killed copy is made anew."""
        wanted = {
            "source": str(self.place), "image_column": self.columns.image, "text_column": self.columns.text,
            **self.columns.further, "files": [[str(file.place), *file.facts] for file in self.files],
        }  # fmt: skip
        if kept.is_of(wanted):
            return
        (kept.folder / MARK).unlink(missing_ok=True)
        doing = "reading" if self.names_places else "copying the images of"
        say(f"ingest: {doing} {self.shown} to {kept.folder}")
        written = 0
        with parts.atomic(kept.folder / URIS) as file, pq.ParquetWriter(file, URI_SCHEMA) as uris:
            for number, _, _ in kept.fill(self._with_bytes(uris), 0, self.place):
                written = number + 1
        kept.empty(written)
        kept.mark(wanted)

    def _with_bytes(self, uris: pq.ParquetWriter) -> Iterator[Row]:
        """The rows that hold bytes; the others go to `uris`, and so does every fault."""
        number, apart = 0, list[dict[str, Any]]()
        for file in self.files:
            for batch in rows(file, columns_of(file, self.columns)):
                for row in batch:
                    row["row"], row["url"] = number, shown(row["url"])
                    row["data"], row["uri"], row["refused"] = image_of(row.pop("image"))
                    fault = row.pop(FAULT)
                    row["fault"] = fault and str(fault)
                    number += 1
                    if row["data"]:
                        yield row
                    if not row["data"] or fault:
                        row["uri"] = None if row["data"] else shown(row["uri"])
                        apart.append({name: row[name] for name in URI_SCHEMA.names})
                if len(apart) >= LISTED:
                    uris.write_table(pa.Table.from_pylist(apart, URI_SCHEMA))
                    apart = []
        uris.write_table(pa.Table.from_pylist(apart, URI_SCHEMA))

    def _named(self, row: dict[str, Any], mtime: int) -> Item | None:
        """The image that a row names; None if that of a row with a fault is not surely there. A relative path is meant
        from the table's folder. Of a remote file neither size nor time is known beforehand, so the table's time stands
        for it."""
        uri = row["uri"].removeprefix("file://")
        given = {name: row.get(name) for name in GIVEN}  # an earlier Lens kept fewer
        if row.get("fault") and ("://" in uri or isinstance(self.place, str)):
            return None
        if f"://{locate.HIDDEN}" in uri:
            failed = (pixels.MISSING, "a URL with a login")
            return Item(uri, 0, None, given=given, file_mtime_ns=mtime, failed=failed)
        if "://" in uri:
            return Item(uri, 0, None, given=given, file_mtime_ns=mtime)
        if isinstance(self.place, str) and not uri.startswith("/"):
            above = self.place.rpartition("/")[0]
            return Item(f"{above}/{uri}", 0, None, given=given, file_mtime_ns=mtime)
        path = _path_of(self._base, uri)
        if (item := sidecars.beside(path, given)) or row.get("fault"):
            return item
        return Item(path, 0, None, given=given, file_mtime_ns=mtime)


def _path_of(base: Path, uri: str) -> str:
    """The path that a row means, as a listing of its folder has it, unless its `..` lead through a link to somewhere
    else."""
    if ".." not in uri:
        return os.path.join(base, os.path.normpath(uri))  # noqa: PTH118 (a Path for every row costs more than the rest)
    path = str(base / uri)
    with suppress(OSError, ValueError):
        if os.path.samefile(plain := os.path.normpath(path), path):  # noqa: PTH121
            return plain
    return path


def is_saved(folder: Path) -> bool:
    """Whether `datasets` saved a dataset there."""
    return (folder / "dataset_dict.json").is_file() or (
        (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    )


def files_of(folder: Path) -> list[TableFile]:
    """The Arrow files of a saved dataset, of all its splits, in order. Raises BadInput."""
    try:
        if (folder / "dataset_dict.json").is_file():
            splits = json.loads((folder / "dataset_dict.json").read_bytes())["splits"]
            return [file for split in splits for file in files_of(folder / split)]
        state = json.loads((folder / "state.json").read_bytes())
        paths = [folder / part["filename"] for part in state["_data_files"]]
        return [TableFile(path, place.facts(path)) for path in paths]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{folder} is no whole dataset of `save_to_disk` ({type(error).__name__}: {error})"
        ) from None
