"""The catalog's own copies of images (of tables, streams and downloads), and blanking in them what was taken down.

A blanked image keeps its place: the members of its sample stand in the tar as before, with zeros for content, and the
tar keeps its size and time. So ids and offsets of the others hold, and nothing is read again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog import Catalog
from catalog.bytes import tar
from catalog.bytes.tar import BLOCK, Member
from catalog.notices import say
from catalog.store import parts

TEXTS = ("alt_text", "brief_text", "dense_text")
CHUNK = 1 << 20
Row = dict[str, Any]


def blank_removed(catalog: Catalog) -> int:
    """Blank whatever was taken down and still stands in the catalog's own copies; how many images were blanked.

    A place is blanked only if it holds just the bytes that were taken down.
    """
    rows = catalog.named("remove/copies").iter_rows(named=True)
    blanked = 0
    for uri, places in groupby(rows, key=lambda row: str(row["uri"])):
        path = Path(uri)
        try:
            file = path.open("r+b")
        except FileNotFoundError:
            continue
        with file:
            offsets = {place["byte_offset"] for place in places if _stands(file, place)}
            if offsets:
                before = os.fstat(file.fileno())
                blanked += _blank(file, path, offsets)
                os.fsync(file.fileno())
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
                _forget_texts(path, offsets)
    return blanked


def is_blank(sha256: str | None, size: int) -> bool:
    """Whether bytes with this sha256 are `size` zeros."""
    digest = hashlib.sha256()
    for start in range(0, size, CHUNK):
        digest.update(bytes(min(CHUNK, size - start)))
    return size > 0 and digest.hexdigest() == sha256


def _stands(file: IO[bytes], place: Row) -> bool:
    """Whether the bytes that were taken down are at their place. An image never begins with a block of zeros."""
    file.seek(place["byte_offset"])
    if not any(file.read(min(BLOCK, place["byte_length"]))):
        return False
    file.seek(place["byte_offset"])
    digest, left = hashlib.sha256(), place["byte_length"]
    while left and (data := file.read(min(CHUNK, left))):
        digest.update(data)
        left -= len(data)
    return not left and digest.hexdigest() == place["sha256"]


def _blank(file: IO[bytes], path: Path, offsets: set[int]) -> int:
    """Fill the samples with zeros whose image begins at one of `offsets`; how many there were."""
    blanked = 0
    try:
        with path.open("rb") as listing:
            for sample in _samples(tar.members(listing)):
                if any(member.offset in offsets for member in sample):
                    for member in sample:
                        _zero(file, member.offset, member.size)
                    blanked += 1
    except tar.Broken as error:
        say(f"remove: {path} breaks off ({error}); what follows in it could not be looked at")
    return blanked


def _samples(members: Iterator[Member]) -> Iterator[list[Member]]:
    """The members of one key after another."""
    for _, sample in groupby(members, key=lambda member: member.name.partition(".")[0]):
        yield list(sample)


def _zero(file: IO[bytes], offset: int, size: int) -> None:
    file.seek(offset)
    while size:
        size -= file.write(bytes(min(CHUNK, size)))
    file.flush()


def _forget_texts(path: Path, offsets: set[int]) -> None:
    """Also the texts in what lists the downloads of a tar; the URL stays, or it would be downloaded again."""
    ledger = path.with_name(f"{path.stem.partition('-')[0]}.parquet")
    if not ledger.is_file() or path.parents[1].name != "downloads":
        return
    before, table = ledger.stat(), pq.read_table(ledger)
    rows = [
        row | dict.fromkeys(TEXTS) if row["tar"] == path.name and row["byte_offset"] in offsets else row
        for row in table.to_pylist()
    ]
    rows = [{name: row[name] for name in table.column_names} for row in rows]
    with parts.atomic(ledger) as file:
        pq.write_table(pa.Table.from_pylist(rows, table.schema), file)
    os.utime(ledger, ns=(before.st_atime_ns, before.st_mtime_ns))
