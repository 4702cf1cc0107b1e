"""Thumbnails as data: URIs. They are made in the engine's processes, so that an image that crashes or hangs
its decoder costs the report one placeholder."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from contextlib import nullcontext

from PIL import Image

from catalog import pixels
from catalog.bytes import locate
from catalog.errors import LensError
from catalog.extras import Missing
from catalog.notices import Progress, say
from lensdata import engine
from lensdata.report.facts import Row

SIDE = 128  # pixels, the longer side
QUALITY = 75  # of the JPEG: about 4 KB a thumbnail
TASK_IMAGES = 24
Made = dict[int, tuple[str | None, str | None]]  # image_id -> (data: URI, None) or (None, why there is none)


def pictures(rows: Sequence[Row], workers: int | None = None) -> dict[int, Row]:
    """By image_id the `rows` (the columns of sql/statements/report/images.sql), each with its `thumbnail`, a data:
    URI, or None, and then the `reason` says why."""
    tasks = [
        engine.Task(f"thumbnails-{start}", list(rows[start : start + TASK_IMAGES]))
        for start in range(0, len(rows), TASK_IMAGES)
    ]
    made: Made = {}
    lost: str | None = None
    if tasks:
        with Progress(len(rows), "report", "thumbnails") as bar:
            try:
                for task, some in engine.run(_thumbnails, tasks, workers):
                    made.update(some)
                    bar.advance(len(task.items))
            except LensError as error:  # the pool is lost; the numbers are not
                lost = str(error)
                say(f"report: thumbnails are missing: {error}")
    filled = ((row, *made.get(row["image_id"], (None, lost))) for row in rows)
    return {
        row["image_id"]: {**row, "thumbnail": thumbnail, "reason": reason}
        for row, thumbnail, reason in filled
    }


def _thumbnails(task: engine.Task, watch: engine.Watch) -> Made:
    """Worker: the thumbnails of a task's rows."""
    made: Made = {}
    for index, row in enumerate(task.items):
        if index in task.poison:
            made[row["image_id"]] = (None, ": ".join(task.poison[index]))
            continue
        with watch.item(index):
            made[row["image_id"]] = thumbnail(
                row["uri"], row["byte_offset"], row["byte_length"], watch.reading
            )
    return made


def thumbnail(
    uri: str, offset: int, length: int, reading: locate.Reading = nullcontext
) -> tuple[str | None, str | None]:
    """(data: URI of a JPEG with sides up to SIDE pixels, None), or (None, why there is none)."""
    try:
        with reading():
            data = locate.read(uri, offset, length)
    except Missing:  # of the whole installation, no fault of the image
        raise
    except LensError as error:
        return None, str(error)
    decoded = pixels.decode(data, side=SIDE)
    if decoded.rgb is None:
        return None, f"{decoded.status}: {decoded.reason}"
    image = Image.fromarray(decoded.rgb)
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii"), None
