"""Score: one decode of each image feeds every filter and the embedding; values only, thresholds live in queries."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import polars.selectors as cs
import pyarrow.parquet as pq
from PIL import AvifImagePlugin

from catalog import Catalog, metrics, pixels
from catalog.bytes import locate
from catalog.bytes.identity import same_bytes
from catalog.errors import LensError, Unreadable
from lensdata import engine, filters, scorers
from lensdata.models import Models, Plan
from lensdata.models.view import SHORT_SIDE
from lensdata.stage import LEFT, Row, Stage, chunks, commit_waiting, pages, run_stage
from lensdata.vectors import drop_unused, save_vectors, thumbnail

PART_IMAGES = 128
CHEAP_PART_IMAGES = 1_024  # without models: some seconds of work, and fewer commits
MODEL_SIDE = SHORT_SIDE  # larger images are reduced before they wait for their batch: memory stays bounded
NOT_FINITE = "the value is not finite"


@dataclass(frozen=True)
class Summary:
    """What `score` did: images looked at, how many of them could not be read, and how many are left for the next run
    because their storage did not answer. `without`: metric (or `embedding`) -> how many that could be read got no value
    of it."""

    images: int
    failed: int
    left: int = 0
    without: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.images:
            return "every image has its scores"
        unread = f"; {self.failed} could not be read (lensdata query failures)" if self.failed else ""
        later = f"; {self.left} left for the next run: their storage did not answer" if self.left else ""
        lost = "".join(f"; {name} failed for {count}" for name, count in self.without.items())
        if name := next((name for name in self.without if name != scorers.EMBEDDING), None):
            why = f"SELECT image_id, {name}_error FROM scores WHERE {name}_state = 'failed'"
            lost += f' (lensdata query "{why}"; score --retry-failed tries again)'
        return f"{self.images - self.failed - self.left} images scored{unread}{later}{lost}"


def score(
    catalog: Catalog,
    models: str = "light",
    only: tuple[str, ...] = (),
    retry_failed: bool = False,
    workers: int | None = None,
    on: engine.On = "local",
) -> Summary:
    """Compute what is missing.

    `models` is a tier or a file of choices (models/choice.py); what another scorer measured counts as missing, and
    stays beside the new. `only` names metrics (and `embedding`); `retry_failed` tries images again whose score failed
    before. Each part is committed as it finishes, so a killed job loses at most the parts under way. Where a metric's
    function raises or gives no finite number, that metric has failed for that image, with the reason.

    Raises BadInput for a metric whose function cannot be imported, Missing if the models are not installed, LensError
    if there were images and none of them could be read, as when their disk is not mounted.
    """
    ids, plan = scorers.chosen(models, only)
    plan.require()
    filters.require(metrics.by_name(name) for name in ids if name != scorers.EMBEDDING)
    with catalog.job(STAGE.name, resumes=True):
        commit_waiting(catalog, STAGE, _scorers_of)
        metric_of = {scorer: metric for metric, scorer in scorers.register(catalog, ids).items()}
        model = scorers.embedding_model(ids[scorers.EMBEDDING]) if scorers.EMBEDDING in ids else None
        slots = {"scorers": list(metric_of)}
        pending = partial(pages, catalog, STAGE.pending, slots, embedding=model, retry=retry_failed)
        total, first_id = 0, -1
        for rows in pending():
            total, first_id = total + len(rows), first_id if total else rows["image_id"][0]
        size = PART_IMAGES if plan.ids else min(max(total // 16, PART_IMAGES), CHEAP_PART_IMAGES)
        stage = replace(STAGE, schema=part_schema(metric_of), part_items=size)
        measured = tuple(metrics.by_name(metric) for metric in metric_of.values())
        settings = {"scorers": metric_of, "metrics": measured, "embedding": model, "plan": plan}
        tasks = chunks(catalog, stage, pending(), settings)
        tally = run_stage(catalog, stage, tasks, total, workers, on, _scorers_of)
        scorers.settle(catalog)
        drop_unused(catalog)
    failed, left = tally["failed"], tally[LEFT]
    if total and failed + left == total:
        raise LensError(_none_read(catalog, total, first_id, failed))
    return Summary(total, failed, left, _without(tally, metric_of))


def _without(tally: Counter[str], metric_of: Mapping[int, str]) -> dict[str, int]:
    names = {f"error_{scorer}": metric for scorer, metric in metric_of.items()}
    names["embedding_error"] = scorers.EMBEDDING
    return {name: tally[column] for column, name in names.items() if tally[column]}


def _none_read(catalog: Catalog, total: int, first_id: int, failed: int) -> str:
    if not failed:
        return (
            f"none of {total} images could be read: their storage does not answer; run the same command again"
        )
    first = catalog.named("score/first_failure", image_id=first_id).row(0, named=True)
    return (
        f"none of {total} images could be read (image {first['image_id']}: {first['status_reason']}); "
        "if their disk was not there, mount it and run `lensdata score --retry-failed`"
    )


def _scorers_of(part: Path) -> Mapping[str, Any]:
    """The scorers whose columns a part has."""
    names = pq.read_schema(part).names
    return {
        "scorers": [int(name.removeprefix("value_")) for name in names if name.startswith("value_")],
    }


def part_schema(scorer_ids: Mapping[int, str]) -> dict[str, Any]:
    """Columns of a part: see sql/statements/score/part.sql."""
    columns = {
        name: kind
        for scorer in scorer_ids
        for name, kind in ((f"value_{scorer}", pl.Float32), (f"error_{scorer}", pl.String))
    }
    return {
        "image_id": pl.Int64, "status": pl.String, "status_reason": pl.String, "phash": pl.UInt64, **columns,
        "embedding_model": pl.String, "embedding_row": pl.Int32, "embedding_error": pl.String,
    }  # fmt: skip


# ---- in a worker


@cache
def _models(plan: Plan) -> Models:
    return Models(plan)


@cache
def _one_thread() -> None:
    """Processes are the parallelism here; threads of OpenCV's and of the AVIF decoder would only fight them."""
    cv2.setNumThreads(1)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def _score(task: engine.Task, watch: engine.Watch) -> list[Row]:
    """Worker: one part of images, from bytes to rows and a matrix of embeddings."""
    _one_thread()
    part = _Part(task)
    for index, item in enumerate(task.items):
        if task.poison.get(index) == engine.LATE:
            continue
        row, wanted = part.begin(item)
        if index in task.poison:
            part.fail(row, wanted, *task.poison[index])
            continue
        with watch.item(index):
            rgb = part.measure(item, row, wanted, watch)
        if rgb is not None:
            part.gather(row, wanted, rgb)
    return part.end()


