"""Build the shards of a manifest: whole tars or nothing, resumable, byte-identical."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from catalog import Catalog, manifest
from catalog.errors import BadInput, LensError
from catalog.manifest import Manifest
from catalog.notices import Progress
from catalog.store import parts
from lensdata import engine
from lensdata.shards.writer import INDEX, extension, write_shard

SHARD_SAMPLES = 1_000
SHARD_BYTES = 256 * 2**20
Plan = Iterator[tuple[str, pl.DataFrame]]  # shards in order: name, rows of the manifest
DROPPED = "dropped.jsonl"
UNDER_WAY = "build.json"  # which manifest the folder is being filled from
COLUMNS = ["image_id", "sha256", "bucket", "shard", "offset", "length", "ext", "source", "caption", "brief"]


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
    on: engine.On = "local",
    verify_bytes: bool = False,
) -> Built:
    """Write the samples of the manifest `chosen` to the folder `out`.

    Each shard holds one bucket and format, at most `shard_samples` samples and about `shard_bytes` bytes of images.
    A shard appears under its name when it is whole and on the disk, so a killed build goes on where it stopped.
    A sample whose bytes are gone or have changed is left out and listed with its reason in `dropped.jsonl`. With
    `virtual` only the manifest is written, over the original files. Whether bytes have changed is told by their
    file's size and time (see lensdata.identity), or with `verify_bytes` by hashing all of them.

    Memory does not grow with the number of samples. Raises BadInput if `out` holds something else.
    """
    wanted = {"fingerprint": chosen.fingerprint, "virtual": virtual}
    if not virtual:
        wanted |= {"shard_samples": shard_samples, "shard_bytes": shard_bytes}
    with catalog.job("build-shards"), _claim(out):
        finished = _prepare(out, wanted, chosen.name)
        if finished is not None:
            return built(finished, reused=True)
        if virtual:
            manifest.write(out, {**chosen.info, "build": wanted}, chosen.batches())
            _clear(out)
            return built(manifest.load(out))

        def plan() -> Plan:
            return _plan(chosen.batches(), shard_samples, shard_bytes)

        _write_shards(out, plan(), chosen.info["samples"], workers, on, verify_bytes)
        return built(_finish(catalog, out, chosen, plan, wanted))


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


def _prepare(out: Path, wanted: dict[str, Any], name: str) -> Manifest | None:
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
        if {**under_way(out), "manifest": name} != {**wanted, "manifest": name}:
            raise BadInput(
                f"{out} holds the unfinished shards of another selection; finish them as they were begun with "
                "--resume, or delete it, or name another folder"
            )
        _sweep(out)
    elif any(not path.name.endswith(parts.TEMPORARY) for path in out.iterdir()):
        raise BadInput(f"{out} is not empty and holds no shards of ours; name a new folder with --out")
    else:
        parts.write_bytes(mark, json.dumps({**wanted, "manifest": name}).encode())
    return None


def under_way(out: Path) -> dict[str, Any]:
    """What `out` is being filled with; {} if nothing. Raises BadInput for a note that is none of ours."""
    try:
        found = json.loads((out / UNDER_WAY).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        found = None
    if not isinstance(found, dict) or "fingerprint" not in found:
        raise BadInput(f"{out / UNDER_WAY} is damaged; delete {out} and build again")
    return found


def _plan(samples: Iterable[pl.DataFrame], most: int, most_bytes: int) -> Plan:
    """(shard name, its rows) in order: a shard is closed when the next sample would overfill it.

    A shard holds one format besides one bucket, since readers such as `datasets` take the members of its first
    samples for those of all. `samples` come in order of bucket and format.
    """
    kept: list[pl.DataFrame] = []  # of the shard that is being filled
    filling: tuple[Any, ...] = ()
    number = count = size = 0
    for frame in samples:
        for kind, rows in frame.group_by("bucket", "format", maintain_order=True):
            if kept and kind != filling:
                yield _shard_name(filling, number), pl.concat(kept)
                kept, number, count, size = [], 0, 0, 0
            filling, start = kind, 0
            for at, length in enumerate(rows["length"].to_list()):
                if count and (count == most or size + length > most_bytes):
                    yield _shard_name(filling, number), pl.concat([*kept, rows[start:at]])
                    kept, number, count, size, start = [], number + 1, 0, 0, at
                count, size = count + 1, size + length
            kept.append(rows[start:])
    if kept:
        yield _shard_name(filling, number), pl.concat(kept)


def _shard_name(kind: tuple[Any, ...], number: int) -> str:
    bucket, form = kind
    return f"{bucket}-{extension(form)}-{number:06d}.tar"


def _write_shards(
    out: Path, plan: Plan, total: int, workers: int | None, on: engine.On, verify_bytes: bool
) -> None:
    (out / INDEX).mkdir(exist_ok=True)
    settings = {"out": out, "verify_bytes": verify_bytes}

    def tasks() -> Iterator[engine.Task]:
        for name, rows in plan:
            if (out / name).is_file():  # renamed into place after its index, so both are whole
                bar.advance(len(rows))
            else:
                yield engine.Task(name, list(rows.iter_rows(named=True)), settings)

    with Progress(total, "build-shards", "samples") as bar:
        for task, _ in engine.run(write_shard, tasks(), workers, on=on):
            bar.advance(len(task.items))


def _finish(
    catalog: Catalog, out: Path, chosen: Manifest, plan: Callable[[], Plan], wanted: dict[str, Any]
) -> Manifest:
    """Gather the indexes into samples.parquet and manifest.json, then remove the scaffolding.

    The catalog learns of the shards before manifest.json appears, so a finished folder is always on record.
    """
    shards: list[dict[str, Any]] = []
    sources: Counter[str] = Counter()
    lost, reason = 0, ""
    with parts.atomic(out / DROPPED) as dropped:
        for name, rows in plan():
            index = pl.read_parquet(out / INDEX / f"{name}.parquet")
            note = json.loads((out / INDEX / f"{name}.json").read_text())
            failed = index.filter(pl.col("error").is_not_null()).select("image_id", reason="error")
            if len(failed):
                failed.write_ndjson(dropped)
                lost, reason = lost + len(failed), reason or failed["reason"][0]
            good = rows.join(failed, on="image_id", how="anti")
            sources.update(manifest.source_counts(good))
            shards.append({"name": name, "bucket": rows["bucket"][0], "samples": len(good), **note})
    if not lost:
        (out / DROPPED).unlink()
    samples = sum(shard["samples"] for shard in shards)
    if not samples:
        for shard in shards:  # so that the same command tries again
            (out / shard["name"]).unlink()
        raise LensError(
            f"none of the {lost} selected images could be read ({reason}); are the files still there?"
        )
    buckets: Counter[str] = Counter()
    for shard in shards:
        buckets[shard["bucket"]] += shard["samples"]
    info = {
        **chosen.info,
        "virtual": False,
        "samples": samples,
        "dropped": lost,
        "buckets": manifest.bucket_rows(buckets),
        "sources": dict.fromkeys(chosen.info.get("sources", {}), 0) | dict(sorted(sources.items())),
        "shards": shards,
        "build": wanted,
    }
    _record(catalog, chosen.name, shards)
    manifest.write(out, info, _places(out, plan()))
    _clear(out)
    return manifest.load(out)


def _places(out: Path, plan: Plan) -> Iterator[pl.DataFrame]:
    """The rows of samples.parquet, shard by shard."""
    for name, rows in plan:
        index = pl.read_parquet(out / INDEX / f"{name}.parquet").filter(pl.col("error").is_null())
        good = index.with_columns(shard=pl.lit(name), bucket=pl.lit(rows["bucket"][0]))
        texts = rows.select("image_id", "sha256", "source", "caption", "brief")
        yield good.join(texts, on="image_id", how="left", maintain_order="left").select(COLUMNS)


def _record(catalog: Catalog, name: str, shards: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame(shards).rename({"name": "shard"})
    digest = hashlib.sha256(json.dumps([name, shards], sort_keys=True).encode()).hexdigest()[:24]
    part = parts.write(catalog.root, "build-shards", f"shards-{digest}", frame)
    catalog.commit_part("build-shards", part, ["catalog/shards_add"], manifest=name, build=digest[:12])


def _clear(out: Path) -> None:
    """Remove the scaffolding of a finished build."""
    _sweep(out)
    shutil.rmtree(out / INDEX, ignore_errors=True)
    (out / UNDER_WAY).unlink(missing_ok=True)


def _sweep(out: Path) -> None:
    for leftover in out.rglob(f"*{parts.TEMPORARY}"):
        leftover.unlink()


def built(found: Manifest, reused: bool = False) -> Built:
    """What the finished folder of `found` holds."""
    size = sum(shard["bytes"] for shard in found.info["shards"])
    return Built(
        found, found.info["samples"], len(found.info["shards"]), size, found.info.get("dropped", 0), reused
    )
