"""A list of URLs as a source: every line is an image, downloaded or with the reason why it was not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from catalog.bytes import place
from catalog.bytes.place import Facts, Place
from catalog.errors import BadInput
from catalog.store import parts
from lensdata.sources.item import Item
from lensdata.sources.kept import Kept
from lensdata.sources.lists import img2dataset, lines
from lensdata.sources.lists.address import is_url
from lensdata.sources.lists.downloads import list_downloads
from lensdata.sources.source import Columns, Empty, Source
from lensdata.sources.survey import Survey
from lensdata.sources.tables.columns import tell_textless, texts_in, url_column
from lensdata.sources.tables.fault import Faults
from lensdata.sources.tables.reader import TableFile
from lensdata.sources.tables.rowfile import RowFile

FAULTS = "faults.json"  # what was wrong with the rows of a list that are not known by their URLs
LOOK = 100_000  # lines among which there must be a URL


class UrlList(Source):
    """A text of URLs, or a file of rows with a column of them (`table`)."""

    nothing = "is a list without a line"

    def __init__(self, place: Place, facts: Facts, columns: Columns, table: RowFile | None = None) -> None:
        super().__init__(place)
        self.facts, self.columns, self.table = facts, columns, table
        self._lines: Iterator[lines.Line] | None = None
        self._begun = False
        self._faults = Faults()

    def look(self) -> None:
        """Raise BadInput if the list cannot be read or lacks a column."""
        if self._lines is None:
            if self.table is None:
                self._lines = lines.of_text(self.place, self.facts)
            else:
                self._faults = Faults()
                self._lines = lines.of_rows(self.table, self.columns, self._faults)

    def check(self) -> None:
        """Of a text reads as far as the first URL, of a table the footer; and finds what downloads."""
        self.look()
        if not isinstance(self.table, TableFile):
            self._begin()
        elif self.table.empty:
            raise self._empty(Survey())
        img2dataset.command()

    def lines(self) -> Iterator[lines.Line]:
        """The lines, once. Raises BadInput if the first LOOK of them hold no URL."""
        self.look()
        self._begin()
        given, self._lines, self._begun = self._lines, None, False
        assert given is not None
        return given

    def _begin(self) -> None:
        if self._begun:
            return
        assert self._lines is not None
        ahead = []
        for line in self._lines:
            ahead.append(line)
            if is_url(line[0]) or len(ahead) == LOOK:
                break
        if not ahead or not is_url(ahead[-1][0]):
            kind = BadInput if ahead else Empty
            raise kind(f"{self.shown} holds no URL (http:// or https://), as a list would")
        self._lines, self._begun = chain(ahead, self._lines), True

    def _items(self, survey: Survey, root: Path, retry: bool) -> Iterator[Item]:
        self.look()
        if self.table is not None:
            named = texts_in(self.table, self.columns) | {"url": url_column(self.table, self.columns)}
            tell_textless(self.table, named, survey)
        kept = Kept(root / "downloads", place.stem(self.place)[:40], str(self.place))
        wanted = {
            "source": str(self.place), "facts": list(self.facts), "url": self.columns.url, "text": self.columns.text,
            **self.columns.further,
        }  # fmt: skip
        known = kept.is_of(wanted)  # then the lines are not read again
        yield from list_downloads(kept, wanted, self.lines, survey, retry)
        told = kept.folder / FAULTS
        if not known:
            told.unlink(missing_ok=True)
            if self._faults.counts:
                parts.write_bytes(told, json.dumps(self._faults.counts).encode())
        elif told.is_file():
            self._faults = Faults(
                {why: (n, first) for why, (n, first) in json.loads(told.read_bytes()).items()}
            )
        self._faults.tell(survey, self.place)
