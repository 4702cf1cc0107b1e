"""Lists of URLs: which files are such, and their lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from catalog.bytes import locate
from catalog.errors import BadInput
from lensdata.sources import place, tables
from lensdata.sources.item import BRIEF_NAMES, DENSE_NAMES
from lensdata.sources.place import Place
from lensdata.sources.tables import TABLE_SUFFIXES, Columns

SUFFIXES = (".txt", ".csv", ".tsv")
DEFAULT_IMAGE = Columns().image
GUESSES = {
    "url": ("url",), "alt_text": ("text", "caption", "alt_text"), "licence": ("licence", "license"),
    "brief_text": BRIEF_NAMES, "dense_text": DENSE_NAMES,
}  # fmt: skip
MAX_URL = 8192  # characters; no server takes a longer one
MAX_FIELD = 2**24
TEXT_START = 2**13

Line = tuple[str, dict[str, str | None]]  # the url, and of the other keys of GUESSES those that the list has


def is_list(source: Place, folder: bool, columns: Columns) -> bool:
    """Whether `source` is a list of URLs: a .txt, .csv or .tsv always is; a table is one if a url column is named, or
    if nobody named an image column, it has none called `image`, and it has one called `url` (in whatever case)."""
    if folder:
        return False
    ending = place.suffix(source)
    if ending in SUFFIXES or ending not in TABLE_SUFFIXES:
        return ending in SUFFIXES
    if columns.url is not None:
        return True
    if columns.image != DEFAULT_IMAGE:
        return False
    names = tables.schema(source).names
    return columns.image not in names and any(name.lower() in GUESSES["url"] for name in names)


def is_url(text: str) -> bool:
    """Whether `text` is a URL that may be fetched: http or https, with a host and no login; no file, no other
    scheme."""
    scheme, _, rest = text.partition("://")
    return (
        scheme.lower() in ("http", "https") and rest[:1] not in ("", "/", "?", "#")
        and not rest.startswith(locate.HIDDEN) and len(text) < MAX_URL
    )  # fmt: skip


def check(source: Place, columns: Columns) -> None:
    """Raise BadInput for a list that cannot be read, lacks a named column or holds no URL."""
    if not any(is_url(url) for url, _ in lines(source, columns)):
        raise BadInput(f"{place.printable(str(source))} holds no URL (http:// or https://), as a list would")


def lines(source: Place, columns: Columns) -> Iterator[Line]:
    """The lines of a list that are not empty, in order, without its header."""
    try:
        if place.suffix(source) in TABLE_SUFFIXES:
            yield from _table_lines(source, columns)
            return
        with place.open_binary(source) as file:
            start = file.read(TEXT_START)
            file.seek(0)
            if b"\0" in start.partition(b"\n")[0]:  # UTF-16, or no text at all
                raise BadInput(f"{place.printable(str(source))} is not a text of UTF-8")
            text = io.TextIOWrapper(file, "utf-8-sig", errors="replace", newline="")
            if place.suffix(source) == ".txt":
                yield from ((_shown(url), {}) for line in text if (url := line.strip()))
            else:
                yield from _csv_lines(source, text, columns)
    except (OSError, pa.ArrowException) as error:
        reason = place.reason(error) if isinstance(error, OSError) else " ".join(str(error).split())
        raise BadInput(f"{place.printable(str(source))} cannot be read: {reason}") from None


def _csv_lines(source: Place, text: io.TextIOWrapper, columns: Columns) -> Iterator[Line]:
    limit = csv.field_size_limit(MAX_FIELD)
    try:
        # strict, since a quote that nobody closes would silently take the lines after it for its text
        reader = csv.reader(text, delimiter="\t" if place.suffix(source) == ".tsv" else ",", strict=True)
        names = next(reader, [])
        found = {key: names.index(name) for key, name in _columns(source, names, columns).items()}
        for row in reader:
            fields = {key: row[at].strip() for key, at in found.items() if at < len(row)}
            if url := fields.pop("url", None):
                yield _shown(url), {key: value or None for key, value in fields.items()}
    except csv.Error as error:
        raise BadInput(
            f"{place.printable(str(source))}, line {reader.line_num}: {error} (a quote within a quoted text is doubled)"
        ) from None
    finally:
        csv.field_size_limit(limit)


def _table_lines(source: Place, columns: Columns) -> Iterator[Line]:
    schema, batches = tables.opened(source)
    found = _columns(source, schema.names, columns)
    for key, name in list(found.items()):
        if not tables.is_text(schema.field(name)):
            if key == "url" or name in (named for _, named, _ in columns.texts):
                raise BadInput(f"{source}: the column {name!r} holds {schema.field(name).type}, not text")
            del found[key]
    for batch in batches(sorted(set(found.values()))):
        values: dict[str, list[Any]] = {key: batch.column(name).to_pylist() for key, name in found.items()}
        for n, url in enumerate(values.pop("url")):
            if url and url.strip():
                yield _shown(url.strip()), {key: texts[n] for key, texts in values.items()}


def _shown(url: str) -> str:
    """What the catalog can hold of a line, whatever it is."""
    return place.printable(locate.without_login(url[:MAX_URL]))


def _columns(source: Place, names: list[str], columns: Columns) -> dict[str, str]:
    """Which column has the url, the texts and the licence."""
    shown = place.printable(str(source))
    found = {}
    url = [("url", columns.url, "--url-column")] if columns.url is not None else []
    for key, wanted, option in (*url, *columns.texts):
        if names.count(wanted) != 1:
            raise BadInput(
                f"{shown} has no column {wanted!r}; it has {', '.join(names)}: name one with {option}"
            )
        found[key] = wanted
    for key, guesses in GUESSES.items():
        if guess := next((name for want in guesses for name in names if name.lower() == want), None):
            found.setdefault(key, guess)
    if "url" not in found:
        raise BadInput(f"{shown} has no column `url`; it has {', '.join(names)}: name one with --url-column")
    return found
