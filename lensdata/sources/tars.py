"""WebDataset tars: members that share a key (the name up to the first dot of its last part) are one sample."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

from catalog.console import say
from lensdata.sources.item import IMAGE_SUFFIXES, Item


def list_tar(path: Path) -> Iterator[Item]:
    """The images of a tar, as ranges of it: nothing is extracted, so a member's name can lead nowhere.

    A tar that breaks off is listed up to the break, and said so.
    """
    key: str | None = None
    members: dict[str, tuple[str, int, int]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                folder, _, base = member.name.rpartition("/")
                stem, _, suffix = base.partition(".")
                if (this := f"{folder}/{stem}") != key:
                    yield from _sample(members)
                    key, members = this, {}
                members[f".{suffix.lower()}"] = (str(path), member.offset_data, member.size)
    except (tarfile.TarError, OSError) as error:
        say(f"ingest: {path} breaks off after {key or 'nothing'} ({error}); what stands before is kept")
    yield from _sample(members)


def _sample(members: dict[str, tuple[str, int, int]]) -> Iterator[Item]:
    for suffix, (uri, offset, length) in members.items():
        if suffix in IMAGE_SUFFIXES:
            yield Item(uri, offset, length, members.get(".txt"), members.get(".json"))
