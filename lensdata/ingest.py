"""Ingest: list a source, read each new or changed image once for its hash and header, and commit in listing order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

import sql
from catalog import parts, pixels
from catalog.console import Progress, say
from catalog.errors import BadInput
from catalog.store import Catalog
from lensdata import engine
from lensdata.gone import Seen, find_gone
from lensdata.sources import DEFAULTS, Columns, Item, Survey, describe, discover, require
from lensdata.sources.describe import TEXT_COLUMNS
from lensdata.sources.place import Place

PART_IMAGES = 512
LISTING_ROWS = 65_536
SCHEMA = {
    "ordinal": pl.Int64, "image_id": pl.Int64, "change": pl.String, "text_changed": pl.Boolean, "sha256": pl.String,
    "source": pl.String, "uri": pl.String, "byte_offset": pl.Int64, "byte_length": pl.Int64, "format": pl.String,
    "width": pl.Int32, "height": pl.Int32, "frames": pl.Int32, "status": pl.String, "status_reason": pl.String,
    "alt_text": pl.String, "brief_text": pl.String, "dense_text": pl.String, "alt_error": pl.String,
    "licence": pl.String, "url": pl.String, "file_size": pl.Int64, "file_mtime_ns": pl.Int64,
}  # fmt: skip
LISTING_SCHEMA = {
    "ordinal": pl.Int64, "uri": pl.String, "byte_offset": pl.Int64, "byte_length": pl.Int64, "file_size": pl.Int64,
    "file_mtime_ns": pl.Int64, "was": pl.String, "failed": pl.Boolean,
}  # fmt: skip
ADDING = ["ingest_part"]
UPDATING = [
    "ingest_forget_scores", "ingest_forget_embeddings", "ingest_forget_clusters", "ingest_forget_captions",
    "ingest_forget_buckets", "ingest_update",
]  # fmt: skip
READABLE = (pixels.OK, pixels.OK_WARNINGS)
REMOVED = "removed"  # by a takedown


@dataclass(frozen=True)
class Ingested:
    """What an ingest did: images added; updated, because bytes, text or readability had changed; found as they were;
    and gone from folders and from tars that had been rewritten."""

    added: int
    updated: int
    unchanged: int
    gone: int

    def __str__(self) -> str:
        gone = f", {self.gone} gone from folders and tars" if self.gone else ""
        return f"{self.added} images added, {self.updated} updated, {self.unchanged} unchanged{gone}"


def ingest(
    catalog: Catalog,
    paths: Sequence[Path | str],
    source: str = "public-real",
    workers: int | None = None,
    columns: Columns = DEFAULTS,
    on: engine.On = "local",
    retry: bool = False,
) -> Ingested:
    """Bring the catalog up to date with the images below `paths`: paths, and URLs as str.

    An image is known by its uri and offset. One whose file has another size or time than before, or was missing and
    is there, is read again: it keeps its id, and what later stages made of other bytes is removed with the same
    commit. `retry` reads, or downloads, again whatever failed.
    Ids follow the listing's order, whatever the workers' speed, so two ingests of one folder give equal catalogs.

    `columns` names those of Parquet, Arrow and Hugging Face tables. Raises BadInput for a source that is missing or
    holds nothing, and for a kind of `source` without a plain name.
    """
    if not source.isprintable() or not source.strip() or source != source.strip():
        raise BadInput(
            f"--source {source!r} is no name of a kind of source; write a word, such as public-real"
        )
    found = require(paths, columns)
    survey = Survey()
    with (
        catalog.job("ingest", outdates=("score", "caption")),
        Seen(catalog.root) as seen,
        Progress(None, "ingest", "images") as bar,
    ):
        work = _Work(catalog, found, source, survey, columns, retry, seen)
        waiting: dict[int, Path | None] = {}
        following = updated = 0
        for task, (part, changed) in engine.run(_read_part, work.tasks(), workers, on=on):
            waiting[task.settings["number"]] = part
            updated += changed
            bar.advance(len(task.items))
            while following in waiting:
                if ready := waiting.pop(following):
                    names = UPDATING + ADDING if work.rereads[following] else ADDING
                    catalog.commit_part("ingest", ready, names, last=work.asked[following])
                following += 1
        gone = _mark_gone(catalog, find_gone(catalog, survey, seen), f"ingest-{work.version:08d}-gone")
        added = catalog.named("ingest_last").item() - work.before
    for line in survey.lines():
        say(f"ingest: {line}")
    return Ingested(added, updated, work.listed - added - updated, gone)


class _Work:
    """The tasks of one ingest, made while earlier ones run: what a listing finds that must be read."""

    def __init__(
        self, catalog: Catalog, paths: list[Place], source: str, survey: Survey, columns: Columns, retry: bool,
        seen: Seen,
    ) -> None:  # fmt: skip
        self.catalog, self.paths, self.source, self.survey = catalog, paths, source, survey
        self.columns, self.retry, self.seen = columns, retry, seen
        self.version: int = catalog.version
        self.before: int = catalog.named("ingest_last").item()
        self.listed = 0
        self.rereads: list[bool] = []  # for each task, whether it holds images known before
        self.asked: list[int] = []  # and the last id of the catalog when it was asked for them

    def tasks(self) -> Iterator[engine.Task]:
        """Parts are named after the catalog's version, which no earlier job that committed anything has seen."""
        for items in self._listings():
            last: int = self.catalog.named("ingest_last").item()
            todo = self._todo(items)
            for start in range(0, len(todo), PART_IMAGES):
                chunk = todo[start : start + PART_IMAGES]
                number = len(self.rereads)
                self.rereads.append(any(known for _, known in chunk))
                self.asked.append(last)
                settings = {"root": self.catalog.root, "source": self.source, "number": number}
                yield engine.Task(f"ingest-{self.version:08d}-{number:08d}", chunk, settings)

    def _listings(self) -> Iterator[list[Item]]:
        for path in self.paths:
            found = discover(path, self.survey, self.columns, self.catalog.root, self.retry)
            while batch := list(islice(found, LISTING_ROWS)):
                self.seen.add(batch)
                yield batch

    def _todo(self, items: list[Item]) -> list[tuple[Item, dict[str, Any] | None]]:
        rows = [
            (n, i.uri, i.offset, i.length, i.file_size, i.file_mtime_ns, i.was, i.failed is not None)
            for n, i in enumerate(items)
        ]
        listing = pl.DataFrame(rows, schema=LISTING_SCHEMA, orient="row").unique(
            ["uri", "byte_offset"], keep="first"
        )
        self.listed += len(listing)  # a table may name a file twice
        todo = self.catalog.query(sql.statement("ingest_todo"), {"retry": self.retry}, {"listing": listing})
        return [
            (items[row["ordinal"]], row if row["image_id"] is not None else None)
            for row in todo.iter_rows(named=True)
        ]


