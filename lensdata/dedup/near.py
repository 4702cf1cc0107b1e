"""Near-duplicate search over embeddings (paper section 2.1, filter 9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from catalog.errors import BadInput

EXACT_ROWS = 50_000  # up to here brute force is exact and fast; beyond, inverted lists
SEARCH_ROWS = 4_096
STORAGE_ERROR = 2e-4  # fp16 vectors move a cosine by up to 8e-5: search a little wider, then judge in fp32

Agree = Callable[[np.ndarray, np.ndarray], np.ndarray]


def near_duplicates(
    vectors: np.ndarray, threshold: float = 0.985, agree: Agree | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Find each row's keeper: the earliest-ranked row it duplicates.

    `vectors` is float [N, D], of any length (rows are normalised here), best keeper first. A row is kept if its
    cosine with every keeper before it is at most `threshold`; otherwise it goes to the most similar of these
    keepers. So every member is within the threshold of its keeper, and no chain A~B~C joins A with a distant C.
    `agree(i, j)` may veto pairs of rows (bool per pair).

    Returns (keeper_row int64 [N], similarity float32 [N]); a row that is its own keeper is kept, with similarity 1.
    Raises BadInput for vectors that are not finite, all zero, or not two-dimensional, and for a threshold outside
    (0, 1).
    """
    if vectors.ndim != 2:
        raise BadInput(f"near_duplicates takes an [N, D] array, not one of shape {vectors.shape}")
    if not 0 < threshold < 1:
        raise BadInput(f"the cosine threshold must lie between 0 and 1, not at {threshold}")
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    bad = ~np.isfinite(norms[:, 0]) | (norms[:, 0] == 0)
    if bad.any():
        raise BadInput(f"row {int(np.argmax(bad))} of the vectors is zero or not finite; leave such rows out")
    rows = rows / norms
    keeper = np.arange(len(rows), dtype=np.int64)
    similarity = np.ones(len(rows), dtype=np.float32)
    left, right, cosine = _pairs(rows, threshold)
    if agree is not None and len(left):
        kept = agree(left, right)
        left, right, cosine = left[kept], right[kept], cosine[kept]
    _assign(left, right, cosine, keeper, similarity)
    return keeper, similarity


def _assign(
    left: np.ndarray, right: np.ndarray, cosine: np.ndarray, keeper: np.ndarray, similarity: np.ndarray
) -> None:
    """Walk the rows in order of rank. `left` < `right` in every pair; pairs sorted by right, then falling cosine."""
    order = np.lexsort((left, -cosine, right))
    for i, j, c in zip(left[order].tolist(), right[order].tolist(), cosine[order].tolist(), strict=True):
        if (
            keeper[j] == j and keeper[i] == i
        ):  # j is still free and i is a keeper for good, as its turn has passed
            keeper[j], similarity[j] = i, c


def _pairs(rows: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs left < right with an fp32 cosine above the threshold."""
    import faiss

    count, width = rows.shape
    index: Any = faiss.IndexFlatIP(width)
    if count > EXACT_ROWS:
        cells = int(4 * count**0.5)
        index = faiss.IndexIVFFlat(index, width, cells, faiss.METRIC_INNER_PRODUCT)
        index.cp.niter = 10
        index.train(rows[np.random.default_rng(0).choice(count, min(count, cells * 40), replace=False)])
        index.nprobe = 4
    index.add(rows)
    lefts, rights = [], []
    for start in range(0, count, SEARCH_ROWS):
        limits, _, found = index.range_search(rows[start : start + SEARCH_ROWS], threshold - STORAGE_ERROR)
        right = np.repeat(np.arange(start, start + len(limits) - 1), np.diff(limits).astype(np.int64))
        earlier = found < right
        lefts.append(found[earlier])
        rights.append(right[earlier])
    left, right = (
        np.concatenate(lefts or [np.empty(0, np.int64)]),
        np.concatenate(rights or [np.empty(0, np.int64)]),
    )
    cosine = np.einsum("ij,ij->i", rows[left], rows[right]) if len(left) else np.empty(0, np.float32)
    near = cosine > threshold
    return left[near], right[near], np.minimum(cosine[near], 1.0)
