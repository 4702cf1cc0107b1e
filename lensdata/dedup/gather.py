"""Vectors and thumbnails of the catalog, gathered in order of rank from the parts that scoring wrote."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from catalog.errors import LensError
from catalog.parts import TEMPORARY
from lensdata.vectors import Damaged, load_vectors


def damaged(folder: Path, wanted: pl.DataFrame, values: bool) -> dict[str, str]:
    """Part -> reason, of those parts (columns part, rows: the rows in use) that cannot be used.

    Without `values` only shapes and sizes are looked at, which reads next to nothing.
    """
    found = {}
    widths: dict[int, list[str]] = {}
    for part, rows in wanted.select("part", "rows").iter_rows():
        try:
            vectors, _ = load_vectors(folder, part, max(rows))
            if values:
                _check(part, vectors, np.sort(rows))
        except Damaged as error:
            found[part] = str(error)
            continue
        widths.setdefault(vectors.shape[1], []).append(part)
    usual = max(widths, key=lambda width: len(widths[width]), default=0)
    for width, parts in widths.items():
        if width != usual:
            found |= {part: f"{part}.npy has vectors of {width} values, others of {usual}" for part in parts}
    return found


def _check(part: str, vectors: np.ndarray, rows: np.ndarray) -> None:
    """Zeros are what a disk leaves of data that never reached it, and a takedown of an image no longer in use."""
    values = vectors[rows].astype(np.float32)
    lengths = np.einsum("ij,ij->i", values, values)
    bad = ~np.isfinite(lengths) | (lengths == 0)
    if bad.any():
        raise Damaged(f"row {rows[int(np.argmax(bad))]} of {part}.npy is zero or not finite")


@contextmanager
def ranked(folder: Path, rows: pl.DataFrame) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Memory maps (vectors float16 [N, D], thumbnails uint8 [N, S, S, 3]) in the order of `rows` (part, row).

    They are files in `folder` while the block runs; a killed job's are swept by the next.
    """
    maps: list[Any] = []
    paths: list[Path] = []
    try:
        for at, vectors, thumbnails in _by_part(folder, rows):
            if not maps:
                for name, matrix in (("vectors", vectors), ("thumbnails", thumbnails)):
                    paths.append(folder / f"ranked-{name}.{os.getpid()}{TEMPORARY}")
                    maps.append(_map(paths[-1], (len(rows), *matrix.shape[1:]), matrix.dtype))
            maps[0][at], maps[1][at] = vectors, thumbnails
        yield (maps[0], maps[1])
    finally:
        maps.clear()
        for path in paths:
            path.unlink(missing_ok=True)


def fingerprints(folder: Path, rows: pl.DataFrame) -> list[bytes]:
    """A digest of the thumbnail of each of `rows` (part, row)."""
    found = [b""] * len(rows)
    for at, _, thumbnails in _by_part(folder, rows):
        for n, thumbnail in zip(at.tolist(), thumbnails, strict=True):
            found[n] = hashlib.blake2b(thumbnail.tobytes(), digest_size=16).digest()
    return found


def _by_part(folder: Path, rows: pl.DataFrame) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(positions in `rows`, their vectors, their thumbnails), one part after another."""
    for group in rows.select("part", "row").with_row_index("at").partition_by("part"):
        row = group["row"].to_numpy()
        try:
            vectors, thumbnails = load_vectors(folder, group["part"][0], int(row.max()))
        except Damaged as error:
            raise LensError(f"{error}, and could be read a moment ago; run the same command again") from None
        yield group["at"].to_numpy(), vectors[row], thumbnails[row]


def _map(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    size = int(np.prod(shape)) * dtype.itemsize
    try:
        with path.open("wb") as file:
            file.truncate(size)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(
                    file.fileno(), 0, size
                )  # a full disk is met here and not as a signal later
    except OSError as error:
        path.unlink(missing_ok=True)
        raise LensError(
            f"no space left for {size / 2**30:.1f} GiB in {path.parent}, where dedup sorts vectors ({error}); "
            "free some and run the same command again"
        ) from None
    return np.memmap(path, dtype=dtype, mode="r+", shape=shape)
