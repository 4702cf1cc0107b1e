"""Writing a manifest: its two files, what they say of buckets, sources and samples, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from catalog.buckets import BUCKETS, BY_NAME
from catalog.errors import BadInput
from catalog.manifest import rows as tables
from catalog.store import parts

FORMAT = "lens-manifest/1"
SAMPLES = "samples.parquet"
# Of samples.parquet, besides the metrics of whoever made it, which stand before file_size.
COLUMNS = (
    "image_id", "bucket", "shard", "uri", "offset", "length", "sha256", "format", "width", "height", "source",
    "caption", "caption_style", "brief", "file_size", "file_mtime_ns",
)  # fmt: skip
MIXED = "lens-manifest/2"  # has weights, which a reader of the first format would leave out in silence


def write(folder: Path, info: dict[str, Any], samples: pl.DataFrame | Iterable[pl.DataFrame]) -> None:
    """Write a manifest's two files; manifest.json comes last, so that what can be loaded is complete.

    `samples` is the table, or its rows in order, frame by frame. Raises BadInput if `folder` holds another manifest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _refuse_another(folder, info)
    frames = [samples] if isinstance(samples, pl.DataFrame) else samples
    write_info(folder, info | write_samples(folder, frames, info.get("samples_file", SAMPLES)))


def write_samples(folder: Path, frames: Iterable[pl.DataFrame], name: str = SAMPLES) -> dict[str, str]:
    """Write the table, and return what manifest.json says of it. Its name is on the disk, and the names of all that
    was renamed in `folder` before it."""
    tables.write(folder / name, frames)
    return listed(folder / name)


def adopt(folder: Path, info: dict[str, Any], table: Path) -> None:
    """Make a manifest's folder of a `table` that is on the same disk already, and durable. Its name is the one that
    `info` gives it, if any, else samples.parquet. Raises BadInput if `folder` holds another manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    _refuse_another(folder, info)
    name = info.get("samples_file", SAMPLES)
    table.rename(folder / name)
    parts.fsync(folder)
    write_info(folder, info | listed(folder / name))


def listed(path: Path) -> dict[str, str]:
    """What manifest.json says of the table at `path`."""
    with path.open("rb") as file:
        return {
            "samples_file": path.name,
            "samples_sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }


def write_info(folder: Path, info: dict[str, Any], replaces: str | None = None) -> None:
    """Write manifest.json, over a table that is there. Raises BadInput if `folder` holds another manifest, unless it is
    the one with the fingerprint `replaces`, which a takedown has to end."""
    _refuse_another(folder, info, replaces)
    text = json.dumps(info, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    parts.write_bytes(folder / "manifest.json", text.encode())


def _refuse_another(folder: Path, info: dict[str, Any], replaces: str | None = None) -> None:
    """A manifest that was written once never changes."""
    try:
        held = json.loads((folder / "manifest.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return
    same = isinstance(held, dict) and all(held.get(key) == info.get(key) for key in ("name", "fingerprint"))
    if not same and (not isinstance(held, dict) or held.get("fingerprint") != replaces):
        name = held.get("name") if isinstance(held, dict) else None
        raise BadInput(f"{folder} holds the manifest {name}, and manifests never change; take another folder")


def bucket_counts(samples: pl.DataFrame) -> list[dict[str, Any]]:
    """Per bucket in use: name, base, aspect, width, height and number of samples."""
    return bucket_rows(dict(samples.group_by("bucket").len().iter_rows()))


def bucket_rows(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """As `bucket_counts`, of the number of samples by bucket name."""
    return [
        {
            "name": b.name,
            "base": b.base,
            "aspect": b.aspect,
            "width": b.width,
            "height": b.height,
            "samples": counts[b.name],
        }
        for b in BUCKETS
        if counts.get(b.name)
    ]


def source_counts(samples: pl.DataFrame) -> dict[str, int]:
    """Samples per kind of source; {} for shards of an earlier Lens, whose list does not say."""
    if "source" not in samples.columns:
        return {}
    return dict(samples.group_by("source").len().sort("source").iter_rows())


def sample_meta(row: dict[str, Any]) -> dict[str, Any]:
    """What a shard's KEY.json says of a sample: a pure function of its manifest row, so that tars are reproducible."""
    return {
        "image_id": row["image_id"],
        "sha256": row["sha256"],
        "source": row["source"],
        "width": row["width"],
        "height": row["height"],
        "bucket": [BY_NAME[row["bucket"]].width, BY_NAME[row["bucket"]].height],
        "caption_style": row["caption_style"],
        "brief": row["brief"]
        or "",  # never null: readers that infer a schema from the first samples take it for good
        "scores": {name: value for name, value in row.items() if name not in COLUMNS},
    }


def fingerprint_of(samples: pl.DataFrame | Iterable[pl.DataFrame], mixture: Mapping[str, float]) -> str:
    """sha256 of identity, bucket and captions in order, and of the weights if there are any (then of sources, too);
    not of where the bytes lie, nor of their scores."""
    digest = hashlib.sha256()
    encode = json.JSONEncoder(ensure_ascii=False).encode
    names = ["image_id", "sha256", "bucket", "caption", "brief"]
    if mixture:
        digest.update(json.dumps(mixture, sort_keys=True).encode() + b"\n")
        names.append("source")
    frames = samples.iter_slices(tables.ROWS) if isinstance(samples, pl.DataFrame) else samples
    for n, rows in enumerate(frames):
        lines = "\n".join(encode(row) for row in rows.select(names).iter_rows())
        digest.update(("\n" * (n > 0) + lines).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
