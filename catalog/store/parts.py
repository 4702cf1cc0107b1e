"""Parts: what workers write and one short transaction commits.

A part is a Parquet file CATALOG/parts/STAGE/PART_ID.parquet, written beside and renamed when it is safe on the
disk. So a part either is there whole or is not there, and its id says what it holds.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import polars as pl

from catalog.errors import one_line
from catalog.notices import say

TEMPORARY = ".tmp"
ABANDONED = 86_400.0  # seconds after which a file is nobody's, where the storage knows no locks
ROOM = 1 << 20  # bytes: a disk on which a part did not fit takes no more of these
ROW_GROUP = 122_880  # rows: DuckDB's own row group, so that it stores what it reads without cutting it anew


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """A new empty file beside `path`, under a passing name that no sweep takes while the block runs; at its end it is
    removed, unless it was renamed."""
    # Held by a lock, which ends with its process however that dies. Not by the process id in the name: on storage that
    # several machines or containers share, theirs may be equal.
    while True:
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(6)}{TEMPORARY}")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        if _lock(descriptor) is not False and os.fstat(descriptor).st_nlink:
            break
        os.close(descriptor)  # a sweep took it before it was locked
    try:
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink()
        os.close(descriptor)


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A `scratch` file for the block to write, with an fsync at its end; then it is renamed to `path`. On an error
    nothing appears."""
    with scratch(path) as temporary:
        yield temporary
        temporary.rename(path)


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
        sweep_folder(root / folder)


def sweep_folder(folder: Path) -> None:
    """Remove the half-written files below `folder`, but those that a living process is writing."""
    for path in folder.rglob(f"*{TEMPORARY}"):
        with suppress(
            FileNotFoundError, IsADirectoryError, PermissionError
        ):  # renamed meanwhile, or none of ours
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                free = _lock(descriptor)
                if free is None:
                    free = os.fstat(descriptor).st_mtime < time.time() - ABANDONED
                if free:
                    path.unlink()
            finally:
                os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Take a file's lock; False if another has it, None where the storage knows no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
