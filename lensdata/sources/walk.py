"""Going through folders, wherever they are: images with their sidecars, tars, folders below; or nothing but tables."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from catalog.bytes.identity import SIDECARS
from catalog.bytes.place import Facts, Place, suffix
from catalog.errors import BadInput
from lensdata.sources import sidecars
from lensdata.sources.files import Files
from lensdata.sources.item import IMAGE_SUFFIXES, LINE_SUFFIXES, LIST_SUFFIXES, TABLE_SUFFIXES, Item
from lensdata.sources.source import Begun, Columns, Source
from lensdata.sources.survey import Survey
from lensdata.sources.tar import Tar
from lensdata.sources.texts.beside import ENDINGS, Beside
from lensdata.sources.texts.sorted_table import Table

COMPRESSED_TAR = re.compile(r"\.(tgz|tbz2?|txz|tar\.\w+)$", re.IGNORECASE)
OUR_FORMAT = re.compile(rb'"format":\s*"lens-manifest/')  # in the manifest.json of shards that Lens wrote

Entries = tuple[dict[str, Facts], set[str]]  # the files and folders of one folder, by their names
Other = tuple[str, Facts]  # a file that is neither image nor tar, nor an image's sidecar
Found = Item | Tar | str | Other  # a str is a folder


class Tree(Protocol):
    """A disk or a store: how one of its folders is listed, and what a path of it is as a place."""

    def entries(self, folder: str, survey: Survey, named: bool) -> Entries | None:
        """What is in `folder`, but hidden and odd entries; None for a folder that Lens itself wrote. `named`: it is
        the source itself, which may be shards of Lens's own."""

    def place(self, path: str) -> Place:
        """The file or folder `path`."""

    def path(self, place: Place) -> str:
        """As what `entries` knows the folder `place`."""

    def passes_over(self, path: str) -> bool:
        """Whether listings of the folders above pass over the file or folder `path`."""


