"""The dedup stage: exact copies collapse by their bytes, then near-duplicates by their embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from catalog import parts
from catalog.errors import BadInput
from catalog.store import Catalog
from lensdata import score, scorers
from lensdata.dedup.near import near_duplicates
from lensdata.models import light_ids

HASH_BITS = (
    12  # of 64: pictures whose perceptual hashes differ by more are not copies, however close their vectors
)


@dataclass(frozen=True)
class Summary:
    """What deduplication found: images considered, byte copies and near-duplicates dropped, images kept."""

    images: int
    exact: int
    near: int

    @property
    def kept(self) -> int:
        return self.images - self.exact - self.near


def dedup(
    catalog: Catalog, threshold: float = 0.985, tier: str = "light", workers: int | None = None
) -> Summary | None:
    """Cluster all readable images; None if nothing has changed since the last time at this threshold.

    Missing embeddings are computed first. The clusters are replaced in one transaction.
    """
    if not 0 < threshold < 1:
        raise BadInput(f"--threshold is a cosine between 0 and 1, not {threshold}")
    if tier != "light":
        raise BadInput(f"there are no {tier!r} models in this version; use --models light")
    model = scorers.embedding_model(light_ids()["embedding"])
    settings = f"-{model}-{threshold:g}"
    missing = catalog.named("dedup_missing", model=model).row(0, named=True)
    if missing["unembedded"]:
        score.score(catalog, tier, only=("embedding",), workers=workers)
        missing = catalog.named("dedup_missing", model=model).row(0, named=True)
    last = catalog.named("dedup_settings")
    if not missing["unclustered"] and len(last) and last.item().endswith(settings):
        return None
    with catalog.job("dedup"):
        rows = catalog.named("dedup_rows", model=model)
        if rows.is_empty():
            raise BadInput(
                "no readable image has an embedding; run `lensdata ingest` and `lensdata score` first"
            )
        result, summary = _cluster(rows, catalog.root / "embeddings" / model, threshold)
        part = parts.write(catalog.root, "dedup", f"dedup-{catalog.version:08d}{settings}", result)
        catalog.commit_part("dedup", part, ["dedup_clear", "dedup_part"])
    return summary


def _cluster(rows: pl.DataFrame, folder: Path, threshold: float) -> tuple[pl.DataFrame, Summary]:
    """Rows best keeper first -> one row per image with its keeper."""
    first = rows.with_row_index("rank").group_by("sha256", maintain_order=True).agg(pl.col("rank").first())
    ranks = first["rank"].to_numpy()
    unique = rows[ranks]
    vectors = _vectors(unique, folder)
    hashes = unique["phash"].to_numpy()
    known = unique["phash"].is_not_null().to_numpy()

    def look_alike(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        different = np.bitwise_count(hashes[i].astype(np.uint64) ^ hashes[j].astype(np.uint64)) > HASH_BITS
        return ~(different & known[i] & known[j])

    keeper, similarity = near_duplicates(vectors, threshold, look_alike)
    ids = unique["image_id"].to_numpy()
    of_bytes = dict(zip(unique["sha256"], range(len(unique)), strict=True))
    representative = np.array([of_bytes[sha] for sha in rows["sha256"]], dtype=np.int64)
    image_ids = rows["image_id"].to_numpy()
    keeper_ids = ids[keeper[representative]]
    copies = ids[representative] != image_ids
    near = keeper[representative] != representative
    reason = np.where(near, "embedding", np.where(copies, "bytes", ""))
    frame = pl.DataFrame(
        {
            "image_id": image_ids,
            "keeper_id": keeper_ids,
            "similarity": similarity[representative],
            "reason": pl.Series(reason).replace("", None),
        }
    ).sort("image_id")
    return frame, Summary(len(rows), int(copies.sum()), int((near & ~copies).sum()))


def _vectors(rows: pl.DataFrame, folder: Path) -> np.ndarray:
    """The embeddings of `rows` as float32 [N, D], gathered from the memory-mapped fp16 parts."""
    found: np.ndarray | None = None
    where = rows.with_row_index("at").partition_by("part")
    for group in where:
        path = folder / f"{group['part'][0]}.npy"
        try:
            matrix = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise BadInput(
                f"the embeddings in {path} cannot be read ({error}); run `lensdata score --only embedding`"
            ) from None
        if found is None:
            found = np.empty((len(rows), matrix.shape[1]), dtype=np.float32)
        found[group["at"].to_numpy()] = matrix[group["row"].to_numpy()]
    assert found is not None
    return found
