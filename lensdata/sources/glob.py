"""A pattern that no shell expanded: `crawl/*.tar`, `part-*.parquet`, `s3://bucket/**/*.tar`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from catalog.bytes.place import Place, suffix
from lensdata.sources.folder import Disk
from lensdata.sources.item import IMAGE_SUFFIXES, LIST_SUFFIXES
from lensdata.sources.prefix import Store
from lensdata.sources.source import Columns, Empty
from lensdata.sources.survey import Survey
from lensdata.sources.walk import Found, Walk

MAGIC = "*?["
DEEP = "**"

Steps = frozenset[
    int
]  # how many names of a pattern a path may have matched; as many as it has: the path matches


def is_pattern(place: Place) -> bool:
    """Whether a name of `place` may be a pattern; a bucket's or host's may not."""
    return bool(_split(place)[1])


class Glob(Walk):
    """What a pattern matches, by the rules of `Folder`: images with their sidecars, tars and whole folders; or, where
    these hold no image, tables or lists.

    `**` stands for any number of folders. A name that literally is the pattern's matches, too. Hidden names are matched
    by none, and links to folders are not followed.
    """

    instead = (*Walk.instead, tuple(sorted(set(LIST_SUFFIXES).difference(*Walk.instead))))

    def __init__(self, place: Place, columns: Columns) -> None:
        base, names = _split(place)
        tree = Disk() if isinstance(base, Path) else Store(base)
        super().__init__(place, columns, tree, base)
        self.pattern = Pattern(names)

    def below(self) -> Place | None:
        """As `Source.below`."""
        names = self.pattern.names
        return self.base if len(names) == 1 and suffix(names[0]) in {".tar", *IMAGE_SUFFIXES} else None

    def _holds(self, names: Sequence[str]) -> bool:
        steps = self.pattern.start
        for name in names:
            steps = steps if self.pattern.done(steps) else self.pattern.after(steps, name)
        return self.pattern.done(steps)

    def _walk(self, survey: Survey) -> Iterator:
        self._steps = {self.root: self.pattern.start}
        self._matched = False
        self._whole: list[str] = []
        return super()._walk(survey)

    def _roots(self) -> Sequence[str]:
        return self._whole

    def _one(self, folder: str, survey: Survey, named: bool) -> Iterator[Found]:
        steps = self._steps.pop(folder, None)
        if steps is None:  # below what matched
            yield from super()._one(folder, survey, False)
        elif self.pattern.done(steps):
            self._whole.append(folder)
            yield from super()._one(folder, survey, True)
        elif entries := self.tree.entries(folder, survey, named):
            files, folders = entries
            matched = {name for name in files if self.pattern.done(self.pattern.after(steps, name))}
            further = {name: after for name in folders if (after := self.pattern.after(steps, name))}
            self._matched |= bool(matched) or any(map(self.pattern.done, further.values()))
            self._steps |= {self._path(folder, name): after for name, after in further.items()}
            yield from self._arrange(folder, files, folders, matched | further.keys(), survey)

    def _because(self, reason: str) -> str:
        return reason

    def _empty(self, survey: Survey) -> Empty:
        if self._matched:
            return super()._empty(survey)
        return Empty("; ".join([f"no file or folder matches {self.shown}", *survey.lines()]))


class Pattern:
    """The names of a pattern, matched one folder after the other."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.start = self._with_none({0})

    def after(self, steps: Steps, name: str) -> Steps:
        """Where a folder that stands at `steps` leads by an entry called `name`; nowhere if that does not match."""
        found = set()
        for at in steps - {len(self.names)}:
            if self.names[at] == DEEP:
                found.add(at)
            elif name == self.names[at] or fnmatchcase(name, self.names[at]):
                found.add(at + 1)
        return self._with_none(found)

    def done(self, steps: Steps) -> bool:
        """Whether a path that stands there matches."""
        return len(self.names) in steps

    def _with_none(self, steps: Iterable[int]) -> Steps:
        """Also the steps after a `**` that stands for no folder."""
        found = set(steps)
        for at, name in enumerate(self.names):
            if name == DEEP and at in found:
                found.add(at + 1)
        return frozenset(found)


def _split(place: Place) -> tuple[Place, list[str]]:
    """The folder above the first name that may be a pattern, and the names from there on."""
    if isinstance(place, Path):
        first, *names = place.parts or (".",)
    else:
        scheme, _, rest = place.partition("://")
        bucket, *names = rest.split("/")
        first = f"{scheme}://{bucket}"
    start = next((n for n, name in enumerate(names) if any(char in name for char in MAGIC)), len(names))
    above, pattern = names[:start], names[start:]
    if isinstance(place, Path):
        return Path(first, *above), pattern
    return "/".join([first, *above]), pattern
