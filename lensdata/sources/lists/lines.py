"""The lines of a list of URLs: of a text, of CSV or TSV, or of a table with a column of URLs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from catalog.bytes import locate, place
from catalog.bytes.place import Facts, Place, printable
from catalog.errors import BadInput
from lensdata.sources.item import BRIEF_NAMES, DENSE_NAMES
from lensdata.sources.source import DEFAULTS, Columns
from lensdata.sources.tables.reader import TableFile, is_text

GUESSES = {
    "url": ("url",), "alt_text": ("text", "caption", "alt_text"), "licence": ("licence", "license"),
    "brief_text": BRIEF_NAMES, "dense_text": DENSE_NAMES,
}  # fmt: skip
MAX_URL = 8192  # characters; no server takes a longer one
MAX_FIELD = 2**24
TEXT_START = 2**13
WINDOW = 2**18  # bytes of a remote list read at once; hundreds of lists may be open
TABLE_ROWS = 8192

Line = tuple[str, dict[str, str | None]]  # the url, and of the other keys of GUESSES those that the list has


def is_list(schema: pa.Schema, columns: Columns) -> bool:
    """Whether a table of these columns is a list of URLs: if a url column is named, or if nobody named an image column,
    it has none called `image`, and it has one called `url` (in whatever case)."""
    if columns.url is not None or columns.image != DEFAULTS.image:
        return columns.url is not None
    return columns.image not in schema.names and any(name.lower() in GUESSES["url"] for name in schema.names)


def is_url(text: str) -> bool:
    """Whether `text` is a URL that may be fetched: http or https, with a host and no login; no file, no other
    scheme."""
    scheme, _, rest = text.partition("://")
    return (
        scheme.lower() in ("http", "https") and rest[:1] not in ("", "/", "?", "#")
        and not rest.startswith(locate.HIDDEN) and len(text) < MAX_URL
    )  # fmt: skip


def read(path: Place, facts: Facts, columns: Columns, table: TableFile | None) -> Iterator[Line]:
    """The lines that are not empty, in order, without the header, whose columns are checked at once; `table` is the
    list, opened, if it is a table. Raises BadInput, then and on the way."""
    if table is not None:
        return _table_lines(table, columns)
    try:
        file = place.open_binary(path, facts[0], WINDOW)
        start = file.read(TEXT_START)
        file.seek(0)
    except OSError as error:
        raise _unreadable(path, error) from None
    if b"\0" in start.partition(b"\n")[0]:  # UTF-16, or no text at all
        raise BadInput(f"{printable(str(path))} is not a text of UTF-8")
    text = io.TextIOWrapper(file, "utf-8-sig", errors="replace", newline="")
    if place.suffix(path) == ".txt":
        return _text_lines(path, text)
    # strict, since a quote that nobody closes would silently take the lines after it for its text
    reader = csv.reader(text, delimiter="\t" if place.suffix(path) == ".tsv" else ",", strict=True)
    records = _records(path, reader)
    return _csv_lines(records, _columns(path, next(records, []), columns))


def _text_lines(path: Place, text: io.TextIOWrapper) -> Iterator[Line]:
    try:
        yield from ((_shown(url), {}) for line in text if (url := line.strip()))
    except OSError as error:
        raise _unreadable(path, error) from None


def _records(path: Place, reader: Any) -> Iterator[list[str]]:
    csv.field_size_limit(MAX_FIELD)
    try:
        yield from reader
    except csv.Error as error:
        raise BadInput(
            f"{printable(str(path))}, line {reader.line_num}: {error} (a quote within a quoted text is doubled)"
        ) from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _csv_lines(records: Iterator[list[str]], found: dict[str, int]) -> Iterator[Line]:
    for record in records:
        fields = {key: record[at].strip() for key, at in found.items() if at < len(record)}
        if url := fields.pop("url", None):
            yield _shown(url), {key: value or None for key, value in fields.items()}


def _table_lines(table: TableFile, columns: Columns) -> Iterator[Line]:
    names = table.schema.names
    found = {key: names[at] for key, at in _columns(table.place, names, columns).items()}
    for key, name in list(found.items()):
        if not is_text(table.schema.field(name)):
            if key == "url" or name in (named for _, named, _ in columns.texts):
                raise BadInput(
                    f"{table.place}: the column {name!r} holds {table.schema.field(name).type}, not text"
                )
            del found[key]
    return _rows(table, found)


def _rows(table: TableFile, found: dict[str, str]) -> Iterator[Line]:
    for batch in table.batches(sorted(set(found.values())), TABLE_ROWS):
        values: dict[str, list[Any]] = {key: batch.column(name).to_pylist() for key, name in found.items()}
        for n, url in enumerate(values.pop("url")):
            if url and url.strip():
                yield _shown(url.strip()), {key: texts[n] for key, texts in values.items()}


def _shown(url: str) -> str:
    """What the catalog can hold of a line, whatever it is."""
    return printable(locate.without_login(url[:MAX_URL]))


def _unreadable(path: Place, error: OSError) -> BadInput:
    return BadInput(f"{printable(str(path))} cannot be read: {place.reason(error)}")


def _columns(path: Place, names: Sequence[str], columns: Columns) -> dict[str, int]:
    """Which column has the url, the texts and the licence, by its number."""
    shown, listed = printable(str(path)), ", ".join(names)
    found = {}
    url = [("url", columns.url, "--url-column")] if columns.url is not None else []
    for key, wanted, option in (*url, *columns.texts):
        if names.count(wanted) != 1:
            raise BadInput(f"{shown} has no column {wanted!r}; it has {listed}: name one with {option}")
        found[key] = names.index(wanted)
    for key, guesses in GUESSES.items():
        if guess := next((name for want in guesses for name in names if name.lower() == want), None):
            found.setdefault(key, names.index(guess))
    if "url" not in found:
        raise BadInput(f"{shown} has no column `url`; it has {listed}: name one with --url-column")
    return found
