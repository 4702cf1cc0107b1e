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
from catalog.store import parts, statements
from lensdata import engine
from lensdata.copies import blank_removed, is_blank
from lensdata.gone import find_gone, found_again
from lensdata.ingested import READABLE, REMOVED, STATE, Ingested, count, ingested
from lensdata.listing import TEXTS, Listing, place
from lensdata.sources import DEFAULTS, Columns, Item, Source, Survey, describe, describe_text, open_all
from lensdata.sources.describe import TEXT_COLUMNS
from lensdata.stage import Row, Stage, run_stage

SCHEMA = {
    "image_id": pl.Int64, "change": pl.String, "text_changed": pl.Boolean, "sha256": pl.String,
    "source": pl.String, "uri": pl.String, "byte_offset": pl.Int64, "byte_length": pl.Int64, "format": pl.String,
    "width": pl.Int32, "height": pl.Int32, "frames": pl.Int32, "status": pl.String, "status_reason": pl.String,
    "alt_text": pl.String, "brief_text": pl.String, "dense_text": pl.String, "alt_error": pl.String,
    "licence": pl.String, "url": pl.String, "file_size": pl.Int64, "file_mtime_ns": pl.Int64, "passing": pl.Boolean,
    "ordinal": pl.Int64,
}  # fmt: skip
KEPT_TEXTS = (*TEXTS, "licence", "url")
HAD_BYTES = (*READABLE, pixels.MISSING, REMOVED)  # others may have been judged before the file was whole
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

    An id belongs to its bytes. What stands at the place of a known image (its uri and offset) is read again if its file
    has another size or time than before, or was missing and is there; other bytes are another image, with an id of its
    own. An image whose file is gone and whose bytes turn up elsewhere (a folder was moved, a tar rewritten) keeps its
    id and all that is known of it. `retry` reads, or downloads, again whatever failed; what a storage did not answer
    for is read again by every ingest.
    Ids follow the listing's order, whatever the workers' speed, so two ingests of one folder give equal catalogs.

    `columns` names those of the tables among the paths. Raises BadInput for a source that is missing or
    holds nothing, and for a kind of `source` without a plain name; LensError if one breaks off, when all that it had
    listed before is in.
    """
    if not source.isprintable() or not source.strip() or source != source.strip():
        raise BadInput(
            f"--source {source!r} is no name of a kind of source; write a word, such as public-real"
        )
    found = open_all(paths, columns)
    with (
        catalog.job(STAGE.name, resumes=STAGE.resumes, outdates=STAGE.outdates),
        Listing(catalog, Survey(), retry) as listing,
    ):
        work = _Tasks(listing, source)
        slots = {
            "scorers": catalog.named("score/scorers")["scorer_id"].to_list(), "resumed": bool(work.last_id),
        }  # fmt: skip
        tally, taken_down = Counter[str](), Counter[str]()
        watched = not catalog.named("remove/gone").is_empty()

        def of_part(part: Path) -> dict[str, Any]:
            if watched:
                _count_taken_down(catalog, part, taken_down)
            return slots

        for group in _one_after_another(found):
            tasks = work.tasks(group)
            tally += run_stage(catalog, STAGE, tasks, None, workers, on, of_part, done=work.committed)
        tally.update(taken_down)
        name = f"{STAGE.name}-{work.version:08d}"
        gone = find_gone(catalog, listing)
        _mark_gone(catalog, gone, f"{name}-gone", slots)
        moved = _settle(catalog, f"{name}-settled", slots, tally)
        lost = 0 if gone.is_empty() else catalog.query("ingest/settle/still_gone", {}, {"gone": gone}).item()
        listed = listing.images()
        if back := blank_removed(catalog):
            say(f"ingest: {back} images that were taken down came back; our copies of them are blanked")
    for line in listing.survey.lines():
        say(f"ingest: {line}")
    if listing.broke is not None:
        raise listing.broke
    return ingested(tally, listed, lost, moved, listing.survey)


def _one_after_another(sources: Sequence[Source]) -> list[list[Source]]:
    """The sources in groups, each begun when the one before is in: a table that names images by their places tells of
    those that other sources list, and an image that is under way is read with the text of the first."""
    apart = groupby(enumerate(sources), key=lambda one: one[0] if one[1].names_places else -1)
    return [[source for _, source in group] for _, group in apart]


class _Tasks:
    """The tasks of one ingest, made while earlier ones run: what a listing finds that must be read.

    New images get their ids here, in the listing's order: the ids that a killed ingest left free come first, so that
    whatever order parts are finished in, the ids are those of an undisturbed run. What stands in a tar that is known
    may be an image that is: it gets no id before that is settled.
    """

    def __init__(self, listing: Listing, kind: str) -> None:
        self.listing, self.kind = listing, kind
        catalog = listing.catalog
        self.root, self.version = catalog.root, catalog.version
        self.last_id: int = catalog.named("ingest/last").item()
        self._free = catalog.named("ingest/free_ids")
        self._parts = numbers()
        self._ids = self._free_ids()
        self._under_way: dict[str, set[tuple[str, int]]] = {}  # part -> the new images that it will bring

    def tasks(self, sources: Sequence[Source]) -> Iterator[engine.Task]:
        """Parts are named after the catalog's version, which no earlier job that committed anything has seen."""
        settings = {"root": self.root, "source": self.kind}
        todo = self.listing.todo(sources)
        while rows := list(islice(todo, STAGE.part_items)):
            part_id = f"{STAGE.name}-{self.version:08d}-{next(self._parts):08d}"
            chunk = [one for row in rows if (one := self._numbered(part_id, *row)) is not None]
            if chunk:
                yield engine.Task(part_id, chunk, settings)

    def committed(self, task: engine.Task) -> None:
        """Told of every task whose part is in."""
        self._under_way.pop(task.part_id, None)

    def _numbered(self, part_id: str, number: int, item: Item, known: dict[str, Any]) -> _Numbered | None:
        """The item with its number and id, and what is known of it; None for a new image that a part under way brings
        already."""
        number += self.version << 40  # other than those of a killed ingest
        if known["image_id"] is not None:
            return item, number, known["image_id"], known
        place = (item.uri, item.offset)
        if any(place in places for places in self._under_way.values()):
            return None
        self._under_way.setdefault(part_id, set()).add(place)
        return item, number, None if known["within"] else next(self._ids), None

    def _free_ids(self) -> Iterator[int]:
        for first, last in self._free.iter_rows():
            yield from range(first, last + 1)
        yield from numbers(self.last_id + 1)


