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
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl

from catalog.errors import BadInput, LensError
from lensdata.sources.item import LINE_SUFFIXES, TABLE_SUFFIXES, Item
from lensdata.sources.source import Columns
from lensdata.sources.survey import Survey
from lensdata.sources.tables.columns import (
    image_column,
    is_list,
    listed,
    paths_and_texts,
    read,
    tell_textless,
)  # fmt: skip
from lensdata.sources.tables.open import row_file
from lensdata.sources.tables.rowfile import OF_IMAGES, RowFile
from lensdata.sources.texts import values
from lensdata.sources.texts.sorted_table import GIVEN, SPILL, SortedTable, Table, nfc

PAGE = 16_384  # images
READ_ROWS = 8_192  # of a table at once
MOST = 64  # tables of one folder that are looked at; where there are more, they are no tables of texts beside images
ENDINGS = (*TABLE_SUFFIXES, *LINE_SUFFIXES)
PATHLESS = "tables beside images without a column of paths, such as `file_name` (name it with --image-column)"


class Beside:
    """The tables of a listing: those that it met and has not used yet, and those that are in use."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.met: dict[str, list[Table]] = {}  # folder -> its tables
        self.left: list[Table] = []  # that turned out to be none of texts
        self._in_use: dict[str, list[SortedTable]] = {}

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
                    self._in_use[folder] = [found for found in kept if isinstance(found, SortedTable)]
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
            keys = pl.DataFrame({"ordinal": range(len(page)), "key": [nfc(item.uri) for item in page]})
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


def _open(table: Table, columns: Columns, survey: Survey, root: Path) -> SortedTable | Table:
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
        return SortedTable(table, read(file, named, READ_ROWS), root)
    except BadInput as error:
        survey.refuse_table("tables beside images that cannot be read", str(error))
        return replace(table, told=False)


def _has_images(file: RowFile, columns: Columns) -> bool:
    """Whether a table without paths holds images itself."""
    try:
        return file.kinds[image_column(file, columns)] in OF_IMAGES
    except BadInput:
        return False


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
