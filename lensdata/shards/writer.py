"""A worker's part of a build: one shard, whole under its name, and before it what stands where in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from catalog import manifest
from catalog.bytes import locate, tar
from catalog.bytes.identity import same_bytes
from catalog.errors import LensError
from catalog.extras import Missing
from catalog.store import parts
from lensdata import engine
from lensdata.shards import folder
from lensdata.shards.blocks import ROOM, BlockFile
from lensdata.shards.layout import extension

Row = dict[str, Any]
META = json.JSONEncoder(sort_keys=True, ensure_ascii=False)


def write_shard(task: engine.Task, watch: engine.Watch) -> None:
    """Worker: the shard `task.part_id` of the manifest's rows `task.items`. When this returns it is on the disk."""
    out: Path = task.settings["out"]
    copies_of = task.settings.get("copies", {})  # sha256 -> where else the bytes are
    offsets, lengths, errors = [], [], {}
    with parts.appearing(out / task.part_id) as temporary, BlockFile(temporary) as file:
        for index, row in enumerate(task.items):
            offsets.append(file.size)
            error = ": ".join(task.poison.get(index, ()))
            if not error:
                with watch.item(index):
                    copies = copies_of.get(row["sha256"], ())
                    error = _add_sample(file, row, copies, task.settings["verify_bytes"], watch)
            if error:
                errors[index] = error
            lengths.append(file.size - offsets[-1])
        file.write(tar.end(file.size))
        size, sha256 = file.size, file.finish()
        watch.rest()
        file.sync()
        folder.note(out, task.part_id, folder.Index(size, sha256, offsets, lengths, errors))


def _add_sample(
    file: BlockFile, row: Row, copies: Sequence[Row], verify_bytes: bool, watch: engine.Watch
) -> str:
    """Append one sample's members, or say why not.

    The image is read to where it belongs in the file's block; nothing counts before it is known to be the right one.
    """
    length = row["length"]
    key = f"{row['image_id']:012d}"
    head = tar.header(f"{key}.{extension(row['format'])}", length)
    tail = b"".join(
        (
            tar.ZEROS[: -length % tar.BLOCK],
            tar.member(f"{key}.txt", row["caption"].encode()),
            tar.member(f"{key}.json", META.encode(manifest.sample_meta(row)).encode()),
        )
    )
    start, end = len(head), len(head) + length
    whole = end + len(tail)
    place = file.room(whole) if whole <= ROOM else memoryview(bytearray(whole))
    if error := read_sample(row, copies, place[start:end], verify_bytes, watch.reading):
        return error
    place[:start], place[end:] = head, tail
    if whole <= ROOM:
        file.take(whole)
    else:
        file.write(place)
    return ""


def read_sample(
    row: Row,
    copies: Sequence[Row],
    image: memoryview,
    verify_bytes: bool,
    reading: locate.Reading = nullcontext,
) -> str:
    """Read a sample's bytes to `image` from where its row says, else from one of `copies` (uri, offset, file_size and
    file_mtime_ns of each); why that cannot be done, or ""."""
    reason = ""
    for place in (row, *copies):
        uri = place["uri"]
        try:
            with reading():
                state = locate.read_into(uri, place["offset"], image)
        except Missing:  # of the whole installation, no fault of the image
            raise
        except (LensError, OSError) as error:
            reason = reason or str(error)
            continue
        facts = place.get("file_size"), place.get("file_mtime_ns")  # an earlier Lens's manifest lacks them
        if same_bytes(image, uri, row["sha256"], *facts, verify_bytes, state):
            return ""
        reason = reason or f"{uri} has changed since it was ingested"
    return reason
