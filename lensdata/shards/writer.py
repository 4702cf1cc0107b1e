"""A worker's part of a build: one shard, and the index that says where its samples stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from catalog import manifest
from catalog.bytes import locate
from catalog.bytes.identity import same_bytes
from catalog.bytes.tar import TarWriter
from catalog.errors import LensError
from catalog.extras import Missing
from catalog.store import parts
from lensdata import engine
from lensdata.shards.hashed import HashedFile

INDEX = ".index"
EXTENSIONS = {"jpeg": "jpg"}  # by format; the others keep their name
META = json.JSONEncoder(sort_keys=True, ensure_ascii=False)
INDEX_SCHEMA = {
    "image_id": pl.Int64,
    "offset": pl.Int64,
    "length": pl.Int64,
    "ext": pl.String,
    "error": pl.String,
}


def extension(form: str) -> str:
    """A format's file extension in shards."""
    return EXTENSIONS.get(form, form)


def write_shard(task: engine.Task, watch: engine.Watch) -> None:
    """Worker: the shard `task.part_id` of the rows `task.items`, whole under its name, and its index before it."""
    out: Path = task.settings["out"]
    rows = []
    with parts.atomic(out / task.part_id) as file:
        with HashedFile(file) as hashed:
            tar = TarWriter(hashed)
            for index, row in enumerate(task.items):
                entry: dict[str, Any] = {"image_id": row["image_id"], "offset": tar.offset}
                if index in task.poison:
                    entry["error"] = ": ".join(task.poison[index])
                else:
                    with watch.item(index):
                        entry |= _add_sample(tar, row, task.settings["verify_bytes"])
                rows.append(entry | {"length": tar.offset - entry["offset"]})
            size = tar.finish()
        frame = pl.DataFrame(rows, schema=INDEX_SCHEMA, orient="row")
        with parts.atomic(out / INDEX / f"{task.part_id}.parquet") as index_file:
            parts.write_frame(index_file, frame)
        note = {"bytes": size, "sha256": hashed.sha256()}
        parts.write_bytes(out / INDEX / f"{task.part_id}.json", json.dumps(note).encode())


def _add_sample(tar: TarWriter, row: dict[str, Any], verify_bytes: bool) -> dict[str, Any]:
    """Append one sample's members, or say why not."""
    try:
        image = locate.read(row["uri"], row["offset"], row["length"])
    except Missing:  # of the whole installation, no fault of the image
        raise
    except (LensError, OSError) as error:
        return {"error": str(error)}
    facts = row.get("file_size"), row.get("file_mtime_ns")  # a manifest of an earlier Lens does not hold them
    if not same_bytes(image, row["uri"], row["sha256"], *facts, hash_all=verify_bytes):
        return {"error": f"{row['uri']} has changed since it was ingested"}
    ext = extension(row["format"])
    key = f"{row['image_id']:012d}"
    tar.add(f"{key}.{ext}", image)
    tar.add(f"{key}.txt", row["caption"].encode())
    tar.add(f"{key}.json", META.encode(manifest.sample_meta(row)).encode())
    return {"ext": ext}
