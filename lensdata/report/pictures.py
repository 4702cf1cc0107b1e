"""Thumbnails as data: URIs. They are made in the engine's processes, so that an image that crashes or hangs
its decoder costs the report one placeholder."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2

from catalog import pixels
from catalog.bytes import locate
from catalog.errors import LensError
from catalog.notices import Progress
from lensdata import engine

SIDE = 128  # pixels, the longer side
QUALITY = 75  # of the JPEG: about 4 KB a thumbnail
TASK_IMAGES = 24


@dataclass(frozen=True)
class Picture:
    """An image of the report. `thumbnail` is a data: URI, or None, and then `reason` says why."""

    image_id: int
    uri: str
    size: str
    caption: str | None
    thumbnail: str | None
    reason: str | None


def pictures(rows: Sequence[dict[str, Any]], workers: int | None = None) -> dict[int, Picture]:
    """By image_id the pictures of `rows` (the columns of sql/statements/report_images.sql)."""
    made: dict[int, tuple[str | None, str | None]] = {}
    wanted = [{key: row[key] for key in ("image_id", "uri", "byte_offset", "byte_length")} for row in rows]
    tasks = [
        engine.Task(f"thumbnails-{start}", wanted[start : start + TASK_IMAGES])
        for start in range(0, len(wanted), TASK_IMAGES)
    ]
    with Progress(len(wanted), "report", "thumbnails") as bar:
        try:
            for task, found in engine.run(_thumbnails, tasks, workers):
                made.update(found)
                bar.advance(len(task.items))
        except LensError as error:  # the pool is lost; the numbers are not
            lost = (None, str(error))
            made = {row["image_id"]: made.get(row["image_id"], lost) for row in wanted}
    return {row["image_id"]: _picture(row, *made[row["image_id"]]) for row in rows}


def _picture(row: dict[str, Any], thumbnail: str | None, reason: str | None) -> Picture:
    size = f"{row['width']}×{row['height']}" if row["width"] and row["height"] else "unknown size"
    return Picture(row["image_id"], row["uri"], size, row["caption"], thumbnail, reason)


def _thumbnails(task: engine.Task, watch: engine.Watch) -> dict[int, tuple[str | None, str | None]]:
    """Worker: image_id -> (data: URI, None) or (None, reason)."""
    return dict(_each(task, watch))


def _each(task: engine.Task, watch: engine.Watch) -> Iterator[tuple[int, tuple[str | None, str | None]]]:
    for index, item in enumerate(task.items):
        if index in task.poison:
            yield item["image_id"], (None, ": ".join(task.poison[index]))
            continue
        with watch.item(index):
            found = thumbnail(item["uri"], item["byte_offset"], item["byte_length"])
        yield item["image_id"], found


def thumbnail(uri: str, offset: int, length: int) -> tuple[str | None, str | None]:
    """(data: URI of a JPEG with sides up to SIDE pixels, None), or (None, why there is none)."""
    try:
        data = locate.read(uri, offset, length)
    except LensError as error:
        return None, str(error)
    decoded = pixels.decode(data, side=SIDE)
    if decoded.rgb is None:
        return None, f"{decoded.status}: {decoded.reason}"
    height, width = decoded.rgb.shape[:2]
    scale = min(SIDE / max(height, width), 1)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = cv2.resize(decoded.rgb, size, interpolation=cv2.INTER_AREA)
    done, jpeg = cv2.imencode(
        ".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    )
    if not done:
        return None, "no thumbnail could be made of it"
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode("ascii"), None
