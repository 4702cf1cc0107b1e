"""The tables, or the lists of URLs, of a folder, a prefix or a pattern, as one source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

from catalog.bytes.place import Facts, Place, suffix
from lensdata.sources.item import Item
from lensdata.sources.lists.url_list import UrlList
from lensdata.sources.source import Columns, Empty, Source
from lensdata.sources.survey import Survey
from lensdata.sources.tables.columns import is_list
from lensdata.sources.tables.open import row_file
from lensdata.sources.tables.table import Table

AHEAD = 256  # files whose columns are checked beforehand: of the many thousands of some data sets that would take long


class Files(Source):
    """Tables or lists in the order of their names, each checked for the same columns. The first table decides whether
    all hold images or URLs. Each is kept as if it had been named alone, so that a file more is a file more to copy."""

    nothing = "has tables or lists, and none that holds anything"

    def __init__(self, place: Place, found: Mapping[Place, Facts], columns: Columns) -> None:
        super().__init__(place)
        self.found, self.columns = found, columns
        self._lists: bool | None = None
        self._ahead: dict[Place, Table | UrlList] = {}

    @property
    def names_places(self) -> bool:
        """As `Source` has it, of the first file."""
        return any(file.names_places for file in list(self._ahead.values())[:1])

    def check(self) -> None:
        """Reads the columns of the first AHEAD files, and looks for one that is not empty."""
        self._ahead = {path: self._open(path) for path in islice(self.found, AHEAD)}
        for file in self._ahead.values():
            file.look()
        for file in self._ahead.values():
            with suppress(Empty):
                file.check()
                return
        if len(self._ahead) == len(self.found):
            raise self._empty(Survey())

    def _items(self, survey: Survey, root: Path, retry: bool) -> Iterator[Item]:
        for path in self.found:
            file = self._ahead.pop(path, None) or self._open(path)
            try:
                yield from file.list(survey, root, retry)
            except Empty:
                survey.note("tables and lists that hold nothing", str(path))

    def _open(self, path: Place) -> Table | UrlList:
        facts = self.found[path]
        if suffix(path) == ".txt":
            return UrlList(path, facts, self.columns)
        file = row_file(path, facts)
        if self._lists is None:
            self._lists = is_list(file, self.columns)
        return UrlList(path, facts, self.columns, file) if self._lists else Table(path, [file], self.columns)
