"""A folder of image files, each with an optional NAME.txt (caption) and NAME.json (img2dataset's fields) beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lensdata.sources.item import IMAGE_SUFFIXES, Item
from lensdata.sources.tars import list_tar


def list_folder(root: Path) -> Iterator[Item]:
    """Items below `root` in order of their paths. Hidden files and folders are passed over; links to folders are not
    followed, so that a loop of links ends; tars are read as WebDataset shards."""
    with os.scandir(root) as entries:
        found = sorted(
            (entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name
        )
    sizes = {}
    for entry in found:
        if entry.is_file():
            try:
                sizes[entry.name] = entry.stat().st_size
            except OSError:  # it vanished while we looked, or is a broken link
                continue
    for entry in found:
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from list_folder(path)
        elif entry.name in sizes and path.suffix.lower() in IMAGE_SUFFIXES:
            yield Item(
                str(path), 0, sizes[entry.name], _sidecar(path, ".txt", sizes), _sidecar(path, ".json", sizes)
            )
        elif entry.name in sizes and path.suffix == ".tar":
            yield from list_tar(path)


def _sidecar(image: Path, suffix: str, sizes: dict[str, int]) -> tuple[str, int, int] | None:
    name = image.with_suffix(suffix).name
    return (str(image.with_name(name)), 0, sizes[name]) if name in sizes else None
