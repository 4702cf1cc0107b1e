"""Reading tables whose rows are lines of text: CSV, TSV and JSON lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain, islice
from typing import Any

from catalog.bytes import place
from catalog.errors import BadInput
from lensdata.sources.tables.fault import FAULT, FEWER, MORE, QUOTING, Fault
from lensdata.sources.tables.rowfile import ANY, TEXT, Batch, RowFile
from lensdata.sources.texts.decode import Undecodable, piece, stream
from lensdata.sources.texts.json_text import from_json

MAX_FIELD = 2**24  # characters
FIRST_ROWS = 256  # of JSON lines they name the columns
WINDOW = 2**18  # bytes of a remote file read at once; hundreds may be open
DELIMITERS = (",", ";", "\t", "|")  # of a .csv: the first that its header has

Record = dict[str, Any]  # the cells of a row, by their columns, and as FAULT what is wrong with it


class LineFile(RowFile):
    """A .csv or .tsv with a header, or JSON lines, each an object. Quotes within a quoted text of CSV are doubled.

    A line that is no object of JSON, and a row with more or fewer fields than the header, are rows with a fault.
    """

    of_lines = True

    @cached_property
    def kinds(self) -> dict[str, str]:
        """As RowFile has it. Of CSV all are text."""
        names = self._begun[0]
        return {name: ANY if self._json else TEXT for name in names if names.count(name) == 1}

    @property
    def repeated(self) -> list[str]:
        """As RowFile has it."""
        return sorted(set(self._begun[0]) - self.kinds.keys())

    def first(self, names: list[str]) -> Batch | None:
        """As RowFile has it."""
        return _columns(self._begun[1], names)

    def batches(self, names: list[str], rows: int) -> Iterator[Batch]:
        """As RowFile has it."""
        _, ahead, rest = self._begun
        left = chain(ahead, rest)
        while records := list(islice(left, rows)):
            yield _columns(records, names)

    @property
    def _json(self) -> bool:
        return place.suffix(self.place) not in (".csv", ".tsv")

    @cached_property
    def _begun(self) -> tuple[list[str], list[Record], Iterator[Record]]:
        """The columns, some of the first rows, and the rows after them."""
        try:
            file = place.open_binary(self.place, self.facts[0], WINDOW)
            text, western = stream(file)
        except OSError as error:
            raise self._unreadable(error) from None
        except Undecodable as error:
            raise BadInput(f"{self.shown} is no text that can be read: {error}") from None
        if self._json:
            rows = self._objects(text, western)
            ahead = list(islice(rows, FIRST_ROWS))
            if ahead and all(FAULT in row for row in ahead):
                fault = ahead[0][FAULT]
                raise BadInput(f"{self.shown}, line {fault.line}: {fault.reason} ({fault.detail})")
            names = list(dict.fromkeys(name for row in ahead for name in row if name != FAULT))
            return names, ahead, rows
        self.western = western
        names, rows = self._table(text)
        return names, list(islice(rows, FIRST_ROWS)), rows

    def _table(self, text: io.TextIOWrapper) -> tuple[list[str], Iterator[Record]]:
        """The header, and the rows after it."""
        csv.field_size_limit(MAX_FIELD)
        lines = self._lines(text)
        header = next(lines, "")
        tabs = place.suffix(self.place) == ".tsv"
        delimiter = "\t" if tabs else next((char for char in DELIMITERS if char in header), ",")
        # strict, since a quote that nobody closes would silently take the lines after it for its text
        reader = csv.reader(chain([header], lines), delimiter=delimiter, strict=True)
        records = self._records(reader)
        names = [name.strip() for name in next(records, [])]
        return names, (_record(names, record, reader.line_num) for record in records if any(record))

    def _records(self, reader: Any) -> Iterator[list[str]]:
        try:
            yield from reader
        except csv.Error as error:
            raise BadInput(
                f"{self.shown}, line {reader.line_num}: {error} (a quote within a quoted text is doubled)"
            ) from None

    def _objects(self, text: io.TextIOWrapper, western: bool) -> Iterator[Record]:
        for number, line in enumerate(self._lines(text), 1):
            if not line.strip():
                continue
            try:
                row = from_json(piece(line, western)[0])
            except ValueError as error:
                reason, _, detail = str(error).partition(" (")
                yield {FAULT: Fault(reason, number, detail.removesuffix(")") or "not read")}
                continue
            yield row if isinstance(row, dict) else {FAULT: Fault("not an object of JSON", number, line[:40])}

    def _lines(self, text: io.TextIOWrapper) -> Iterator[str]:
        try:
            yield from text
        except OSError as error:
            raise self._unreadable(error) from None
        except UnicodeError as error:
            raise BadInput(f"{self.shown} is damaged: {error}") from None

    def _unreadable(self, error: OSError) -> BadInput:
        return BadInput(f"{self.shown} cannot be read: {place.reason(error)}")


def _record(names: Sequence[str], fields: Sequence[str], line: int) -> Record:
    """The row that ends in `line`. Empty fields after the last column are what spreadsheets fill rows up with. Of a row
    with other fields too many, from an unquoted delimiter, only the outermost may be where they belong."""
    record: Record = dict(zip(names, fields, strict=False))
    if len(fields) == len(names):  # nearly all
        return record
    width = max((n for n, name in enumerate(names, 1) if name), default=0)
    if any(field.strip() for field in fields[len(names) :]):
        there = [field for field in fields if field.strip()]
        record = {names[0]: fields[0], names[-1]: there[-1]} if len(names) > 1 else {}
        record[FAULT] = Fault(MORE, line, f"{len(fields)} instead of {len(names)}, {QUOTING}")
    elif len(fields) < width:
        record[FAULT] = Fault(FEWER, line, f"{len(fields)} instead of {width}", shifted=False)
    return record


def _columns(rows: Sequence[Record], names: list[str]) -> Batch:
    found: Batch = {name: [row.get(name) for row in rows] for name in names}
    if any(FAULT in row for row in rows):
        found[FAULT] = [row.get(FAULT) for row in rows]
    return found