def _mark_gone(catalog: Catalog, gone: pl.DataFrame, part_id: str) -> int:
    if gone.is_empty():
        return 0
    frame = gone.with_columns(
        change=pl.lit("lost"), text_changed=pl.lit(False), status=pl.lit(pixels.MISSING)
    )
    blank = pl.DataFrame(schema={name: kind for name, kind in SCHEMA.items() if name not in frame.columns})
    frame = pl.concat([frame, blank], how="diagonal")
    catalog.commit_part("ingest", parts.write(catalog.root, "ingest", part_id, frame), UPDATING)
    return len(gone)


# ---- in a worker


def _read_part(task: engine.Task, watch: engine.Watch) -> tuple[Path | None, int]:
    """Worker: one part of images, from bytes to rows. Returns the part, if anything is to be stored, and how many
    known images have changed."""
    rows = []
    updated = 0
    for index, (item, known) in enumerate(task.items):
        row: dict[str, Any] = dict.fromkeys(SCHEMA) | {
            "ordinal": index, "change": "new", "text_changed": False, "source": task.settings["source"],
            "uri": item.uri, "byte_offset": item.offset, "byte_length": item.length or 0, "file_size": item.file_size,
            "file_mtime_ns": item.file_mtime_ns,
        }  # fmt: skip
        if index in task.poison:
            found: dict[str, Any] = dict(zip(("status", "status_reason"), task.poison[index], strict=True))
        else:
            with watch.item(index):
                found = describe(item)
        row |= found
        if known:
            _compare(row, known, text_read="alt_error" in found)
            if row["change"] != "file" or row["text_changed"]:
                updated += 1
            elif all(
                row[name] == known[name] for name in ("status", "status_reason", "file_size", "file_mtime_ns")
            ):
                continue
        rows.append(row)
    if not rows:
        return None, updated
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return parts.write(task.settings["root"], "ingest", task.part_id, frame), updated


def _compare(row: dict[str, Any], known: dict[str, Any], text_read: bool) -> None:
    """Set what has changed since the catalog learnt of the image: `bytes`; `back` or `lost`, if the same bytes have
    become readable or unreadable; or `file`, nothing but the file's time or the failure."""
    row["image_id"] = known["image_id"]
    row["text_changed"] = text_read and any(row[name] != known[name] for name in TEXT_COLUMNS)
    if row["sha256"] is not None and row["sha256"] != known["sha256"]:
        row["change"] = "bytes"
        return
    if known["status"] == REMOVED:  # stays so, and its text gone
        row |= {name: known[name] for name in ("status", "status_reason")} | {
            "change": "file",
            "text_changed": False,
        }
        return
    if row["sha256"] is not None and row["status"] == pixels.OK and _judged_by_decoding(known):
        row["status"], row["status_reason"] = known["status"], known["status_reason"]
    before, now = known["status"] in READABLE, row["status"] in READABLE
    row["change"] = "back" if now and not before else "lost" if before and not now else "file"


def _judged_by_decoding(known: dict[str, Any]) -> bool:
    """Whether a verdict on the same bytes goes deeper than a good header: scoring decodes the pixels."""
    return known["width"] is not None and known["status"] not in (pixels.MISSING, pixels.TOO_LARGE)
