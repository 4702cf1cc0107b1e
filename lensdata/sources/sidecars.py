"""An image file with the texts beside it: NAME.txt, NAME.caption and NAME.json of NAME.jpg."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

from catalog.bytes.identity import SIDECARS
from catalog.bytes.place import Facts
from lensdata.sources.item import Item, Range

Given = dict[str, str | None]


def image(
    folder: str, name: str, files: Mapping[str, Facts], used: set[str], given: Given | None = None
) -> Item:
    """The image called `name` among the `files` of a folder, with its sidecars, which go to `used`. Of texts a .txt
    counts before a .caption."""
    stem = os.path.splitext(name)[0]  # noqa: PTH122 (a Path for every file costs more than the rest)
    size, mtime = files[name]
    found: dict[str, Range] = {}
    for ending in SIDECARS:
        beside = next((n for n in (stem + ending, stem + ending.upper()) if n in files), None)
        if beside is not None:
            used.add(beside)
            found[ending] = (folder + beside, 0, files[beside][0])
            size, mtime = size + files[beside][0], max(mtime, files[beside][1])
    return Item(
        folder + name, 0, files[name][0], found.get(".txt") or found.get(".caption"), found.get(".json"),
        file_size=size, file_mtime_ns=mtime, given=given,
    )  # fmt: skip


def beside(path: str, given: Given | None = None) -> Item | None:
    """The image file `path` of this disk, looked for with its sidecars; None if it cannot be looked at."""
    folder, name = os.path.split(path)
    stem = os.path.splitext(name)[0]  # noqa: PTH122
    files: dict[str, Facts] = {}
    for one in (name, *(stem + end for ending in SIDECARS for end in (ending, ending.upper()))):
        with suppress(OSError, ValueError):
            found = os.stat(f"{folder}/{one}")  # noqa: PTH116
            files[one] = (found.st_size, found.st_mtime_ns)
        if name not in files:
            return None
    return image(folder.rstrip("/") + "/", name, files, set(), given)
