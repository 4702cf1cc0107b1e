"""Ingest: list a source, read each new or changed image once for its hash and header, and commit in listing order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count as numbers
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import polars as pl

from catalog import Catalog, pixels
from catalog.errors import BadInput
from catalog.notices import say
from catalog.store import parts
from lensdata import engine
from lensdata.gone import Seen, find_gone
from lensdata.ingested import READABLE, Ingested, count, ingested
from lensdata.sources import (
    DEFAULTS,
    Columns,
    Item,
    Source,
    Survey,
    describe,
    describe_text,
    mended,
    open_all,
)
from lensdata.sources.describe import TEXT_COLUMNS
from lensdata.stage import Row, Stage, run_stage

LISTING_ROWS = 65_536
SCHEMA = {
    "image_id": pl.Int64, "change": pl.String, "text_changed": pl.Boolean, "sha256": pl.String,
    "source": pl.String, "uri": pl.String, "byte_offset": pl.Int64, "byte_length": pl.Int64, "format": pl.String,
    "width": pl.Int32, "height": pl.Int32, "frames": pl.Int32, "status": pl.String, "status_reason": pl.String,
    "alt_text": pl.String, "brief_text": pl.String, "dense_text": pl.String, "alt_error": pl.String,
    "licence": pl.String, "url": pl.String, "file_size": pl.Int64, "file_mtime_ns": pl.Int64,
}  # fmt: skip
LISTING_SCHEMA = {
    "ordinal": pl.Int64, "uri": pl.String, "byte_offset": pl.Int64, "byte_length": pl.Int64, "file_size": pl.Int64,
    "file_mtime_ns": pl.Int64, "was": pl.String, "failed": pl.Boolean, "alt_text": pl.String, "brief_text": pl.String,
    "dense_text": pl.String,
}  # fmt: skip
SOURCE_TEXTS = ("alt_text", "brief_text", "dense_text")
KEPT_TEXTS = (*SOURCE_TEXTS, "licence", "url")
REMOVED = "removed"  # by a takedown
KNOWN_BY = ("status", "status_reason", "file_size", "file_mtime_ns")


def ingest(
    catalog: Catalog,
    paths: Sequence[Path | str | Source],
    source: str = "public-real",
    workers: int | None = None,
    columns: Columns = DEFAULTS,
    on: engine.On = "local",
    retry: bool = False,
) -> Ingested:
    """Bring the catalog up to date with the images below `paths`: paths, URLs as str, and sources opened already.

    An image is known by its uri and offset. One whose file has another size or time than before, or was missing and
    is there, is read again: it keeps its id, and what later stages made of other bytes is removed with the same
    commit. `retry` reads, or downloads, again whatever failed.
    Ids follow the listing's order, whatever the workers' speed, so two ingests of one folder give equal catalogs.

    `columns` names those of the tables among the paths. Raises BadInput for a source that is missing or
    holds nothing, and for a kind of `source` without a plain name.
    """
    if not source.isprintable() or not source.strip() or source != source.strip():
        raise BadInput(
            f"--source {source!r} is no name of a kind of source; write a word, such as public-real"
        )
    found = open_all(paths, columns)
    survey = Survey()
    with catalog.job(STAGE.name, resumes=STAGE.resumes, outdates=STAGE.outdates), Seen(catalog.root) as seen:
        work = _Listing(catalog, source, survey, retry, seen)
        slots = {"scorers": catalog.named("score/scorers")["scorer_id"].to_list()}
        tally = Counter[str]()
        for group in _one_after_another(found):
            tasks = work.tasks(group)
            tally += run_stage(
                catalog, STAGE, tasks, None, workers, on, lambda part: slots, done=work.committed
            )
        gone = _mark_gone(catalog, find_gone(catalog, survey, seen), f"ingest-{work.version:08d}-gone", slots)
    for line in survey.lines():
        say(f"ingest: {line}")
    return ingested(tally, work.listed, gone)


def _one_after_another(sources: Sequence[Source]) -> list[list[Source]]:
    """The sources in groups, each begun when the one before is in: a table that names images by their places tells of
    those that other sources list, and an image that is under way is read with the text of the first."""
    apart = groupby(enumerate(sources), key=lambda one: one[0] if one[1].names_places else -1)
    return [[source for _, source in group] for _, group in apart]


class _Listing:
    """The tasks of one ingest, made while earlier ones run: what a listing finds that must be read.

    New images get their ids here, in the listing's order: the ids that a killed ingest left free come first, so that
    whatever order parts are finished in, the ids are those of an undisturbed run.
    """

    def __init__(self, catalog: Catalog, kind: str, survey: Survey, retry: bool, seen: Seen) -> None:
        self.catalog, self.kind = catalog, kind
        self.survey, self.retry, self.seen = survey, retry, seen
        self.version: int = catalog.version
        self.listed = 0
        self._parts = numbers()
        self._ids = self._free_ids()
        self._under_way: dict[str, set[tuple[str, int]]] = {}  # part -> the new images that it will bring

    def tasks(self, sources: Sequence[Source]) -> Iterator[engine.Task]:
        """Parts are named after the catalog's version, which no earlier job that committed anything has seen."""
        settings = {"root": self.catalog.root, "source": self.kind}
        for items in self._listings(sources):
            todo = self._todo(items)
            for start in range(0, len(todo), STAGE.part_items):
                part_id = f"{STAGE.name}-{self.version:08d}-{next(self._parts):08d}"
                chunk = [
                    self._numbered(part_id, item, known)
                    for item, known in todo[start : start + STAGE.part_items]
                ]
                if chunk := [one for one in chunk if one is not None]:
                    yield engine.Task(part_id, chunk, settings)

    def committed(self, task: engine.Task) -> None:
        """Told of every task whose part is in."""
        self._under_way.pop(task.part_id, None)

    def _numbered(
        self, part_id: str, item: Item, known: dict[str, Any] | None
    ) -> tuple[Item, int, dict[str, Any] | None] | None:
        """The item with its id; None for a new image that a part under way brings already."""
        if known:
            return item, known["image_id"], known
        place = (item.uri, item.offset)
        if any(place in places for places in self._under_way.values()):
            return None
        self._under_way.setdefault(part_id, set()).add(place)
        return item, next(self._ids), None

    def _free_ids(self) -> Iterator[int]:
        for first, last in self.catalog.named("ingest/free_ids").iter_rows():
            yield from range(first, last + 1)
        yield from numbers(self.catalog.named("ingest/last").item() + 1)

    def _listings(self, sources: Sequence[Source]) -> Iterator[list[Item]]:
        for source in sources:
            found = source.list(self.survey, self.catalog.root, self.retry)
            while batch := list(islice(found, LISTING_ROWS)):
                self.seen.add(batch)
                yield batch

    def _todo(self, items: list[Item]) -> list[tuple[Item, dict[str, Any] | None]]:
        rows = [
            (
                n,
                i.uri,
                i.offset,
                i.length,
                i.file_size,
                i.file_mtime_ns,
                i.was,
                i.failed is not None,
                *_texts(i),
            )
            for n, i in enumerate(items)
        ]
        listing = pl.DataFrame(rows, schema=LISTING_SCHEMA, orient="row").unique(
            ["uri", "byte_offset"], keep="first"
        )
        self.listed += len(listing)  # a table may name a file twice
        todo = self.catalog.query("ingest/todo", {"retry": self.retry}, {"listing": listing})
        return [
            (items[row["ordinal"]], row if row["image_id"] is not None else None)
            for row in todo.iter_rows(named=True)
        ]


