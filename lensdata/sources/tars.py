"""WebDataset tars: members that share a key (the path up to the first dot of its last part) are one sample."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

from catalog.console import say
from lensdata.sources.item import IMAGE_SUFFIXES, Item

BLOCK = tarfile.BLOCKSIZE


def list_tar(path: Path) -> Iterator[Item]:
    """The images of a tar, as ranges of it: nothing is extracted, so a member's name can lead nowhere.

    A tar without its end mark was cut, possibly between two members, where reading it shows no error: what is there
    is listed and the cut is said.
    """
    key: str | None = None
    members: list[tuple[str, tuple[str, int, int]]] = []
    end = 0
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                end = member.offset_data + -(-member.size // BLOCK) * BLOCK
                if not member.isfile():
                    continue
                folder, _, base = member.name.rpartition("/")
                if (this := f"{folder}/{base.partition('.')[0]}") != key:
                    yield from _sample(members)
                    key, members = this, []
                suffix = os.path.splitext(base)[1].lower()  # noqa: PTH122 (a member's name is no path of ours)
                members.append((suffix, (str(path), member.offset_data, member.size)))
        if path.stat().st_size < end + BLOCK:
            say(f"ingest: {path} ends without an end mark; it was cut and may lack samples")
    except (tarfile.TarError, OSError) as error:
        say(f"ingest: {path} breaks off after {key or 'nothing'} ({error}); what stands before is kept")
    yield from _sample(members)


def _sample(members: list[tuple[str, tuple[str, int, int]]]) -> Iterator[Item]:
    sidecars = dict(members)
    for suffix, (uri, offset, length) in members:
        if suffix in IMAGE_SUFFIXES:
            yield Item(uri, offset, length, sidecars.get(".txt"), sidecars.get(".json"))