class Walk(Source):
    """Everything below a folder in order of the paths; tars are read as WebDataset shards.

    What is passed over is counted, and nothing raises. Where no image is found at all, the tables are the source, or
    else the lists.
    """

    nothing = f"holds no image ({', '.join(sorted(IMAGE_SUFFIXES)[:6])}, ...) and no .tar with one"
    instead: tuple[tuple[str, ...], ...] = (
        TABLE_SUFFIXES,
        tuple(s for s in LIST_SUFFIXES if s not in SIDECARS),
    )

    def __init__(self, place: Place, columns: Columns, tree: Tree, base: Place) -> None:
        super().__init__(place)
        self.columns, self.tree, self.base, self.root = columns, tree, base, tree.path(base)
        self.tables: Files | None = None  # set by `check`
        self._begun: Begun | None = None
        self._others: dict[str, Facts] = {}
        self._beside = Beside(columns)

    def check(self) -> None:
        """Walks as far as the first image."""
        if self._begun is not None:
            return
        self._others, self.tables, self._beside = {}, None, Beside(self.columns)
        begun = self._begun = Begun(self._walk)
        if begun.first is not None:
            return
        chosen = self._instead(begun.survey)
        if not chosen:
            raise self._empty(begun.survey)
        self.tables = Files(self.place, chosen, self.columns)
        try:
            self.tables.check()
        except BadInput as error:
            raise type(error)(self._because(str(error))) from None

    @property
    def names_places(self) -> bool:
        """As `Source` has it."""
        return self.tables is not None and self.tables.names_places

    def below(self) -> Place | None:
        """As `Source.below`."""
        return self.base

    def reaches(self, other: Source) -> bool:
        """As `Source.reaches`."""
        if self.tables is not None and other.place in self.tables.found:
            return True
        inner, outer = other.below(), f"{self.base}".rstrip("/")
        if other is self or inner is None or isinstance(inner, str) != isinstance(self.base, str):
            return False
        if f"{inner}".rstrip("/") == outer:
            return self._holds([])
        names = f"{inner}".removeprefix(f"{outer}/").split("/")
        if not f"{inner}".startswith(f"{outer}/") or any(name.startswith(".") for name in names):
            return False
        above = (self._path(self.root, "/".join(names[: n + 1])) for n in range(len(names)))
        return self._holds(names) and not any(map(self.tree.passes_over, above))

    def _holds(self, names: Sequence[str]) -> bool:
        """Whether the listing comes to the path of these names below the base."""
        return True

    def _items(self, survey: Survey, root: Path, retry: bool) -> Iterator[Item]:
        self.check()
        begun, self._begun = self._begun, None
        assert begun is not None
        if self.tables is not None:
            yield from begun.items(survey)
            yield from self.tables.list(survey, root, retry)
            return
        yield from self._beside.join(begun.items(survey), survey, root)
        for table in sorted(self._beside.left, key=lambda table: table.path):
            if table.told:
                self._pass_over(table.path, survey)

    def _because(self, reason: str) -> str:
        return f"{self.shown} holds no image, so that its tables or lists are read: {reason}"

    def _walk(self, survey: Survey) -> Iterator[Item]:
        """Fills `_others` until an image is found, with which all others are passed over."""
        images = False
        under_way = [self._one(self.root, survey, True)]  # a stack: folders may nest deeper than calls may
        while under_way:
            found = next(under_way[-1], None)
            if found is None:
                under_way.pop()
            elif isinstance(found, str):
                under_way.append(self._one(found, survey, False))
            elif isinstance(found, Item):
                images = True
                yield found
            elif isinstance(found, Tar):
                for item in found.samples(survey):
                    images = True
                    yield item
            elif not images and any(suffix(found[0]) in kinds for kinds in self.instead):
                self._others[found[0]] = found[1]
            elif suffix(found[0]) not in ENDINGS:  # of tables beside images only the join knows
                self._pass_over(found[0], survey)
            if images and self._others:
                for path in self._others:
                    if suffix(path) not in ENDINGS:
                        self._pass_over(path, survey)
                self._others = {}
        survey.roots += self._roots()

    def _roots(self) -> Sequence[str]:
        """The folders of which all was listed."""
        return [self.root]

    def _one(self, folder: str, survey: Survey, named: bool) -> Iterator[Found]:
        """One folder, in order of the names."""
        if entries := self.tree.entries(folder, survey, named):
            yield from self._arrange(folder, *entries, entries[0].keys() | entries[1], survey)

    @staticmethod
    def _path(folder: str, name: str) -> str:
        return f"{folder.rstrip('/')}/{name}"

    def _arrange(
        self, folder: str, files: dict[str, Facts], folders: set[str], names: set[str], survey: Survey
    ) -> Iterator[Found]:
        """Of a folder's entries those called `names`. Any of its files may be the sidecar of an image."""
        used: set[str] = set()
        self._meet_tables(folder, files, names)
        for name in sorted(names):
            ending = os.path.splitext(name)[1].lower()  # noqa: PTH122 (a Path for every file costs more than the rest)
            path = self._path(folder, name)
            if name in folders:
                yield path
            elif ending in IMAGE_SUFFIXES:
                yield sidecars.image(path.removesuffix(name), name, files, used)
            elif ending == ".tar":
                yield Tar(self.tree.place(path), files[name])
            elif COMPRESSED_TAR.search(name):
                survey.note("compressed tars passed over (decompress them: images are read in place)", path)
            elif _tells_of_tar(name, names):
                survey.note("tables that tell of the tar of their name passed over", path)
            elif ending not in SIDECARS:
                yield path, files[name]
        for name in sorted((names - folders) - used):
            if name.lower().endswith(SIDECARS):
                yield self._path(folder, name), files[name]

    def _meet_tables(self, folder: str, files: dict[str, Facts], names: set[str]) -> None:
        """Tell `_beside` of the folder's tables: also of those that a pattern does not match, as of sidecars."""
        tables = [
            Table(
                self._path(folder, name),
                self.tree.place(self._path(folder, name)),
                files[name],
                name in names,
            )
            for name in sorted(files)
            if name.lower().endswith(ENDINGS) and not _tells_of_tar(name, files.keys())
        ]
        if tables:
            self._beside.meet(folder.rstrip("/"), tables)

    def _instead(self, survey: Survey) -> dict[Place, Facts]:
        """The tables, or else the lists, of a walk that met no image; the rest is passed over."""
        for suffixes in self.instead:
            chosen = [path for path in self._others if suffix(path) in suffixes]
            if chosen:
                break
        found = {self.tree.place(path): self._others.pop(path) for path in chosen}
        for path in self._others:
            self._pass_over(path, survey)
        return found

    def _pass_over(self, path: str, survey: Survey) -> None:
        kind = suffix(path)
        if kind in TABLE_SUFFIXES:
            survey.note("tables inside folders passed over (name them to ingest them)", path)
        elif kind in LINE_SUFFIXES:
            survey.note("lists inside folders passed over (name them to ingest them)", path)
        elif kind in SIDECARS:
            survey.note("texts without an image of their name", path)
        else:
            survey.note("files passed over", path, ending=kind)


def _tells_of_tar(name: str, names: Collection[str]) -> bool:
    """Whether a table is what img2dataset tells of the tar of its name."""
    stem, ending = os.path.splitext(name)  # noqa: PTH122
    return ending.lower() in TABLE_SUFFIXES and f"{stem}.tar" in names
