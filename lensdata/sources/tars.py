"""WebDataset tars, read in place: consecutive members that share a key are one sample.

The key is the member's path up to the first dot of its last part, the extension all that follows that dot. A sample's
images are its members with exactly an image's extension (`0.png`). Only where it has none, a longer extension that
ends like an image's counts, too (`b.v2.png`), so `0.mask.png` beside `0.png` is never taken for an image. The text is
`txt` and the fields are `json`, exactly, so `0.negative.txt` is no caption; an image `b.v2.png` prefers a `b.v2.txt`.
An extension that the sample has already begins a new sample.
"""

from __future__ import annotations

from collections.abc import Iterator

from catalog.bytes import tar
from lensdata.sources import place
from lensdata.sources.item import IMAGE_SUFFIXES, Item, Range
from lensdata.sources.place import Facts, Place
from lensdata.sources.survey import Survey

FAULTS = {
    "cut": "tars that end without an end mark were cut and may lack samples",
    "damaged": "tars that break off at a damaged header",
    "continued": "tars that go on after their end mark, of which the first part is read",
    "unreadable": "tars that break off; what stands before is kept",
}

Members = dict[str, Range]


def refusal(path: Place) -> str | None:
    """Why the file `path` cannot be read as a tar ("is empty", ...), or None if it can."""
    try:
        with place.open_binary(path) as file:
            return tar.refusal(file)
    except OSError as error:
        return f"cannot be read ({place.reason(error)})"


def list_tar(path: Place, survey: Survey) -> Iterator[Item]:
    """The images of a tar, as ranges of it: nothing is extracted, so a member's name can lead nowhere.

    A tar may have been cut, possibly between two members, where reading it shows no error: what is there is listed
    and the cut is noted in `survey`, as is everything passed over. Nothing raises.
    """
    try:
        facts = place.facts(path)
    except OSError as error:
        survey.note("tars that cannot be read", f"{path}, {place.reason(error)}")
        survey.unlisted.append(str(path))
        return
    survey.tars[str(path)] = facts
    if reason := refusal(path):
        survey.note("files named .tar that are passed over", f"{path}, which {reason}")
        survey.unlisted.append(str(path))
        return
    key: str | None = None
    members: Members = {}
    for member in _members(path, survey):
        folder, _, base = member.name.rpartition("/")
        if member.name.startswith("/") or ".." in folder.split("/"):
            survey.note(
                "members of tars named to lead out of a folder (read in place)", f"{path}:{member.name}"
            )
        stem, dot, extension = base.partition(".")
        if not stem or not dot:
            survey.note("members of tars without a key or extension passed over", f"{path}:{member.name}")
            continue
        this, extension = f"{folder}/{stem}", extension.lower()
        if this == key and extension in members:
            survey.note(
                "keys that occur twice in a tar (each is taken for a sample)", f"{path}:{member.name}"
            )
        if this != key or extension in members:
            yield from _sample(str(path), facts, key, members, survey)
            key, members = this, {}
        members[extension] = (str(path), member.offset, member.size)
    yield from _sample(str(path), facts, key, members, survey)


def _members(path: Place, survey: Survey) -> Iterator[tar.Member]:
    """The regular files of a tar, up to its end or to where it breaks off."""
    last = "nothing"
    try:
        with place.open_binary(path) as file:
            for member in tar.members(file):
                last = member.name
                if member.regular:
                    yield member
                else:
                    survey.note("links, sparse and special members of tars passed over", f"{path}:{last}")
    except tar.Broken as fault:
        survey.note(FAULTS[fault.kind], f"{path} after {last}: {fault}")
    except OSError as error:
        survey.note(FAULTS["unreadable"], f"{path} after {last}: {place.reason(error)}")


def _sample(uri: str, facts: Facts, key: str | None, members: Members, survey: Survey) -> Iterator[Item]:
    pictures = [e for e in members if f".{e.rpartition('.')[2]}" in IMAGE_SUFFIXES]
    plain = [e for e in pictures if "." not in e]
    used = set()
    for extension in plain or pictures:
        stem = extension.rpartition(".")[0]
        text, fields = (
            next((name for name in (f"{stem}.{kind}", kind) if name in members), "")
            for kind in ("txt", "json")
        )
        used |= {extension, text, fields}
        _, offset, length = members[extension]
        yield Item(uri, offset, length, members.get(text), members.get(fields), *facts)
    for extension in members.keys() - used:
        if extension in pictures:
            kind = "further pictures of samples in tars (masks?) passed over"
        elif not used and extension in ("txt", "json"):
            kind = "texts in tars apart from any image (the members of a sample must follow one another)"
        else:
            kind = "members of tars that are neither image nor its txt or json passed over"
        survey.note(kind, f"{uri}:{key}.{extension}")
