"""Vectors on disk: CATALOG/embeddings/MODEL/PART.npy (float16 [n, D]) and beside it a thumbnail of each picture.

Thumbnails (PART.thumb.npy, uint8 [n, 32, 32, 3]) are what near-duplicates are compared by before one is dropped:
an embedding tells a page of text from a photograph, and not one page of text from another.
"""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np

from catalog.store import parts
from catalog.store.database import Database

THUMBNAIL_SIDE = 32


def thumbnail(rgb: np.ndarray) -> np.ndarray:
    """The whole picture (uint8 [H, W, 3]) squeezed to uint8 [32, 32, 3], by areas."""
    return cv2.resize(rgb, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)


def save_vectors(folder: Path, part: str, rows: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Write one part's (vector [D], thumbnail) rows; the vectors appear last."""
    vectors, thumbnails = zip(*rows, strict=True)
    folder.mkdir(parents=True, exist_ok=True)
    _save(folder / f"{part}.thumb.npy", np.stack(thumbnails))
    _save(folder / f"{part}.npy", np.stack(vectors).astype(np.float16))


def _save(path: Path, array: np.ndarray) -> None:
    """By way of memory: writing to a file itself, NumPy does not say why it cannot, such as that the disk is full."""
    content = io.BytesIO()
    np.save(content, array)
    parts.write_bytes(path, content.getvalue())


def drop_unused(catalog: Database) -> None:
    """Delete the parts of which no row is in use: what a killed job left, and what was computed anew since. Call it
    within a job, when all finished parts are in."""
    used = set(catalog.named("remove/vector_parts").iter_rows())
    for path in (catalog.root / "embeddings").glob("*/score-*.npy"):
        if (path.parent.name, path.name.partition(".")[0]) not in used:
            path.unlink(missing_ok=True)


class Damaged(Exception):
    """A part of vectors that cannot be used, with the reason."""


def load_vectors(folder: Path, part: str, last_row: int) -> tuple[np.ndarray, np.ndarray]:
    """Memory maps of (vectors float16 [n, D], thumbnails uint8 [n, 32, 32, 3]) of a part.

    Raises Damaged if a file is missing, cut short, no such array, or has no row `last_row`.
    """
    vectors = _map(folder / f"{part}.npy")
    thumbnails = _map(folder / f"{part}.thumb.npy")
    if vectors.ndim != 2 or vectors.dtype != np.float16:
        raise Damaged(f"{part}.npy is no matrix of float16")
    if thumbnails.shape[1:] != (THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3) or thumbnails.dtype != np.uint8:
        raise Damaged(f"{part}.thumb.npy holds no thumbnails")
    if last_row >= min(len(vectors), len(thumbnails)):
        raise Damaged(f"{part}.npy has {len(vectors)} rows and no row {last_row}")
    return vectors, thumbnails


def _map(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise Damaged(f"{path.name} {reason}") from None
