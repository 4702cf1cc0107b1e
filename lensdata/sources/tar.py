"""WebDataset tars, read in place: consecutive members that share a key are one sample.

The key is the member's path up to the first dot of its last part, the extension all that follows that dot. A sample's
images are its members with exactly an image's extension (`0.png`). Only where it has none, a longer extension that
ends like an image's counts, too (`b.v2.png`), so `0.mask.png` beside `0.png` is never taken for an image. The text is
`txt` or else `caption`, and the fields are `json`, exactly, so `0.negative.txt` is no caption; an image `b.v2.png`
prefers a `b.v2.txt`.
An extension that the sample has already begins a new sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from catalog.bytes import place, tar
from catalog.bytes.place import Facts, Place
from catalog.errors import BadInput
from lensdata.sources.item import IMAGE_SUFFIXES, LIST_SUFFIXES, TABLE_SUFFIXES, Item, Range
from lensdata.sources.source import Begun, Source
from lensdata.sources.survey import Survey

TEXTS, FIELDS = ("txt", "caption"), ("json",)
FAULTS = {
    "cut": "tars that end without an end mark were cut and may lack samples",
    "damaged": "tars that break off at a damaged header",
    "continued": "tars that go on after their end mark, of which the first part is read",
    "unreadable": "tars that break off; what stands before is kept",
}

Members = dict[str, Range]


class Tar(Source):
    """A tar whose images are ranges of it: nothing is extracted, so a member's name can lead nowhere."""

    nothing = "is a tar that holds no image"

    def __init__(self, place: Place, facts: Facts) -> None:
        super().__init__(place)
        self.facts = facts
        self._begun: Begun | None = None
        self._refused: str | None = None

    def check(self) -> None:
        """Reads as far as the first image."""
        if self._begun is not None:
            return
        begun = self._begun = Begun(self.samples)
        if (reason := self._refused) and place.suffix(self.place) != ".tar" and "compressed" not in reason:
            kinds = ", ".join((*TABLE_SUFFIXES, *LIST_SUFFIXES))
            reason = f"is not a folder of images, a WebDataset .tar, a table or a list of URLs ({kinds})"
        if reason:
            raise BadInput(f"{self.shown} {reason}")
        if begun.first is None:
            raise self._empty(begun.survey)

    def below(self) -> Place | None:
        """As `Source.below`."""
        return self.place if place.suffix(self.place) == ".tar" else None

    def _items(self, survey: Survey, root: Path, retry: bool) -> Iterator[Item]:
        self.check()
        begun, self._begun = self._begun, None
        assert begun is not None
        return begun.items(survey)

    def samples(self, survey: Survey) -> Iterator[Item]:
        """The images, of what may be one of many tars: nothing raises.

        A tar may have been cut, possibly between two members, where reading it shows no error: what is there is listed
        and the cut is noted in `survey`, as is everything passed over.
        """
        uri = str(self.place)
        survey.tars[uri] = self.facts
        key: str | None = None
        members: Members = {}
        for member in self._members(survey):
            folder, _, base = member.name.rpartition("/")
            if member.name.startswith("/") or ".." in folder.split("/"):
                survey.note(
                    "members of tars named to lead out of a folder (read in place)", f"{uri}:{member.name}"
                )
            stem, dot, extension = base.partition(".")
            if not stem or not dot:
                survey.note("members of tars without a key or extension passed over", f"{uri}:{member.name}")
                continue
            this, extension = f"{folder}/{stem}", extension.lower()
            if this == key and extension in members:
                survey.note(
                    "keys that occur twice in a tar (each is taken for a sample)", f"{uri}:{member.name}"
                )
            if this != key or extension in members:
                yield from _sample(uri, self.facts, key, members, survey)
                key, members = this, {}
            members[extension] = (uri, member.offset, member.size)
        yield from _sample(uri, self.facts, key, members, survey)

    def _members(self, survey: Survey) -> Iterator[tar.Member]:
        """The regular files of the tar, up to its end or to where it breaks off. `_refused` is why there are none."""
        last = "nothing"
        try:
            with place.open_binary(self.place, self.facts[0]) as file:
                if reason := tar.refusal(file):
                    self._refuse(reason, survey)
                    return
                file.seek(0)
                for member in tar.members(file):
                    last = member.name
                    if member.regular:
                        yield member
                    else:
                        survey.note(
                            "links, sparse and special members of tars passed over", f"{self.place}:{last}"
                        )
        except tar.Broken as fault:
            survey.note(FAULTS[fault.kind], f"{self.place} after {last}: {fault}")
        except OSError as error:
            self._refuse(f"cannot be read ({place.reason(error)})", survey)

    def _refuse(self, reason: str, survey: Survey) -> None:
        self._refused = reason
        survey.note("files named .tar that are passed over", f"{self.place}, which {reason}")
        survey.unlisted.append(str(self.place))


def _sample(uri: str, facts: Facts, key: str | None, members: Members, survey: Survey) -> Iterator[Item]:
    pictures = [e for e in members if f".{e.rpartition('.')[2]}" in IMAGE_SUFFIXES]
    plain = [e for e in pictures if "." not in e]
    used = set()
    for extension in plain or pictures:
        stem = extension.rpartition(".")[0]
        text, fields = (
            next((name for kind in kinds for name in (f"{stem}.{kind}", kind) if name in members), "")
            for kinds in (TEXTS, FIELDS)
        )
        used |= {extension, text, fields}
        _, offset, length = members[extension]
        yield Item(uri, offset, length, members.get(text), members.get(fields), *facts)
    for extension in members.keys() - used:
        if extension in pictures:
            kind = "further pictures of samples in tars (masks?) passed over"
        elif not used and extension in TEXTS + FIELDS:
            kind = "texts in tars apart from any image (the members of a sample must follow one another)"
        else:
            kind = "members of tars that are neither image nor its text passed over"
            survey.note(kind, f"{uri}:{key}.{extension}", ending=f".{extension}")
            continue
        survey.note(kind, f"{uri}:{key}.{extension}")