class _Part:
    """The rows of one part under way. Images that want the same of the models wait for each other in a batch."""

    def __init__(self, task: engine.Task) -> None:
        settings = task.settings
        self.metric_of: dict[int, str] = settings["scorers"]
        self.formulas = {metric.name: metric for metric in settings["metrics"] if not metric.learned}
        self.embedding: str | None = settings["embedding"]
        self.plan: Plan = settings["plan"]
        self.folder, self.part_id = settings["root"] / "embeddings", task.part_id
        self.rows: list[Row] = []
        self.vectors: list[tuple[np.ndarray, np.ndarray]] = []  # each with its thumbnail
        self.batches: dict[frozenset[str], list[tuple[Row, dict[str, int], np.ndarray]]] = {}

    def begin(self, item: Row) -> tuple[Row, dict[str, int]]:
        """The image's row, and what it lacks: metric -> scorer id (0: the embedding)."""
        wanted = {self.metric_of[scorer] if scorer else scorers.EMBEDDING: scorer for scorer in item["wants"]}
        model = self.embedding if scorers.EMBEDDING in wanted else None
        row: Row = {"image_id": item["image_id"], "embedding_model": model}
        self.rows.append(row)
        return row, wanted

    def measure(self, item: Row, row: Row, wanted: dict[str, int], watch: engine.Watch) -> np.ndarray | None:
        """Decode once, take the formulas' metrics, and return what the models need (RGB, its short side at least the
        plan's where the picture's own is), or None if there is nothing for them."""
        try:
            with watch.reading():
                data = locate.read(item["uri"], item["byte_offset"], item["byte_length"])
        except Unreadable as error:
            if error.passing:
                self.rows.remove(row)
            else:
                self.fail(row, wanted, error.status, str(error))
            return None
        if not same_bytes(data, item["uri"], item["sha256"], item["file_size"], item["file_mtime_ns"]):
            changed = "the file has changed since it was ingested; ingest it again"
            self.fail(row, wanted, pixels.MISSING, changed)
            return None
        decoded = pixels.decode(data, side=max(filters.WORKING_SIDE, self.plan.side))
        if decoded.rgb is None:
            self.fail(row, wanted, decoded.status, decoded.reason or "")
            return None
        row["status"], row["status_reason"] = decoded.status, decoded.reason
        picture = filters.Picture(decoded.rgb)
        row["phash"] = filters.perceptual_hash(picture)
        for name in wanted.keys() & self.formulas.keys():
            _set(row, wanted[name], filters.measured(self.formulas[name], picture))
        if wanted.keys() <= self.formulas.keys():
            return None
        return _reduced(decoded.rgb, max(MODEL_SIDE, self.plan.side))

    def gather(self, row: Row, wanted: dict[str, int], rgb: np.ndarray) -> None:
        """Let a picture wait for the models, and run them when a batch is full."""
        kind = frozenset(wanted.keys() - self.formulas.keys())
        batch = self.batches.setdefault(kind, [])
        batch.append((row, wanted, rgb))
        if len(batch) == self.plan.batch:
            self._run_models(kind)

    def end(self) -> list[Row]:
        for kind in list(self.batches):
            self._run_models(kind)
        if self.vectors and self.embedding:
            save_vectors(self.folder / self.embedding, self.part_id, self.vectors)
        return self.rows

    def fail(self, row: Row, wanted: dict[str, int], status: str, reason: str) -> None:
        row["status"], row["status_reason"] = status, reason
        for scorer in filter(None, wanted.values()):
            row[f"error_{scorer}"] = f"{status}: {reason}"
        if row["embedding_model"]:
            row["embedding_row"], row["embedding_error"] = -1, f"{status}: {reason}"

    def _run_models(self, kind: frozenset[str]) -> None:
        batch = self.batches.pop(kind)
        found = _models(self.plan).run([rgb for *_, rgb in batch], set(kind))
        for n, (row, wanted, rgb) in enumerate(batch):
            for name in kind - {scorers.EMBEDDING}:
                _set(row, wanted[name], float(found[name][n]))
            if scorers.EMBEDDING in kind:
                vector = found[scorers.EMBEDDING][n]
                if np.isfinite(vector).all():
                    row["embedding_row"] = len(self.vectors)
                    self.vectors.append((vector, thumbnail(rgb)))
                else:
                    row["embedding_row"], row["embedding_error"] = -1, NOT_FINITE


