"""The table of a manifest, samples.parquet, written and read a few thousand rows at a time: whatever their number,
memory holds no more."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, cast

import polars as pl

from catalog.store import parts

ROWS = 16_384  # about 16 MB with captions; also a row group of the file


def write(path: Path, frames: Iterable[pl.DataFrame]) -> None:
    """Write `frames`, of one schema and at least one, as one file. Its bytes do not depend on how the rows are cut."""
    cut = _cut(frames)
    first = next(cut)
    with parts.atomic(path) as file:
        if len(first) < ROWS:  # all there is: polars needs no pyarrow, whose import takes longer than this
            parts.write_frame(file, first, compression="zstd")
        else:
            _write_groups(file, itertools.chain([first], cut))


def batches(path: Path) -> Iterator[pl.DataFrame]:
    """The rows of the file in order, at most ROWS at a time."""
    rows = parts.count(path)
    if rows <= ROWS:
        if rows:
            yield pl.read_parquet(path, glob=False)
        return
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS):
            yield cast(pl.DataFrame, pl.from_arrow(batch))


def _write_groups(file: IO[bytes], frames: Iterable[pl.DataFrame]) -> None:
    """Each frame becomes a row group."""
    import pyarrow.parquet as pq

    writer: pq.ParquetWriter | None = None
    try:
        for frame in filter(len, frames):
            table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
            writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
            writer.write_table(table, row_group_size=ROWS)
    finally:
        if writer is not None:
            writer.close()


def _cut(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same rows in frames of ROWS each but the last, which has fewer, perhaps none."""
    waiting: list[pl.DataFrame] = []
    count = 0
    for frame in frames:
        waiting.append(frame)
        count += len(frame)
        if count >= ROWS:
            rows = pl.concat(waiting)
            whole = count - count % ROWS
            for start in range(0, whole, ROWS):
                yield rows[start : start + ROWS]
            waiting, count = [rows[whole:]], count - whole
    yield pl.concat(waiting)
