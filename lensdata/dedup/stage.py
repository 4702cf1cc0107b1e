"""The dedup stage: exact copies collapse by their bytes, then their pixels; near-duplicates by their embeddings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from catalog import Catalog, extras, metrics
from catalog.errors import BadInput, LensError
from catalog.notices import say
from catalog.store import parts
from catalog.store.database import Statement
from lensdata import engine, score, scorers
from lensdata.dedup import gather, near
from lensdata.dedup.compare import compare

RULES = "3"  # part of the digest: raise it when the same rows would now be clustered otherwise
# Two pictures that share all of this and their thumbnail have the same pixels: a variance, an entropy and a mean
# over every pixel, as fp32, do not coincide by chance. With them go all formulas of the registry that were scored.
PIXELS = ["width", "height", "phash"]


@dataclass(frozen=True)
class Summary:
    """What deduplication found: images considered, copies by bytes and by pixels, near-duplicates dropped."""

    images: int
    bytes: int
    pixels: int
    near: int

    @property
    def exact(self) -> int:
        return self.bytes + self.pixels

    @property
    def kept(self) -> int:
        return self.images - self.exact - self.near


def dedup(
    catalog: Catalog,
    threshold: float = 0.985,
    tier: str = "light",
    workers: int | None = None,
    on: engine.On = "local",
) -> Summary | None:
    """Cluster all readable images; None if nothing that decides it has changed since the last time.

    Missing embeddings are computed first, and those whose file is damaged once more. An image without a vector is
    its own keeper, unless its bytes say otherwise. Only what is new is compared, with the old and the new (see
    `compare`). The clusters are replaced in one transaction.
    """
    if not 0 < threshold < 1:
        raise BadInput(f"--threshold is a cosine between 0 and 1, not {threshold}")
    model = scorers.embedding_model(scorers.chosen(tier, (scorers.EMBEDDING,))[0][scorers.EMBEDDING])
    if not extras.present("faiss"):
        near.require(catalog.named("dedup/distinct").item())  # before vectors are computed for nothing
    folder = catalog.root / "embeddings" / model
    bad = gather.damaged(folder, catalog.named("dedup/vectors", model=model))
    for again in (True, False):
        _forget(catalog, model, bad)
        if catalog.named("dedup/missing", model=model).item():
            score.score(catalog, tier, only=(scorers.EMBEDDING,), workers=workers, on=on)
        try:
            with catalog.job("dedup"):
                return _renew(catalog, model, threshold, workers, on)
        except gather.DamagedParts as error:
            bad = error.parts
            if not again:
                break
    raise LensError(f"{next(iter(bad.values()))}, though it was computed anew; is the disk failing?")


def _renew(
    catalog: Catalog, model: str, threshold: float, workers: int | None, on: engine.On
) -> Summary | None:
    rows = catalog.named("dedup/rows", model=model)
    if rows.is_empty():
        raise BadInput("there is no readable image; run `lensdata ingest` first")
    rows = rows.with_columns(mark=rows.hash_rows(seed=0))
    key = f"{RULES} {model} {threshold!r}"
    digest = _digest(rows, key)
    if digest == _last_digest(catalog):
        return None
    frame, summary = _cluster(catalog, rows, model, key, threshold, workers, on)
    name = f"dedup-{catalog.version:08d}-{model}-{threshold:g}-{digest}"
    part = parts.write(catalog.root, "dedup", name, frame)
    catalog.commit_part("dedup", part, ["dedup/clear", "dedup/part"])
    return summary


def _forget(catalog: Catalog, model: str, bad: dict[str, str]) -> None:
    """Drop the vectors of damaged parts (with the reason) from the catalog, so that scoring finds them missing."""
    if bad:
        with catalog.job("dedup"):
            name = f"forget-{catalog.version:08d}-{model}"
            catalog.commit(
                "forget", name, len(bad), [Statement("dedup/forget", {"model": model, "parts": list(bad)})]
            )
        say(f"dedup: {next(iter(bad.values()))} ({len(bad)} damaged); computing these embeddings again")


def _digest(rows: pl.DataFrame, key: str) -> str:
    """Of everything the clusters depend on, in order of rank."""
    digest = hashlib.sha256(f"{key} {len(rows)}".encode())
    digest.update(rows["mark"].to_numpy().tobytes())
    return digest.hexdigest()[:16]


def _last_digest(catalog: Catalog) -> str | None:
    """Of the clusters as they stand; None if there are none, or some were removed since."""
    last = catalog.named("dedup/last")
    if last.is_empty():
        return None
    images, committed = last["images"][0], last["rows"][0]
    return str(last["part_id"][0]).rsplit("-", 1)[-1] if images == committed else None


def _cluster(
    catalog: Catalog,
    rows: pl.DataFrame,
    model: str,
    key: str,
    threshold: float,
    workers: int | None,
    on: engine.On,
) -> tuple[pl.DataFrame, Summary]:
    """Rows best keeper first -> one row per image with its keeper."""
    folder = catalog.root / "embeddings" / model
    exact = _exact(rows, folder)
    ranks = np.arange(len(rows))
    keeper, similarity = ranks.copy(), np.ones(len(rows), dtype=np.float32)
    compared = np.flatnonzero((exact == ranks) & rows["part"].is_not_null().to_numpy())
    if len(compared):
        found, cosine = compare(folder, rows[compared], key, threshold, workers, on)
        keeper[compared], similarity[compared] = compared[found], cosine

    shas, ids = rows["sha256"].to_numpy(), rows["image_id"].to_numpy()
    near = (keeper != ranks)[exact]
    copies = (exact != ranks) & ~near
    same_bytes = copies & (shas == shas[exact])
    reason = np.select([near, same_bytes, copies], ["embedding", "bytes", "pixels"], "")
    frame = pl.DataFrame(
        {
            "image_id": ids,
            "keeper_id": ids[keeper[exact]],
            "similarity": similarity[exact],
            "reason": pl.Series(reason).replace("", None),
        }
    ).sort("image_id")
    totals = [int(which.sum()) for which in (same_bytes, copies & ~same_bytes, near)]
    return frame, Summary(len(rows), *totals)


def _exact(rows: pl.DataFrame, folder: Path) -> np.ndarray:
    """int64 [N]: the best-ranked row with the same bytes, or the same pixels, as each row."""
    by_bytes = _first(rows.select("sha256"))
    distinct = np.flatnonzero(by_bytes == np.arange(len(rows)))
    scored = [name for name in metrics.names(learned=False) if rows[name].count()]
    alike_by = [*PIXELS, *scored, *(f"{name}_scorer" for name in scored)]
    measured = (
        rows[distinct].select("part", "row", *alike_by).with_columns(pl.Series("rank", distinct)).drop_nulls()
    )
    alike = measured.filter(pl.struct(alike_by).is_duplicated())
    result = np.arange(len(rows))
    if len(alike):
        keys = alike.select(alike_by).with_columns(pl.Series("thumbnail", gather.fingerprints(folder, alike)))
        at = alike["rank"].to_numpy()
        result[at] = at[_first(keys)]
    return result[by_bytes]


def _first(keys: pl.DataFrame) -> np.ndarray:
    """int64 [N]: the first row with the same values as each row."""
    at = pl.col("at").first().over(keys.columns)
    return keys.with_row_index("at").select(at).to_series().to_numpy().astype(np.int64)
