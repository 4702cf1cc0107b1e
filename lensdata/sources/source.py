"""The contract of a source: opened once, checked before a catalog is made, then listed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from catalog.bytes.place import Place, printable
from catalog.errors import BadInput
from lensdata.sources.item import Item
from lensdata.sources.survey import Survey


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold the image (bytes, a path or URL, or a Hugging Face image) and its text.

    `text` None takes `text` or `caption`, whichever there is; `brief` and `dense` None one of their usual names
    (sources.item). A `url` makes a table a list of URLs to download.
    """

    image: str = "image"
    text: str | None = None
    url: str | None = None
    brief: str | None = None
    dense: str | None = None

    @property
    def texts(self) -> list[tuple[str, str, str]]:
        """(column of `images`, the table's column, option) of every text whose column was named."""
        named = (
            ("alt_text", self.text, "--text-column"),
            ("brief_text", self.brief, "--brief-column"),
            ("dense_text", self.dense, "--dense-column"),
        )
        return [(column, name, option) for column, name, option in named if name is not None]

    @property
    def further(self) -> dict[str, str]:
        """The named columns of brief and dense captions, on which a copy of the table depends, too."""
        return {column: name for column, name, _ in self.texts if column != "alt_text"}


DEFAULTS = Columns()


class Empty(BadInput):
    """A source that can be read and holds nothing."""


class Source(ABC):
    """One place that images come from. What `check` has read, `list` does not read again: no folder is listed twice,
    no footer and no hub asked twice.

    `place` is what it was opened by: an absolute path, or a URL. `nothing` says what is wrong with an empty one.
    """

    nothing = "holds no image"

    def __init__(self, place: Place) -> None:
        self.place = place

    @abstractmethod
    def check(self) -> None:
        """Raise BadInput, one line, for what cannot be read as what it is, lacks a column or holds nothing. Looks no
        further than the first image; sources of one command are checked before anything is done."""

    @abstractmethod
    def _items(self, survey: Survey, root: Path, retry: bool) -> Iterator[Item]:
        """As `list`; what `check` does is done here if nobody has called it."""

    @property
    def names_places(self) -> bool:
        """Whether it tells of images by their places, which other sources may list, too. Asked after `check`."""
        return False

    def below(self) -> Place | None:
        """What the listing of a folder above has to come to for this to be listed by it; None if that never is."""
        return None

    def reaches(self, other: Source) -> bool:
        """Whether listing this lists `other`, too."""
        return False

    def list(self, survey: Survey, root: Path, retry: bool = False) -> Iterator[Item]:
        """Its images, in an order that depends on the source alone.

        `root` is the catalog's folder, which keeps what has to be copied or downloaded; `retry` downloads again what
        failed. What is passed over is in `survey` once all is listed. Raises BadInput for a source that proves damaged
        or empty, and LensError where a store or tool fails on the way.
        """
        own, empty = Survey(), True
        for item in self._items(own, root, retry):
            empty = False
            yield item
        survey.absorb(own)
        if empty:
            raise self._empty(own)

    @property
    def shown(self) -> str:
        """The place as a message may have it."""
        return printable(str(self.place))

    def _empty(self, survey: Survey) -> Empty:
        return Empty("; ".join([f"{self.shown} {self.nothing}", *survey.lines()]))


class Begun:
    """A listing that `check` has begun, as far as its first image, and that `list` goes on with."""

    def __init__(self, listing: Callable[[Survey], Iterator[Item]]) -> None:
        self.survey = Survey()
        self._rest = listing(self.survey)
        self.first = next(self._rest, None)

    def items(self, survey: Survey) -> Iterator[Item]:
        """All of it; then `survey` has what was passed over."""
        if self.first is not None:
            yield self.first
        yield from self._rest
        survey.absorb(self.survey)
