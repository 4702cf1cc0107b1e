"""Build the shards of a manifest: whole tars or nothing, resumable, byte-identical."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from catalog import Catalog, manifest
from catalog.manifest import Manifest
from catalog.notices import Progress
from lensdata import engine
from lensdata.shards import folder
from lensdata.shards.finish import finish
from lensdata.shards.layout import Layout, layout
from lensdata.shards.writer import write_shard

FEW = 4  # workers up to which threads serve: more would wait for Python's lock, which each sample takes for some 40 us
SHARD_SAMPLES = 1_000
SHARD_BYTES = 256 * 2**20


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
    file's size and time (see catalog.bytes.identity), or with `verify_bytes` by hashing all of them.

    Memory does not grow with the number of samples. Raises BadInput if `out` holds something else.
    """
    wanted = {"fingerprint": chosen.fingerprint, "virtual": virtual}
    if not virtual:
        wanted |= {"shard_samples": shard_samples, "shard_bytes": shard_bytes}
    with catalog.job("build-shards"), folder.claim(out):
        finished = folder.prepare(out, wanted, chosen.name)
        if finished is not None:
            return built(finished, reused=True)
        if virtual:
            manifest.write(out, {**chosen.info, "build": wanted}, chosen.batches())
            folder.clear(out)
            return built(manifest.load(out))

        def plan() -> Layout:
            return layout(chosen.batches(), shard_samples, shard_bytes)

        _write_shards(out, plan(), chosen.info["samples"], workers, on, verify_bytes)
        return built(finish(catalog, out, chosen, plan(), wanted))


def _write_shards(
    out: Path, plan: Layout, total: int, workers: int | None, on: engine.On, verify_bytes: bool
) -> None:
    """Write those that are not there yet."""
    settings = {"out": out, "verify_bytes": verify_bytes}

    def tasks() -> Iterator[engine.Task]:
        for name, rows in plan:
            if folder.is_done(out, name):
                bar.advance(len(rows))
            else:
                yield engine.Task(name, list(rows.iter_rows(named=True)), settings)

    few = (workers or os.cpu_count() or 1) <= FEW
    where = engine.THREADS if on == "local" and few else on  # nothing is decoded: bytes move
    with Progress(total, "build-shards", "samples") as bar:
        for task, _ in engine.run(write_shard, tasks(), workers, on=where):
            bar.advance(len(task.items))


def built(found: Manifest, reused: bool = False) -> Built:
    """What the finished folder of `found` holds."""
    size = sum(shard["bytes"] for shard in found.info["shards"])
    return Built(
        found, found.info["samples"], len(found.info["shards"]), size, found.info.get("dropped", 0), reused
    )