def _texts(item: Item) -> list[str | None]:
    """The texts that the listing itself gives, as the catalog would hold them."""
    return [mended(item.given.get(name))[0] if item.given else None for name in SOURCE_TEXTS]


def _mark_gone(catalog: Catalog, gone: pl.DataFrame, part_id: str, slots: dict[str, Any]) -> int:
    if gone.is_empty():
        return 0
    frame = gone.with_columns(
        change=pl.lit("lost"), text_changed=pl.lit(False), status=pl.lit(pixels.MISSING)
    )
    blank = pl.DataFrame(schema={name: kind for name, kind in SCHEMA.items() if name not in frame.columns})
    frame = pl.concat([frame, blank], how="diagonal").select(list(SCHEMA))
    catalog.commit_part(
        STAGE.name, parts.write(catalog.root, STAGE.name, part_id, frame), STAGE.commit, slots
    )
    return len(gone)


# ---- in a worker


def _read(task: engine.Task, watch: engine.Watch) -> Iterator[Row]:
    """Worker: one part of images, from bytes to rows; none for a known image about which nothing has changed."""
    for index, (item, image_id, known) in enumerate(task.items):
        row: Row = dict.fromkeys(SCHEMA) | {
            "image_id": image_id, "change": "new", "text_changed": False, "source": task.settings["source"],
            "uri": item.uri, "byte_offset": item.offset, "byte_length": item.length or 0, "file_size": item.file_size,
            "file_mtime_ns": item.file_mtime_ns,
        }  # fmt: skip
        if index in task.poison:
            found: Row = dict(zip(("status", "status_reason"), task.poison[index], strict=True))
        else:
            with watch.item(index):
                found = _text_alone(item, known) if known and known["text_alone"] else describe(item)
        row |= found
        if known and item.given and row["sha256"] in (None, known["sha256"]):
            row |= {name: row[name] or known[name] for name in KEPT_TEXTS}  # another table may have told it
        if known:
            _compare(row, known, text_read="alt_error" in found)
            same = row["change"] == "file" and not row["text_changed"]
            if same and all(row[name] == known[name] for name in KNOWN_BY):
                continue
        yield row


def _text_alone(item: Item, known: dict[str, Any]) -> Row:
    """Of an image whose files are as they were: the texts that its source gives, and what else was known. Its sidecars
    are not read again, since a table may have told others than they do."""
    found = describe_text(replace(item, text=None, json=None))
    if not found["alt_text"]:
        found["alt_error"] = found["alt_error"] or known["alt_error"]
    return found | {name: known[name] for name in ("status", "status_reason")}


def _compare(row: dict[str, Any], known: dict[str, Any], text_read: bool) -> None:
    """Set what has changed since the catalog learnt of the image: `bytes`; `back` or `lost`, if the same bytes have
    become readable or unreadable; or `file`, nothing but the file's time or the failure."""
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


STAGE = Stage(
    name="ingest",
    work=_read,
    schema=SCHEMA,
    commit=(
        "ingest/forget_scores", "ingest/forget_embeddings", "ingest/forget_clusters", "ingest/forget_captions",
        "ingest/forget_buckets", "ingest/update", "ingest/part",
    ),
    part_items=512,
    tally=count,
    resumes=False,
    outdates=("score", "caption"),
)  # fmt: skip
