"""Vectors and thumbnails of the catalog, fetched from the parts that scoring wrote.

The vectors that a run compares are copied to one file of fp16 rows, part after part, so that every part is opened
once. Thumbnails are looked at for the few pairs the embedding joins, and read one by one.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from catalog.errors import LensError
from catalog.store.parts import TEMPORARY
from lensdata.dedup.rows import Rows, scales
from lensdata.vectors import THUMBNAIL_SIDE, Damaged, load_vectors

HEADER = 128  # bytes, of an .npy file whose shape is not very long
THUMBNAIL = (THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3)


class DamagedParts(Exception):
    """Parts (with the reason) whose vectors must be computed again."""

    def __init__(self, found: dict[str, str]) -> None:
        super().__init__(next(iter(found.values())))
        self.parts = found


def damaged(folder: Path, wanted: pl.DataFrame) -> dict[str, str]:
    """Part -> reason, of those parts (columns part, last_row) that cannot be used, by their files' headers and sizes.

    Values are looked at as they are fetched.
    """
    found = {}
    widths: dict[float, list[str]] = {}
    for part, last in wanted.select("part", "last_row").iter_rows():
        width = _width(folder / part, last)
        if not width.is_integer():
            try:
                width = load_vectors(folder, part, last)[0].shape[1]
            except Damaged as error:
                found[part] = str(error)
                continue
        widths.setdefault(width, []).append(part)
    usual = max(widths, key=lambda width: len(widths[width]), default=0)
    for width, parts in widths.items():
        if width != usual:
            found |= {
                part: f"{part}.npy has vectors of {width:g} values, others of {usual:g}" for part in parts
            }
    return found


def _width(part: Path, last: int) -> float:
    """Values of a part's vectors by its files' sizes; NaN or a fraction if these do not fit and must be opened."""
    try:
        vectors, thumbnails = (Path(f"{part}{suffix}").stat().st_size for suffix in (".npy", ".thumb.npy"))
    except OSError:
        return float("nan")
    rows = (thumbnails - HEADER) / (THUMBNAIL_SIDE * THUMBNAIL_SIDE * 3)
    return (vectors - HEADER) / 2 / rows if rows > last else float("nan")


class Places:
    """Where vectors stand: the part (a number among `names`) and the row of each."""

    def __init__(self, folder: Path, rows: pl.DataFrame) -> None:
        names = rows["part"].unique(maintain_order=True)
        self.folder, self.names = folder, names.to_list()
        self.part = rows["part"].cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64)
        self.row = rows["row"].to_numpy().astype(np.int64)

    def by_part(self, ids: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """(part, those of `ids` that stand in it), one part after another."""
        ids = ids[np.lexsort((self.row[ids], self.part[ids]))]
        starts = np.flatnonzero(np.diff(self.part[ids], prepend=-1))
        for group in np.split(ids, starts[1:]) if len(ids) else []:
            yield self.names[self.part[group[0]]], group


class Gathered:
    """Vectors of numbered rows in one file of fp16 rows that grows as more are fetched: a copy is no longer than the
    work needs. The file goes with the block; a killed job's is swept by the next."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.path = places.folder / f"gathered.{os.getpid()}{TEMPORARY}"
        self.width = 0
        self.at = np.full(len(places.row), -1, dtype=np.int64)  # of each row, its place in the file
        self.scale = np.zeros(len(places.row), dtype=np.float32)
        self._rows = 0

    def __enter__(self) -> Gathered:
        self.path.write_bytes(b"")
        return self

    def __exit__(self, *exc: object) -> None:
        self.path.unlink(missing_ok=True)

    def fetch(self, ids: np.ndarray) -> None:
        """Copy the vectors of those of `ids` that are not here yet. Raises DamagedParts, having looked at all."""
        bad: dict[str, str] = {}
        try:
            with self.path.open("ab") as file:
                for part, group in self.places.by_part(ids[self.at[ids] < 0]):
                    try:
                        vectors, scale = self._read(part, self.places.row[group])
                    except Damaged as error:
                        bad[part] = str(error)
                        continue
                    file.write(vectors.tobytes())
                    self.at[group] = np.arange(self._rows, self._rows + len(group))
                    self.scale[group] = scale
                    self._rows += len(group)
                    self.width = vectors.shape[1]
        except OSError as error:
            raise LensError(
                f"no space left in {self.path.parent}, where dedup gathers vectors ({error}); "
                "free some and run the same command again"
            ) from None
        if bad:
            raise DamagedParts(bad)

    def _read(self, part: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        vectors = _rows_of(self.places.folder, part, rows)
        scale = scales(vectors)
        bad = np.isnan(scale)
        if bad.any():  # zeros are what a disk leaves of data that never reached it
            raise Damaged(f"row {rows[int(np.argmax(bad))]} of {part}.npy is zero or not finite")
        return vectors, scale

    def rows(self) -> Rows:
        """What has been fetched, by the numbers of rows."""
        return Rows(opened(self.path, self.width), self.at, self.scale)


def opened(path: Path, width: int) -> np.ndarray:
    """A memory map, float16 [n, width], of a file of rows."""
    if not path.stat().st_size:
        return np.empty((0, width), dtype=np.float16)
    return np.memmap(path, dtype=np.float16, mode="r").reshape(-1, width)


def _rows_of(folder: Path, part: str, rows: np.ndarray) -> np.ndarray:
    """Vectors float16 [n, D] of a part. Raises Damaged."""
    with suppress(OSError), (folder / f"{part}.npy").open("rb") as file:
        shape = _shape(file.read(HEADER))
        if shape is not None and rows[-1] < shape[0]:
            content = file.read()
            if len(content) == 2 * shape[0] * shape[1]:
                return np.frombuffer(content, dtype=np.float16).reshape(shape)[rows]
    return load_vectors(folder, part, int(rows[-1]))[0][rows]  # which also knows what is wrong


@cache
def _shape(header: bytes) -> tuple[int, int] | None:
    """Of a float16 matrix whose file begins so; parts are many and their headers few."""
    try:
        file = io.BytesIO(header)
        if np.lib.format.read_magic(file) != (1, 0):
            return None
        shape, by_column, kind = np.lib.format.read_array_header_1_0(file)
    except ValueError:
        return None
    if file.tell() != HEADER or by_column or kind != np.float16 or len(shape) != 2:
        return None
    return shape[0], shape[1]


class Thumbnails:
    """thumbnails[ids] -> uint8 [n, 32, 32, 3], each read from its part.

    `part` and `row` say where: a number among the `names` of parts in `folder`, and the row there.
    """

    def __init__(self, folder: Path, names: Sequence[str], part: np.ndarray, row: np.ndarray) -> None:
        self.folder, self.names, self.part, self.row = folder, names, part, row

    def __getitem__(self, ids: np.ndarray) -> np.ndarray:
        unique, back = np.unique(ids, return_inverse=True)
        found = np.empty((len(unique), *THUMBNAIL), dtype=np.uint8)
        order = np.argsort(self.part[unique], kind="stable")
        starts = np.flatnonzero(np.diff(self.part[unique][order], prepend=-1))
        for group in np.split(order, starts[1:]) if len(unique) else []:
            name = f"{self.names[self.part[unique[group[0]]]]}.thumb.npy"
            self._read(self.folder / name, self.row[unique[group]], group, found)
        return found[back]

    def _read(self, path: Path, rows: np.ndarray, to: np.ndarray, found: np.ndarray) -> None:
        """By offsets: opening an array as such takes ten times as long."""
        size = found[0].nbytes
        try:
            file = os.open(path, os.O_RDONLY)
            try:
                header = 10 + int.from_bytes(os.pread(file, 2, 8), "little")
                for n, row in zip(to.tolist(), rows.tolist(), strict=True):
                    found[n].reshape(-1)[:] = np.frombuffer(
                        os.pread(file, size, header + row * size), np.uint8
                    )
            finally:
                os.close(file)
        except (OSError, ValueError) as error:
            raise LensError(
                f"{path} could be read a moment ago and cannot be now ({error}); run the same command again"
            ) from None


def fingerprints(folder: Path, rows: pl.DataFrame) -> list[bytes]:
    """A digest of the thumbnail of each of `rows` (part, row)."""
    places = Places(folder, rows)
    thumbnails = Thumbnails(folder, places.names, places.part, places.row)
    found = [b""] * len(rows)
    for _, group in places.by_part(np.arange(len(rows))):
        for n, thumbnail in zip(group.tolist(), thumbnails[group], strict=True):
            found[n] = hashlib.blake2b(thumbnail.tobytes(), digest_size=16).digest()
    return found
