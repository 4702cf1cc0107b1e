"""Score: one decode of each image feeds every filter and the embedding; values only, thresholds live in queries."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import cv2
import numpy as np
import polars as pl
from PIL import AvifImagePlugin

from catalog import locate, parts, pixels
from catalog.console import Progress
from catalog.errors import LensError
from catalog.store import Catalog
from lensdata import engine, filters, scorers
from lensdata.identity import same_bytes
from lensdata.models import Models, Plan
from lensdata.models.view import SHORT_SIDE
from lensdata.vectors import save_vectors, thumbnail

PART_IMAGES = 128
CHEAP_PART_IMAGES = 1_024  # without models: some seconds of work, and fewer commits
PAGE_IDS = 16_384
MODEL_SIDE = SHORT_SIDE  # larger images are reduced before they wait for their batch: memory stays bounded
CHEAP = ("clarity", "entropy", "luminance")
PART_STATEMENTS = [
    "score_part", "score_part_new", "score_part_status", "score_part_embeddings_retry", "score_part_embeddings",
]  # fmt: skip


@dataclass(frozen=True)
class Summary:
    """What `score` did: images looked at, and how many of them could not be read."""

    images: int
    failed: int

    def __str__(self) -> str:
        if not self.images:
            return "every image has its scores"
        unread = f"; {self.failed} could not be read (lensdata query failures)" if self.failed else ""
        return f"{self.images - self.failed} images scored{unread}"


def score(
    catalog: Catalog,
    models: str = "light",
    only: tuple[str, ...] = (),
    retry_failed: bool = False,
    workers: int | None = None,
    on: engine.On = "local",
) -> Summary:
    """Compute what is missing.

    `models` is a tier or a file of choices (models/choice.py); what another scorer measured counts as missing.
    `only` names metrics (and `embedding`); `retry_failed` tries images again whose score failed before. Each part
    is committed as it finishes, so a killed job loses at most the parts under way. Raises LensError if there were
    images and none of them could be read, as when their disk is not mounted.
    """
    failed = 0
    ids, plan = scorers.chosen(models, only)
    with catalog.job("score", resumes=True):
        for part in parts.waiting(catalog.root, "score"):
            _commit(catalog, part)
        scorer_ids = scorers.register(catalog, ids)
        model = scorers.embedding_model(ids[scorers.EMBEDDING]) if scorers.EMBEDDING in ids else None
        wanted = {metric: scorer_ids.get(metric) for metric in scorers.METRICS}
        pending = partial(_pending, catalog, **wanted, embedding=model, retry=retry_failed)
        total, first_id = 0, -1
        for rows in pending():
            total, first_id = total + len(rows), first_id if total else rows["image_id"][0]
        settings = {"root": catalog.root, "scorers": wanted, "embedding": model, "plan": plan}
        size = PART_IMAGES if plan.ids else min(max(total // 16, PART_IMAGES), CHEAP_PART_IMAGES)
        with Progress(total, "score", "images") as bar:
            tasks = _tasks(pending(), size, settings, catalog.version)
            for task, (part, unreadable) in engine.run(_score_part, tasks, workers, on=on):
                _commit(catalog, part)
                failed += unreadable
                bar.advance(len(task.items))
    if failed and failed == total:
        first = catalog.named("failures_first", image_id=first_id).row(0, named=True)
        raise LensError(
            f"none of {failed} images could be read (image {first['image_id']}: {first['status_reason']}); "
            "if their disk was not there, mount it and run `lensdata score --retry-failed`"
        )
    return Summary(total, failed)


def _commit(catalog: Catalog, part: Any) -> None:
    catalog.commit_part("score", part, PART_STATEMENTS, part_id=part.stem)


def _pending(catalog: Catalog, **wanted: Any) -> Iterator[pl.DataFrame]:
    """What lacks a score, in order of the ids, range by range of them: memory does not grow with the catalog."""
    last: int = catalog.named("ingest_last").item()
    for after in range(0, last, PAGE_IDS):
        rows = catalog.named("score_pending", **wanted, after=after, until=after + PAGE_IDS)
        if len(rows):
            yield rows


def _tasks(
    pending: Iterator[pl.DataFrame], size: int, settings: dict[str, Any], version: int
) -> Iterator[engine.Task]:
    """Parts are named after the catalog's version, which no earlier job that committed anything has seen."""
    for rows in pending:
        for chunk in rows.iter_slices(size):
            name = f"score-{version:08d}-{chunk['image_id'][0]:012d}"
            yield engine.Task(name, list(chunk.iter_rows(named=True)), settings)


# ---- in a worker


@cache
def _models(plan: Plan) -> Models:
    return Models(plan)


