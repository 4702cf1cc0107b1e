"""Parts: what workers write and one short transaction commits.

A part is a Parquet file CATALOG/parts/STAGE/PART_ID.parquet, written beside and renamed when it is safe on the
disk. So a part either is there whole or is not there, and its id says what it holds.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import polars as pl

from catalog.errors import one_line
from catalog.notices import say

TEMPORARY = ".tmp"
ROOM = 1 << 20  # bytes: a disk on which a part did not fit takes no more of these
ROW_GROUP = 122_880  # rows: DuckDB's own row group, so that it stores what it reads without cutting it anew


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A name beside `path` for a file that the block writes, with an fsync at its end; then it is renamed to `path`.
    On an error nothing appears."""
    # Not the process id: on storage that several machines or containers share, theirs may be equal.
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(6)}{TEMPORARY}")
    try:
        yield temporary
        temporary.rename(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def atomic(path: Path) -> Any:
    """A binary file that appears at `path` whole, and durable, when the block ends; on an error nothing appears."""
    with appearing(path) as temporary, temporary.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    fsync(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a small file atomically and durably."""
    with atomic(path) as file:
        file.write(data)


def fsync(path: Path) -> None:
    """Make the content of a file durable, or what was renamed in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(root: Path, stage: str, part_id: str, frame: pl.DataFrame) -> Path:
    """Write `frame` as a part of the catalog at `root` and return its path."""
    folder = root / "parts" / stage
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{part_id}.parquet"
    with atomic(path) as file:
        write_frame(file, frame, compression="zstd", compression_level=1, row_group_size=ROW_GROUP)
    return path


def write_frame(file: IO[bytes], frame: pl.DataFrame, **options: Any) -> None:
    """Write `frame` as Parquet. Raises OSError where the disk is full, which polars calls a malformed file."""
    try:
        frame.write_parquet(file, **options)
    except pl.exceptions.PolarsError as error:
        file.seek(0, os.SEEK_END)
        file.write(bytes(ROOM))
        file.flush()
        raise OSError(errno.EIO, f"the table could not be written ({one_line(error)})") from None


def count(part: Path) -> int:
    """Rows of a part, from its footer. Raises polars' errors for what is no Parquet, and OSError."""
    return int(pl.scan_parquet(part, glob=False).select(pl.len()).collect().item())


def waiting(root: Path, stage: str) -> list[Path]:
    """Finished parts of a stage that were not committed yet, in order of their ids.

    A file there that is not Parquet is none of ours, since parts appear whole: it is set aside as .bad, and said.
    """
    found = []
    for path in sorted((root / "parts" / stage).glob("*.parquet")):
        try:
            count(path)
        except (pl.exceptions.PolarsError, OSError) as error:
            path.rename(path.with_suffix(".bad"))
            say(f"{stage}: {path} is no part ({one_line(error)}); set aside as {path.stem}.bad")
        else:
            found.append(path)
    return found


def sweep(root: Path) -> None:
    """Remove the half-written files of killed processes. Call it with the job lock held."""
    for folder in ("parts", "embeddings", "manifests"):
        for path in (root / folder).rglob(f"*{TEMPORARY}"):
            path.unlink(missing_ok=True)
