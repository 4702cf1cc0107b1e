"""Build the shards of a manifest: whole tars or nothing, resumable, byte-identical."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import polars as pl

from catalog import locate, manifest, parts
from catalog.console import Progress
from catalog.errors import BadInput, LensError
from catalog.manifest import Manifest
from catalog.store import Catalog
from lensdata import engine
from lensdata.shards.tar import TarWriter

SHARD_SAMPLES = 1_000
SHARD_BYTES = 256 * 2**20
UNDER_WAY = "build.json"  # which manifest the folder is being filled from
INDEX = ".index"
EXTENSIONS = {"jpeg": "jpg"}  # by format; the others keep their name
INDEX_SCHEMA = {
    "image_id": pl.Int64,
    "offset": pl.Int64,
    "length": pl.Int64,
    "ext": pl.String,
    "error": pl.String,
}


@dataclass(frozen=True)
class Built:
    """What `build` left in `out`: the manifest, samples and bytes written, samples dropped with their reasons."""

    manifest: Manifest
    samples: int
    shards: int
    bytes: int
    dropped: int
    reused: bool = False


def build(
    catalog: Catalog,
    chosen: Manifest,
    out: Path,
    virtual: bool = False,
    shard_samples: int = SHARD_SAMPLES,
    shard_bytes: int = SHARD_BYTES,
    workers: int | None = None,
) -> Built:
    """Write the samples of the manifest `chosen` to the folder `out`.

    Each shard holds one bucket and format, at most `shard_samples` samples and about `shard_bytes` bytes of images.
    A shard appears under its name when it is whole and on the disk, so a killed build goes on where it stopped.
    A sample whose bytes are gone or have changed is left out and listed with its reason in `dropped.jsonl`. With
    `virtual` only the manifest is written, over the original files.

    Raises BadInput if `out` holds something else.
    """
    wanted = {"fingerprint": chosen.fingerprint, "virtual": virtual}
    if not virtual:
        wanted |= {"shard_samples": shard_samples, "shard_bytes": shard_bytes}
    with catalog.job("build-shards"), _claim(out):
        finished = _prepare(out, wanted)
        if finished is not None:
            return _built(finished, reused=True)
        if virtual:
            manifest.write(out, {**chosen.info, "build": wanted}, chosen.samples)
            _clear(out)
            return _built(manifest.load(out))
        plan = _plan(chosen.samples, shard_samples, shard_bytes)
        _write_shards(out, plan, len(chosen.samples), workers)
        return _built(_finish(catalog, out, chosen, plan, wanted))


@contextmanager
def _claim(out: Path) -> Iterator[None]:
    """Hold the folder `out` against other builds, of other catalogs too. Raises BadInput if one is under way."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise BadInput(f"{out} is a file; name a folder with --out") from None
    descriptor = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BadInput(
            f"{out} is being filled by another build; wait for it or name another folder"
        ) from None
    finally:
        os.close(descriptor)


def _prepare(out: Path, wanted: dict[str, Any]) -> Manifest | None:
    """Make `out` ours; the finished manifest if it holds exactly what is wanted already."""
    if (out / "manifest.json").is_file():
        found = manifest.load(out)
        if found.info.get("build") == wanted:
            _clear(out)
            return found
        raise BadInput(
            f"{out} holds another selection's shards ({found.name}); name another folder with --out"
        )
    mark = out / UNDER_WAY
    if mark.is_file():
        if json.loads(mark.read_text()) != wanted:
            raise BadInput(
                f"{out} holds the unfinished shards of another selection; delete it or name another folder"
            )
        _sweep(out)
    elif any(not path.name.endswith(parts.TEMPORARY) for path in out.iterdir()):
        raise BadInput(f"{out} is not empty and holds no shards of ours; name a new folder with --out")
    else:
        parts.write_bytes(mark, json.dumps(wanted).encode())
    return None


def _plan(samples: pl.DataFrame, most: int, most_bytes: int) -> list[tuple[str, pl.DataFrame]]:
    """(shard name, its rows) in order: a shard is closed when the next sample would overfill it.

    A shard holds one format besides one bucket, since readers such as `datasets` take the members of its first
    samples for those of all.
    """
    found = []
    for (bucket, form), rows in samples.group_by("bucket", "format", maintain_order=True):
        stem = f"{bucket}-{EXTENSIONS.get(form, form)}"
        start, size, number = 0, 0, 0
        lengths = rows["length"].to_list()
        for at, length in enumerate(lengths):
            if at > start and (at - start == most or size + length > most_bytes):
                found.append((f"{stem}-{number:06d}.tar", rows[start:at]))
                start, size, number = at, 0, number + 1
            size += length
        found.append((f"{stem}-{number:06d}.tar", rows[start:]))
    return found


def _write_shards(out: Path, plan: list[tuple[str, pl.DataFrame]], total: int, workers: int | None) -> None:
    (out / INDEX).mkdir(exist_ok=True)

    def tasks() -> Iterator[engine.Task]:
        for name, rows in plan:
            if (out / name).is_file():  # renamed into place after its index, so both are whole
                bar.advance(len(rows))
            else:
                yield engine.Task(name, list(rows.iter_rows(named=True)), {"out": out})

    with Progress(total, "build-shards", "samples") as bar:
        for task, _ in engine.run(_write_shard, tasks(), workers):
            bar.advance(len(task.items))