@cache
def _one_thread() -> None:
    """Processes are the parallelism here; threads of OpenCV's and of the AVIF decoder would only fight them."""
    cv2.setNumThreads(1)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def _score_part(task: engine.Task, watch: engine.Watch) -> Any:
    """Worker: one part of images, from bytes to a part file and its matrix of embeddings."""
    settings = task.settings
    wanted = {metric for metric, scorer in settings["scorers"].items() if scorer is not None}
    plan: Plan = settings["plan"]
    models = _models(plan) if plan.ids else None
    _one_thread()
    rows: list[dict[str, Any]] = []
    vectors: list[tuple[np.ndarray, np.ndarray]] = []  # each with its thumbnail
    batch: list[tuple[dict[str, Any], np.ndarray]] = []
    for index, item in enumerate(task.items):
        row: dict[str, Any] = {"image_id": item["image_id"], "embedding_model": settings["embedding"]}
        rows.append(row)
        if index in task.poison:
            _all_failed(row, *task.poison[index], wanted)
            continue
        with watch.item(index):
            rgb = _measure(item, row, wanted, plan.side)
        if rgb is not None and models is not None:
            batch.append((row, rgb))
        if len(batch) == plan.batch:
            _run_models(models, batch, vectors, wanted)
            batch = []
    if batch:
        _run_models(models, batch, vectors, wanted)
    for row in rows:
        for metric in wanted:
            row[f"{metric}_scorer"] = settings["scorers"][metric]
    if vectors:
        save_vectors(settings["root"] / "embeddings" / settings["embedding"], task.part_id, vectors)
    frame = pl.DataFrame(rows, schema=part_schema(), orient="row")
    part = parts.write(settings["root"], "score", task.part_id, frame)
    return part, frame["status"].is_in(pixels.FAILURES).sum()


def _measure(item: dict[str, Any], row: dict[str, Any], wanted: set[str], side: int) -> np.ndarray | None:
    """Decode once, take the cheap metrics, and return what the models need (RGB, its short side at least `side`
    where the picture's own is), or None if unreadable."""
    try:
        data = locate.read(item["uri"], item["byte_offset"], item["byte_length"])
    except locate.Unreadable as error:
        _all_failed(row, error.status, str(error), wanted)
        return None
    if not same_bytes(data, item["uri"], item["sha256"], item["file_size"], item["file_mtime_ns"]):
        _all_failed(
            row, pixels.MISSING, "the file has changed since it was ingested; ingest it again", wanted
        )
        return None
    decoded = pixels.decode(data, side=max(filters.WORKING_SIDE, side))
    if decoded.rgb is None:
        _all_failed(row, decoded.status, decoded.reason or "", wanted)
        return None
    row["status"], row["status_reason"] = decoded.status, decoded.reason
    values = filters.cheap(decoded.rgb)
    row["phash"] = values["phash"]
    for metric in CHEAP:
        if metric in wanted:
            _set(row, metric, values[metric])
    return _reduced(decoded.rgb, max(MODEL_SIDE, side))


def _reduced(rgb: np.ndarray, side: int) -> np.ndarray:
    height, width = rgb.shape[:2]
    scale = side / min(height, width)
    if scale >= 1:
        return rgb
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


def _run_models(
    models: Any,
    batch: list[tuple[dict[str, Any], np.ndarray]],
    vectors: list[tuple[np.ndarray, np.ndarray]],
    wanted: set[str],
) -> None:
    found = models.run([rgb for _, rgb in batch])
    for n, (row, rgb) in enumerate(batch):
        for metric in wanted - set(CHEAP):
            _set(row, metric, float(found[metric][n]))
        if scorers.EMBEDDING in found:
            vector = found[scorers.EMBEDDING][n]
            if np.isfinite(vector).all():
                row["embedding_row"] = len(vectors)
                vectors.append((vector, thumbnail(rgb)))
            else:
                row["embedding_row"], row["embedding_error"] = (
                    -1,
                    "the model returned a value that is not finite",
                )


def _set(row: dict[str, Any], metric: str, value: float) -> None:
    if math.isfinite(value):
        row[metric], row[f"{metric}_state"] = value, "scored"
    else:
        row[f"{metric}_state"], row[f"{metric}_error"] = "failed", "the value is not finite"


def _all_failed(row: dict[str, Any], status: str, reason: str, wanted: set[str]) -> None:
    row["status"], row["status_reason"] = status, reason
    for metric in wanted:
        row[f"{metric}_state"], row[f"{metric}_error"] = "failed", f"{status}: {reason}"
    if row["embedding_model"]:
        row["embedding_row"], row["embedding_error"] = -1, f"{status}: {reason}"


def part_schema() -> dict[str, Any]:
    """Columns of a part: see sql/statements/score_part.sql."""
    schema: dict[str, Any] = {
        "image_id": pl.Int64,
        "status": pl.String,
        "status_reason": pl.String,
        "phash": pl.UInt64,
    }
    for metric in scorers.METRICS:
        schema |= {
            metric: pl.Float32,
            f"{metric}_state": pl.String,
            f"{metric}_error": pl.String,
            f"{metric}_scorer": pl.Int32,
        }
    return schema | {"embedding_model": pl.String, "embedding_row": pl.Int32, "embedding_error": pl.String}
