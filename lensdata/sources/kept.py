"""What the catalog keeps of a source whose images cannot be read where they are: a folder of tars.

Bytes inside a Parquet or Arrow file have no offset of their own, a stream and a download have no file at all; so they
are copied once, each image as a WebDataset sample with its text and where it came from. A tar appears whole. It is
emptied, never removed, when the source has no more that much: so ingest learns that its images are gone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from catalog import pixels
from catalog.bytes import locate, place
from catalog.bytes.tar import BLOCK, TarWriter
from catalog.store import parts
from lensdata.sources.item import IMAGE_SUFFIXES, Item
from lensdata.sources.survey import Survey
from lensdata.sources.tar import Tar
from lensdata.sources.texts.values import NAMES

MARK = "source.json"
TAR_BYTES = 256 * 2**20
WITHOUT = 10_000  # rows without bytes after which a tar ends, too

Row = dict[
    str, Any
]  # row (its number), data (bytes, or None), uri, url, licence, the three texts and alt_error


class Kept:
    """A folder ABOVE/NAME-HASH of NNNNNN.tar, and a mark that says of what it is the copy."""

    def __init__(self, above: Path, name: str, told: str) -> None:
        """`name` makes the folder recognisable, the hash of `told` makes it the source's own. What a killed job left
        half written is removed."""
        readable = "".join(char if char.isalnum() else "-" for char in name)
        self.folder = above / f"{readable}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
        self.folder.mkdir(parents=True, exist_ok=True)
        parts.sweep_folder(self.folder)

    def is_of(self, wanted: dict[str, Any]) -> bool:
        """Whether the mark says just this."""
        mark = self.folder / MARK
        return mark.is_file() and json.loads(mark.read_text()) == wanted

    def mark(self, wanted: dict[str, Any]) -> None:
        """Set the mark."""
        parts.write_bytes(self.folder / MARK, json.dumps(wanted, indent=1).encode())

    def tars(self) -> list[Path]:
        """Those that are there, in order."""
        return sorted(self.folder.glob("*.tar"))

    @contextmanager
    def tar(self, name: str) -> Iterator[TarWriter]:
        """Write a tar anew."""
        with parts.atomic(self.folder / name) as file:
            tar = TarWriter(file)
            yield tar
            tar.finish()

    def fill(self, rows: Iterable[Row], number: int, source: object) -> Iterator[tuple[int, Row, list[Row]]]:
        """Write the rows to tars from `number` on. Once one is whole: its number, its last row, and the rows without
        bytes that belong to it."""
        left = iter(rows)
        row = next(left, None)
        while row is not None:
            last, without = row, list[Row]()
            with self.tar(f"{number:06d}.tar") as tar:
                while row is not None and tar.offset < TAR_BYTES and len(without) < WITHOUT:
                    if row["data"]:
                        add(tar, row, source)
                    else:
                        without.append(row)
                    last, row = row, next(left, None)
            yield number, last, without
            number += 1

    def empty(self, number: int) -> None:
        """Empty the tars from `number` on, which the source has no more."""
        for tar in self.tars()[number:]:
            with self.tar(tar.name):
                pass

    def items(self, tar: Path, survey: Survey) -> Iterator[Item]:
        """The images of one of its tars; an empty one tells that what stood there is gone."""
        facts = place.facts(tar)
        with tar.open("rb") as file:
            emptied = not any(file.read(BLOCK))
        if emptied:
            survey.tars[str(tar)] = facts
        else:
            yield from Tar(tar, facts).samples(survey)


def add(tar: TarWriter, row: Row, source: object) -> None:
    """One row with bytes as the members of a sample; its number is the key."""
    form = pixels.probe(row["data"]).format
    # a file that is no image at all is listed as one, too, so that the catalog has it and the reason
    suffix = f".{form}" if f".{form}" in IMAGE_SUFFIXES else ".jpg"
    key = f"{row['row']:012d}"
    tar.add(key + suffix.replace(".jpeg", ".jpg"), row["data"])
    if row["alt_text"]:
        tar.add(f"{key}.txt", row["alt_text"].encode())
    origin = {"imported_from": str(source), "row": row["row"], "path": shown(row["uri"]),
              "url": shown(row["url"]), "licence": row["licence"], "alt_error": row["alt_error"],
              **{NAMES[column][0]: row[column] for column in ("brief_text", "dense_text")}}  # fmt: skip
    tar.add(f"{key}.json", json.dumps({k: v for k, v in origin.items() if v is not None}).encode())


def shown(url: str | None) -> str | None:
    """A URL as the catalog may hold it."""
    return url and locate.without_login(url)
