"""One image as a source lists it, and the choice of the source for a path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import BadInput

IMAGE_SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".jp2",
}  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One image: where its bytes are, and where its text is (as ranges, so that listing stays cheap).

    `text` and `json` are (uri, offset, length) of the sidecars, or None.
    """

    uri: str
    offset: int
    length: int
    text: tuple[str, int, int] | None = None
    json: tuple[str, int, int] | None = None


def require(paths: list[Path]) -> None:
    """Raise BadInput for the first path that is missing or holds nothing to ingest, before any work is done."""
    for path in paths:
        next(discover(path.expanduser()), None)


def discover(path: Path) -> Iterator[Item]:
    """The images of a folder (with .txt/.json sidecars), of one WebDataset tar, or of a folder of tars.

    Raises BadInput if `path` is none of these or holds nothing to ingest.
    """
    from lensdata.sources.folder import list_folder
    from lensdata.sources.tars import list_tar

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
