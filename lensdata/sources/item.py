"""One image as a source lists it."""

from __future__ import annotations

from dataclasses import dataclass

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