_Numbered = tuple[Item, int, int | None, dict[str, Any] | None]


def _count_taken_down(catalog: Catalog, part: Path, tally: Counter[str]) -> None:
    """Count what of a part was taken down before: it is added or updated as `removed`."""
    for status, added, images in catalog.named("ingest/settle/taken", part=str(part)).iter_rows():
        tally[REMOVED] += images
        if added:
            tally[STATE + status] -= images
            tally[STATE + REMOVED] += images


def _mark_gone(catalog: Catalog, gone: pl.DataFrame, part_id: str, slots: dict[str, Any]) -> None:
    if gone.is_empty():
        return
    frame = gone.with_columns(
        change=pl.lit("lost"), text_changed=pl.lit(False), status=pl.lit(pixels.MISSING)
    )
    blank = pl.DataFrame(schema={name: kind for name, kind in SCHEMA.items() if name not in frame.columns})
    frame = pl.concat([frame, blank], how="diagonal").select(list(SCHEMA))
    catalog.commit_part(
        STAGE.name, parts.write(catalog.root, STAGE.name, part_id, frame), STAGE.commit, slots
    )


def _settle(catalog: Catalog, part_id: str, slots: dict[str, Any], tally: Counter[str]) -> int:
    """Match what has turned up with what is lost, and give ids to the rest. Returns how many lost images were found,
    and takes them from the tally of what was added and updated."""
    if not catalog.named("ingest/settle/count").item():
        return 0
    lost = pl.DataFrame({"image_id": found_again(catalog)}, schema={"image_id": pl.Int64})
    part = parts.write(catalog.root, STAGE.name, part_id, lost)
    pairs = statements.statement("ingest/settle/pairs")
    moved, replacing, warned = catalog.named("ingest/settle/found", {"pairs": pairs}, part=str(part)).row(0)
    catalog.commit_part(STAGE.name, part, SETTLE, {**slots, "pairs": pairs})
    added = moved - replacing
    tally.subtract({"added": added, "updated": replacing})
    tally.subtract({STATE + pixels.OK: added - warned, STATE + pixels.OK_WARNINGS: warned})
    return int(moved)


# ---- in a worker


