"""Ingest: list a source, read each new image's bytes once for its hash and header, and commit in listing order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

import sql
from catalog import locate, parts, pixels
from catalog.console import Progress
from catalog.errors import LensError
from catalog.store import Catalog
from lensdata import engine
from lensdata.sources import Item, discover, require

PART_IMAGES = 512
LISTING_ROWS = 65_536
SCHEMA = {
    "ordinal": pl.Int64, "sha256": pl.String, "source": pl.String, "uri": pl.String, "byte_offset": pl.Int64,
    "byte_length": pl.Int64, "format": pl.String, "width": pl.Int32, "height": pl.Int32, "frames": pl.Int32,
    "status": pl.String, "status_reason": pl.String, "alt_text": pl.String, "alt_error": pl.String,
    "licence": pl.String, "url": pl.String,
}  # fmt: skip
ALT_KEYS = ("caption", "text", "alt", "alt_text", "title", "description")


def ingest(
    catalog: Catalog, paths: list[Path], source: str = "public-real", workers: int | None = None
) -> int:
    """Add the images below `paths` that the catalog does not hold yet and return how many there were.

    Ids follow the listing's order, whatever the workers' speed, so two ingests of one folder give equal catalogs.
    """
    paths = [path.expanduser().absolute() for path in paths]
    require(paths)
    added = 0
    with catalog.job("ingest"), Progress(None, "ingest", "images") as bar:
        waiting: dict[int, Path] = {}
        following = 0
        for task, part in engine.run(_read_part, _tasks(catalog, paths, source), workers):
            waiting[task.settings["number"]] = part
            while following in waiting:
                part = waiting.pop(following)
                rows = parts.count(part)
                catalog.commit_part("ingest", part, ["ingest_part"])
                added += rows
                following += 1
                bar.advance(rows)
    return added


def _tasks(catalog: Catalog, paths: list[Path], source: str) -> Iterator[engine.Task]:
    number = 0
    for item_list in _listings(paths):
        for chunk in _chunks(_new(catalog, item_list), PART_IMAGES):
            digest = hashlib.sha256(
                "\n".join(f"{item.uri}\t{item.offset}" for item in chunk).encode()
            ).hexdigest()
            settings = {"root": catalog.root, "source": source, "number": number}
            yield engine.Task(f"ingest-{digest[:24]}", chunk, settings)
            number += 1


def _listings(paths: list[Path]) -> Iterator[list[Item]]:
    for path in paths:
        found = discover(path)
        while batch := list(islice(found, LISTING_ROWS)):
            yield batch


def _new(catalog: Catalog, items: list[Item]) -> list[Item]:
    listing = pl.DataFrame(
        {
            "ordinal": range(len(items)),
            "uri": [i.uri for i in items],
            "byte_offset": [i.offset for i in items],
        },
        schema={"ordinal": pl.Int64, "uri": pl.String, "byte_offset": pl.Int64},
    ).unique(["uri", "byte_offset"], keep="first")
    fresh = catalog.query(sql.statement("ingest_new"), {}, {"listing": listing})
    return [items[ordinal] for ordinal in fresh["ordinal"]]


def _chunks(items: list[Item], size: int) -> Iterator[list[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _read_part(task: engine.Task, watch: engine.Watch) -> Path:
    """Worker: one part of images, from bytes to rows."""
    rows = []
    for index, item in enumerate(task.items):
        row: dict[str, Any] = dict.fromkeys(SCHEMA) | {
            "ordinal": index, "source": task.settings["source"], "uri": item.uri, "byte_offset": item.offset,
            "byte_length": item.length,
        }  # fmt: skip
        if index in task.poison:
            row["status"], row["status_reason"] = task.poison[index]
        else:
            with watch.item(index):
                row.update(_describe(item))
        rows.append(row)
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return parts.write(task.settings["root"], "ingest", task.part_id, frame)


def _describe(item: Item) -> dict[str, Any]:
    found = _text(item)
    try:
        data = locate.read(item.uri, item.offset, item.length)
    except locate.Unreadable as error:
        return {**found, "status": error.status, "status_reason": str(error)}
    header = pixels.probe(data)
    return {
        **found,
        "sha256": hashlib.sha256(data).hexdigest(),
        "format": header.format,
        "width": header.width,
        "height": header.height,
        "frames": header.frames,
        "status": header.status,
        "status_reason": header.reason,
    }


def _text(item: Item) -> dict[str, Any]:
    """alt_text, licence and url from the sidecars; the .txt is the caption, else a caption field of the .json."""
    found: dict[str, Any] = {}
    problems = []
    if item.json:
        try:
            fields = json.loads(locate.read(*item.json))
            if not isinstance(fields, dict):
                raise ValueError("it is not an object")
            found["licence"] = _string(fields.get("licence") or fields.get("license"))
            found["url"] = _string(fields.get("url"))
            found["alt_text"] = next((text for key in ALT_KEYS if (text := _string(fields.get(key)))), None)
        except (ValueError, LensError, RecursionError) as error:
            problems.append(f"sidecar .json: {error}")
    if item.text:
        try:
            found["alt_text"] = locate.read(*item.text).decode("utf-8-sig").strip() or found.get("alt_text")
        except (UnicodeDecodeError, LensError) as error:
            problems.append(f"sidecar .txt: {error}")
    text = found.get("alt_text")
    if text and "\0" in text:
        found["alt_text"] = text.replace("\0", "").strip() or None
        problems.append("NUL characters removed")
    found["alt_error"] = "; ".join(problems) or None
    return found


def _string(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None
