"""The lines of a list of URLs: of a text, or of a file of rows with a column of URLs."""

from __future__ import annotations

import io
from collections.abc import Iterator

from catalog.bytes import place
from catalog.bytes.place import Facts, Place, printable
from catalog.errors import BadInput
from lensdata.sources.lists.address import shown
from lensdata.sources.source import Columns
from lensdata.sources.tables.columns import columns_read, texts_in, url_column
from lensdata.sources.tables.fault import FAULT, Faults
from lensdata.sources.tables.rowfile import RowFile
from lensdata.sources.texts import values
from lensdata.sources.texts.decode import Undecodable, piece, stream

WINDOW = 2**18  # bytes of a remote list read at once; hundreds of lists may be open
TABLE_ROWS = 8192
GIVEN = (*values.NAMES, *values.ORIGIN, "alt_error")
TOLD = tuple(name for name in GIVEN if name != "url")

Line = tuple[
    str, dict[str, str | None]
]  # the url, and the texts, licence and alt_error; of a text alone nothing


def of_text(path: Place, facts: Facts) -> Iterator[Line]:
    """The lines that are not empty, in order. Raises BadInput, at once and on the way."""
    try:
        text, western = stream(place.open_binary(path, facts[0], WINDOW))
    except OSError as error:
        raise _unreadable(path, error) from None
    except Undecodable as error:
        raise BadInput(f"{printable(str(path))} is not a text that can be read: {error}") from None
    return _text_lines(path, text, western)


def of_rows(file: RowFile, columns: Columns, faults: Faults) -> Iterator[Line]:
    """The rows with a URL, in order; the columns are checked at once. Rows with a fault are told to `faults`: what of
    them is the URL is not known, unless they only lack fields. Raises BadInput, then and on the way."""
    named = texts_in(file, columns) | {"url": url_column(file, columns)}
    return _rows(file, named, faults)


def _text_lines(path: Place, text: io.TextIOWrapper, western: bool) -> Iterator[Line]:
    try:
        yield from ((shown(_decoded(url, western)), {}) for line in text if (url := line.strip()))
    except OSError as error:
        raise _unreadable(path, error) from None
    except UnicodeError as error:
        raise BadInput(f"{printable(str(path))} is damaged: {error}") from None


def _rows(file: RowFile, named: dict[str, str], faults: Faults) -> Iterator[Line]:
    texts = {key: name for key, name in named.items() if key != "url"}
    for batch in file.batches(sorted(set(named.values())), TABLE_ROWS):
        urls = batch[named["url"]]
        cells = {key: batch[name] for key, name in texts.items()} or {"image": urls}
        found = columns_read(cells, texts, file.western, batch.get(FAULT))
        faults.add(found[FAULT])
        for n, url in enumerate(urls):
            shifted = found[FAULT][n] is not None and found[FAULT][n].shifted
            if isinstance(url, str) and url.strip() and not shifted:
                yield shown(_decoded(url.strip(), file.western)), {key: found[key][n] for key in TOLD}


def _decoded(url: str, western: bool | None) -> str:
    """A piece of a stream; bytes that are no text stay, and are percent-encoded."""
    try:
        return url if western is None else piece(url, western)[0]
    except Undecodable:
        return url


def _unreadable(path: Place, error: OSError) -> BadInput:
    return BadInput(f"{printable(str(path))} cannot be read: {place.reason(error)}")