def _read(task: engine.Task, watch: engine.Watch) -> Iterator[Row]:
    """Worker: one part of images, from bytes to rows; none for a known image about which nothing has changed."""
    root = task.settings["root"]
    for index, (item, number, image_id, known) in enumerate(task.items):
        row: Row = dict.fromkeys(SCHEMA) | {
            "image_id": image_id, "change": "other" if image_id is None else "new", "text_changed": False,
            "source": task.settings["source"], "uri": place(item.uri, root), "byte_offset": item.offset,
            "byte_length": item.length or 0, "file_size": item.file_size, "file_mtime_ns": item.file_mtime_ns,
            "ordinal": number,
        }  # fmt: skip
        if index in task.poison:
            status, reason = task.poison[index]
            late = task.poison[index] == engine.LATE
            found: Row = {"status": status, "status_reason": reason, "passing": late}
        else:
            with watch.item(index):
                alone = known is not None and known["text_alone"]
                found = _text_alone(item, known) if alone else describe(item, watch.reading)
        row |= found
        if known and item.given and row["sha256"] in (None, known["sha256"]):
            row |= {name: row[name] or known[name] for name in KEPT_TEXTS}  # another table may have told it
        if known:
            _compare(row, known, text_read="alt_error" in found)
            same = row["change"] == "file" and not row["text_changed"]
            if same and all(row[name] == known[name] for name in KNOWN_BY):
                continue
        yield row


def _text_alone(item: Item, known: Row) -> Row:
    """Of an image whose files are as they were: the texts that its source gives, and what else was known. Its sidecars
    are not read again, since a table may have told others than they do."""
    found = describe_text(replace(item, text=None, json=None))
    if not found["alt_text"]:
        found["alt_error"] = found["alt_error"] or known["alt_error"]
    return found | {name: known[name] for name in ("status", "status_reason")}


def _compare(row: Row, known: Row, text_read: bool) -> None:
    """Set what has changed since the catalog learnt of the image: `other`, if other bytes stand in its place; `bytes`,
    if it gets the first that can be read; `back` or `lost`, if the same bytes have become readable or unreadable; or
    `file`, nothing but the file's time or the failure."""
    row["text_changed"] = text_read and any(row[name] != known[name] for name in TEXT_COLUMNS)
    blanked = known["status"] == REMOVED and is_blank(row["sha256"], row["byte_length"])
    if row["sha256"] is not None and row["sha256"] != known["sha256"] and not blanked:
        row["change"] = "other" if known["sha256"] is not None and known["status"] in HAD_BYTES else "bytes"
        if row["change"] == "other" and row["byte_offset"]:  # a tar was rewritten: no member replaces another
            row["image_id"] = None
        return
    unread = row["sha256"] is None and known["sha256"] is not None and not known["text_alone"]
    if unread and row["status"] not in (*READABLE, pixels.TOO_LARGE):
        # No verdict on the bytes that are known, which are just not there: half a file, a store that hangs.
        if row["status"] != pixels.MISSING:
            row["status_reason"] = f"{row['status']}: {row['status_reason']}"
        row["status"] = pixels.MISSING
    if known["status"] == REMOVED:  # stays so, and its text gone
        row |= {name: known[name] for name in ("status", "status_reason")} | {
            "change": "file",
            "text_changed": False,
        }
        return
    if row["sha256"] is not None and row["status"] in READABLE and _judged_by_decoding(known):
        row["status"], row["status_reason"] = known["status"], known["status_reason"]
    before, now = known["status"] in READABLE, row["status"] in READABLE
    row["change"] = "back" if now and not before else "lost" if before and not now else "file"


def _judged_by_decoding(known: dict[str, Any]) -> bool:
    """Whether a verdict on the same bytes goes deeper than a good header: scoring decodes the pixels."""
    return known["width"] is not None and known["status"] not in (pixels.MISSING, pixels.TOO_LARGE)


def _refuse(row: Row, faults: dict[str, str]) -> Row | None:
    """The row of an image about which a file says what no column holds; none where that is its place."""
    if not faults.keys().isdisjoint(("image_id", "uri", "byte_offset")):
        return None
    row["byte_length"] = row["byte_length"] or 0
    if row["status"] in READABLE:
        row |= {"status": pixels.CORRUPT, "status_reason": "; ".join(faults.values())}
    elif row["status_reason"] is None:
        row["status_reason"] = "; ".join(faults.values())
    return row


STAGE = Stage(
    name="ingest",
    work=_read,
    schema=SCHEMA,
    commit=(
        "ingest/forget_scores", "ingest/forget_embeddings", "ingest/forget_clusters", "ingest/forget_captions",
        "ingest/forget_buckets", "ingest/update", "ingest/part", "ingest/settle/taken_down", "ingest/settle/arrive",
        "ingest/settle/unstage", "ingest/settle/staged",
    ),
    part_items=512,
    tally=count,
    resumes=False,
    outdates=("score", "caption"),
    refuse=_refuse,
)  # fmt: skip
SETTLE = ("ingest/settle/pair", "ingest/settle/move", "ingest/settle/forget", "ingest/settle/enter")
