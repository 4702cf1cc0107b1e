"""Build the shards of a manifest: whole tars or nothing, resumable, byte-identical."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from catalog import Catalog, manifest
from catalog.manifest import Manifest
from catalog.notices import Progress
from lensdata import engine
from lensdata.shards import again, folder
from lensdata.shards.finish import DROPPED, finish, record
from lensdata.shards.layout import Layout, layout
from lensdata.shards.writer import write_shard

FEW = 4  # workers up to which threads serve: more would wait for Python's lock, which each sample takes for some 40 us
SHARD_SAMPLES = 1_000
SHARD_BYTES = 256 * 2**20


FEW_DROPPED, FEW_SHARE = 3, 0.001  # samples, and share of the selection: a build that drops more is not done


@dataclass(frozen=True)
class Built:
    """What `build` left in `out`: the manifest, samples and bytes written, samples dropped and how many for which
    reason. `reused`: it was there already."""

    manifest: Manifest
    samples: int
    shards: int
    bytes: int
    dropped: int
    reused: bool = False
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether it dropped at most a few samples: 3, or one in a thousand of those selected."""
        return self.dropped <= max(FEW_DROPPED, FEW_SHARE * (self.samples + self.dropped))

    @property
    def lacks(self) -> str:
        """One line on what was dropped, why, and what to do; "" if nothing was."""
        if not self.dropped:
            return ""
        why = ", ".join(f"{count}: {reason}" for reason, count in self.reasons.items())
        hint = "the same command tries them again"
        if not self.complete:
            hint = f"bring the files back, or `lensdata ingest` where they are now; then {hint}"
        return (
            f"{self.dropped} of {self.samples + self.dropped} selected images could not be read and were left out "
            f"({why}); {hint} (each is listed in {self.manifest.root / DROPPED})"
        )


def settings(chosen: Manifest, virtual: bool, shard_samples: int, shard_bytes: int) -> dict[str, Any]:
    """What a folder is built with, as it is recorded there."""
    wanted: dict[str, Any] = {"fingerprint": chosen.fingerprint, "virtual": virtual}
    return wanted if virtual else wanted | {"shard_samples": shard_samples, "shard_bytes": shard_bytes}


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
    A sample whose bytes are gone or have changed is read from another file with the same bytes, if the catalog knows
    one; else it is left out and listed with its reason in `dropped.jsonl`, and the fingerprint is another. The same
    call tries it again. With `virtual` only the manifest is written, over the original files. Whether bytes have
    changed is told by their file's size and time (see catalog.bytes.identity), or with `verify_bytes` by hashing all
    of them.

    Memory does not grow with the number of samples. Raises BadInput if `out` holds something else.
    """
    wanted = settings(chosen, virtual, shard_samples, shard_bytes)

    def plan() -> Layout:
        return layout(chosen.batches(), shard_samples, shard_bytes)

    with catalog.job("build-shards"), folder.claim(out):
        finished = folder.prepare(out, wanted, chosen.name)
        if finished is not None:
            lacking = finished.info.get("dropped") and not finished.info.get("removed")
            if not lacking or not again.reopen(catalog, finished, plan, wanted, verify_bytes):
                return built(finished, reused=True)
        if virtual:
            manifest.write(out, {**chosen.info, "build": wanted}, chosen.batches())
            folder.clear(out)
            made = manifest.load(out)
            record(catalog, made)
            return built(made)
        _write_shards(catalog, out, plan, chosen.info["samples"], workers, on, verify_bytes)
        return built(finish(catalog, out, chosen, plan(), wanted))


def _write_shards(
    catalog: Catalog, out: Path, plan: Callable[[], Layout], total: int, workers: int | None, on: engine.On,
    verify_bytes: bool,
) -> None:  # fmt: skip
    """Write those that are not there yet, or lack samples."""
    given = {"out": out, "verify_bytes": verify_bytes}

    def tasks() -> Iterator[engine.Task]:
        for name, rows in plan():
            if folder.is_done(out, name) and not folder.noted(out, name).errors:
                bar.advance(len(rows))
            else:
                yield engine.Task(name, list(rows.iter_rows(named=True)), given)

    few = (workers or os.cpu_count() or 1) <= FEW
    where = engine.THREADS if on == "local" and few else on  # nothing is decoded: bytes move
    with Progress(total, "build-shards", "samples") as bar:
        for task, _ in engine.run(write_shard, tasks(), workers, on=where):
            bar.advance(len(task.items))
        others = again.elsewhere(catalog, out, plan(), given)
        for first in others:  # else no worker has to be had for it
            for _ in engine.run(write_shard, chain([first], others), workers, on=where):
                pass


def built(found: Manifest, reused: bool = False) -> Built:
    """What the finished folder of `found` holds."""
    info = found.info
    size = sum(shard["bytes"] for shard in info["shards"])
    dropped, reasons = info.get("dropped", 0), info.get("dropped_for", {})
    return Built(found, info["samples"], len(info["shards"]), size, dropped, reused, reasons)
