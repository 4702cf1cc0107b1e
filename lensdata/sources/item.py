"""One image as a source lists it."""

from __future__ import annotations

from dataclasses import dataclass

IMAGE_SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".jp2",
}  # fmt: skip
TABLE_SUFFIXES = (".parquet", ".arrow", ".feather")
LINE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")  # tables whose rows are lines
LIST_SUFFIXES = (".txt", *LINE_SUFFIXES)

MOST = 2**63 - 1  # of a size or a time that a column of the catalog holds

Range = tuple[str, int, int]  # (uri, offset, length)


@dataclass(frozen=True, slots=True)
class Item:
    """One image: where its bytes are, and where its text is (as ranges, so that listing stays cheap).

    `text` and `json` are the ranges of the sidecars, or None. `file_size` (bytes) and `file_mtime_ns` tell whether
    anything has changed since the last ingest: of a tar they are the tar's own; of a plain file the sum of its size
    and its sidecars', and the latest of their times. `length` is None where only reading tells it. `given` holds
    alt_text, brief_text, dense_text, url, licence and alt_error where the source itself gives them; a sidecar counts
    for what it does not give. `failed` is the (status,
    reason) of an image that the source already knows it cannot have; `was` the uri under which an earlier listing gave
    it as failed. Numbers beyond 64 bits, such as the time of a file dated in 2300, count as the nearest one within.
    """

    uri: str
    offset: int
    length: int | None
    text: Range | None = None
    json: Range | None = None
    file_size: int = 0
    file_mtime_ns: int = 0
    given: dict[str, str | None] | None = None
    failed: tuple[str, str] | None = None
    was: str | None = None

    def __post_init__(self) -> None:
        for name in ("offset", "length", "file_size", "file_mtime_ns"):
            number = getattr(self, name)
            if number is not None and not -MOST <= number <= MOST:
                object.__setattr__(self, name, held(number))


def held(number: int) -> int:
    """The number as the catalog's columns hold it: within 64 bits."""
    return max(-MOST, min(number, MOST))
