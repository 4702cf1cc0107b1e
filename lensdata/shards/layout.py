"""Which samples stand in which shard: a pure function of a manifest, so that every build cuts alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

EXTENSIONS = {"jpeg": "jpg"}  # by format; the others keep their name
Layout = Iterator[tuple[str, pl.DataFrame]]  # shards in order: name, rows of the manifest


def layout(samples: Iterable[pl.DataFrame], most: int, most_bytes: int) -> Layout:
    """(shard name, its rows) in order: a shard is closed when the next sample would overfill it.

    A shard holds one format besides one bucket, since readers such as `datasets` take the members of its first
    samples for those of all. `samples` come in order of bucket and format, in frames of any length.
    """
    kept: list[pl.DataFrame] = []  # of the shard that is being filled
    filling: tuple[Any, ...] = ()
    number = count = size = 0
    for frame in samples:
        for kind, rows in frame.group_by("bucket", "format", maintain_order=True):
            if kept and kind != filling:
                yield _name(filling, number), pl.concat(kept)
                kept, number, count, size = [], 0, 0, 0
            filling, start = kind, 0
            for at, length in enumerate(rows["length"].to_list()):
                if count and (count == most or size + length > most_bytes):
                    yield _name(filling, number), pl.concat([*kept, rows[start:at]])
                    kept, number, count, size, start = [], number + 1, 0, 0, at
                count, size = count + 1, size + length
            kept.append(rows[start:])
    if kept:
        yield _name(filling, number), pl.concat(kept)


def extension(form: str) -> str:
    """A format's file extension in shards."""
    return EXTENSIONS.get(form, form)


def _name(kind: tuple[Any, ...], number: int) -> str:
    bucket, form = kind
    return f"{bucket}-{extension(form)}-{number:06d}.tar"
