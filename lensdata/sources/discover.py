"""The choice of the source for a path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from catalog.errors import BadInput
from lensdata.sources.folder import list_folder
from lensdata.sources.item import IMAGE_SUFFIXES, Item
from lensdata.sources.tars import list_tar


def require(paths: list[Path]) -> None:
    """Raise BadInput for the first path that is missing or holds nothing to ingest, before any work is done."""
    for path in paths:
        next(discover(path.expanduser()), None)


def discover(path: Path) -> Iterator[Item]:
    """The images of a folder (with .txt/.json sidecars), of one WebDataset tar, or of a folder of tars.

    Raises BadInput if `path` is none of these or holds nothing to ingest.
    """
    if not path.exists():
        raise BadInput(f"there is no file or folder {path}")
    if path.is_file():
        if path.suffix != ".tar":
            raise BadInput(f"{path} is not a folder of images or a WebDataset .tar")
        yield from list_tar(path)
        return
    empty = True
    for item in list_folder(path):
        empty = False
        yield item
    if empty:
        raise BadInput(f"{path} holds no image ({', '.join(sorted(IMAGE_SUFFIXES)[:6])}, ...) and no .tar")