def _reduced(rgb: np.ndarray, side: int) -> np.ndarray:
    height, width = rgb.shape[:2]
    scale = side / min(height, width)
    if scale >= 1:
        return rgb
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


def _set(row: Row, scorer: int, value: float | str) -> None:
    """Store a value, or why there is none: NaN never enters."""
    if isinstance(value, str):
        row[f"error_{scorer}"] = value
    elif math.isfinite(value):
        row[f"value_{scorer}"] = value
    else:
        row[f"error_{scorer}"] = NOT_FINITE


def _refuse(row: Row, faults: dict[str, str]) -> Row:
    """A value that no column holds is that scorer's failure."""
    for column, reason in faults.items():
        if column.startswith("value_"):
            row[column.replace("value_", "error_")] = reason
        elif column == "status_reason":
            row[column] = reason
    return row


def _count(frame: pl.DataFrame) -> dict[str, int]:
    """The images that could not be read; of the others by column the failures of single scorers."""
    unread = frame["status"].is_in(pixels.FAILURES).fill_null(False)
    errors = frame.filter(~unread).select(cs.contains("error"))
    return {"failed": int(unread.sum()), **{column.name: column.count() for column in errors}}


STAGE = Stage(
    name="score",
    work=_score,
    schema={},  # of the scorers of a job
    commit=(
        "score/part",
        "score/part_new",
        "score/part_status",
        "score/part_vectors_retry",
        "score/part_vectors",
    ),
    pending="score/pending",
    part_items=PART_IMAGES,
    tally=_count,
    refuse=_refuse,
)