def _write_shard(task: engine.Task, watch: engine.Watch) -> None:
    """Worker: one shard and its index."""
    out: Path = task.settings["out"]
    rows = []
    with parts.atomic(out / task.part_id) as file:
        hashing = _Hashing(file)
        tar = TarWriter(hashing)  # type: ignore[arg-type]
        for index, row in enumerate(task.items):
            entry: dict[str, Any] = {"image_id": row["image_id"], "offset": tar.offset}
            if index in task.poison:
                entry["error"] = ": ".join(task.poison[index])
            else:
                with watch.item(index):
                    entry |= _add_sample(tar, row)
            rows.append(entry | {"length": tar.offset - entry["offset"]})
        size = tar.finish()
        frame = pl.DataFrame(rows, schema=INDEX_SCHEMA, orient="row")
        with parts.atomic(out / INDEX / f"{task.part_id}.parquet") as index_file:
            frame.write_parquet(index_file)
        note = {"bytes": size, "sha256": hashing.digest.hexdigest()}
        parts.write_bytes(out / INDEX / f"{task.part_id}.json", json.dumps(note).encode())


class _Hashing:
    """A file that hashes what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


def _add_sample(tar: TarWriter, row: dict[str, Any]) -> dict[str, Any]:
    """Append one sample's members, or say why not."""
    try:
        image = locate.read(row["uri"], row["offset"], row["length"])
    except (LensError, OSError) as error:
        return {"error": str(error)}
    if hashlib.sha256(image).hexdigest() != row["sha256"]:
        return {"error": f"{row['uri']} has changed since it was ingested"}
    ext = EXTENSIONS.get(row["format"], row["format"])
    key = f"{row['image_id']:012d}"
    tar.add(f"{key}.{ext}", image)
    tar.add(f"{key}.txt", row["caption"].encode())
    tar.add(f"{key}.json", json.dumps(manifest.sample_meta(row), sort_keys=True, ensure_ascii=False).encode())
    return {"ext": ext}


def _finish(
    catalog: Catalog,
    out: Path,
    chosen: Manifest,
    plan: list[tuple[str, pl.DataFrame]],
    wanted: dict[str, Any],
) -> Manifest:
    """Gather the indexes into samples.parquet and manifest.json, then remove the scaffolding.

    The catalog learns of the shards before manifest.json appears, so a finished folder is always on record.
    """
    shards, kept, dropped = [], [], []
    for name, rows in plan:
        index = pl.read_parquet(out / INDEX / f"{name}.parquet")
        note = json.loads((out / INDEX / f"{name}.json").read_text())
        good = index.filter(pl.col("error").is_null()).with_columns(
            shard=pl.lit(name), bucket=pl.lit(rows["bucket"][0])
        )
        shards.append({"name": name, "bucket": rows["bucket"][0], "samples": len(good), **note})
        texts = rows.select("image_id", "sha256", "caption", "brief")
        columns = ["image_id", "sha256", "bucket", "shard", "offset", "length", "ext", "caption", "brief"]
        kept.append(good.join(texts, on="image_id", how="left", maintain_order="left").select(columns))
        dropped.append(index.filter(pl.col("error").is_not_null()).select("image_id", reason="error"))
    samples, lost = pl.concat(kept), pl.concat(dropped)
    if samples.is_empty():
        raise LensError(
            f"none of the {len(lost)} selected images could be read ({lost['reason'][0]}); are the files still there?"
        )
    if len(lost):
        with parts.atomic(out / "dropped.jsonl") as file:
            lost.write_ndjson(file)
    info = {
        **chosen.info,
        "virtual": False,
        "samples": len(samples),
        "dropped": len(lost),
        "buckets": manifest.bucket_counts(samples),
        "shards": shards,
        "build": wanted,
    }
    _record(catalog, chosen.name, shards)
    manifest.write(out, info, samples)
    _clear(out)
    return manifest.load(out)


def _record(catalog: Catalog, name: str, shards: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame(shards).rename({"name": "shard"})
    digest = hashlib.sha256(json.dumps([name, shards], sort_keys=True).encode()).hexdigest()[:24]
    part = parts.write(catalog.root, "build-shards", f"shards-{digest}", frame)
    catalog.commit_part("build-shards", part, ["shards_add"], manifest=name, build=digest[:12])


def _clear(out: Path) -> None:
    """Remove the scaffolding of a finished build."""
    _sweep(out)
    shutil.rmtree(out / INDEX, ignore_errors=True)
    (out / UNDER_WAY).unlink(missing_ok=True)


def _sweep(out: Path) -> None:
    for leftover in out.rglob(f"*{parts.TEMPORARY}"):
        leftover.unlink()


def _built(found: Manifest, reused: bool = False) -> Built:
    size = sum(shard["bytes"] for shard in found.info["shards"])
    return Built(
        found, found.info["samples"], len(found.info["shards"]), size, found.info.get("dropped", 0), reused
    )
