"""The end of a build: what every shard holds becomes the list of samples, the manifest, and rows of the catalog."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import polars as pl

from catalog import Catalog, manifest, mixture
from catalog.errors import LensError
from catalog.manifest import Manifest
from catalog.manifest import rows as tables
from catalog.store import parts
from catalog.store.database import Statement
from lensdata.shards import folder
from lensdata.shards.layout import Layout, extension

DROPPED = "dropped.jsonl"
REASONS = 20  # that are counted each by itself
SHORTER = "its file is shorter than it was"
COLUMNS = ["image_id", "sha256", "bucket", "shard", "offset", "length", "ext", "source", "caption", "brief"]


def finish(catalog: Catalog, out: Path, chosen: Manifest, plan: Layout, wanted: dict[str, Any]) -> Manifest:
    """Write samples.parquet and manifest.json over the finished shards of `plan`, then remove the scaffolding.

    The catalog learns of the shards before manifest.json appears, so a finished folder is always on record; and
    before that the names of all shards are on the disk, with that of samples.parquet. Raises LensError if no sample
    could be read.

    The fingerprint is of what is in the shards: the selection's, unless samples were dropped.
    """
    gathered = _Gathered(out)
    with parts.atomic(out / DROPPED) as dropped:
        listed = manifest.write_samples(out, gathered.rows(plan, dropped))
    samples = gathered.buckets.total()
    if not gathered.lost:
        (out / DROPPED).unlink()
    if not samples:
        for shard in gathered.shards:  # so that the same command tries again
            (out / shard["name"]).unlink()
        (out / listed["samples_file"]).unlink()
        raise LensError(
            f"none of the {gathered.lost} selected images could be read ({gathered.first}); "
            "are the files still there?"
        )
    sources = dict.fromkeys(chosen.info.get("sources", {}), 0) | dict(sorted(gathered.sources.items()))
    info = {
        **chosen.info,
        **listed,
        "virtual": False,
        "samples": samples,
        "dropped": gathered.lost,
        "buckets": manifest.bucket_rows(gathered.buckets),
        "sources": sources,
        "shards": gathered.shards,
        "build": wanted,
    }
    if gathered.lost:
        weights = mixture.in_force(chosen.mixture, gathered.sources)
        info.pop("mixture", None)
        info |= {"mixture": weights} if weights else {}
        table = tables.batches(out / listed["samples_file"])
        info["fingerprint"] = manifest.fingerprint_of(table, weights)
        info["dropped_for"] = dict(gathered.reasons.most_common())
    _record_shards(catalog, chosen.name, gathered.shards)
    record(catalog, Manifest(str(out), info))
    manifest.write_info(out, info)
    folder.clear(out)
    return manifest.load(out)


def record(catalog: Catalog, made: Manifest) -> None:
    """Let the catalog know that the folder of `made` is built from one of its manifests."""
    row = {
        "manifest": made.name, "fingerprint": made.fingerprint, "folder": made.where,
        "samples": made.info["samples"], "dropped": made.info.get("dropped", 0), "virtual": made.virtual,
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:24]
    catalog.commit("build-shards", f"build-{digest}", 1, [Statement("manifest/build_add", row)])


class _Gathered:
    """What the indexes of the shards add up to, once `rows` has been read to its end."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.shards: list[dict[str, Any]] = []
        self.sources: Counter[str] = Counter()
        self.buckets: Counter[str] = Counter()
        self.lost, self.first = 0, ""
        self.reasons: Counter[str] = Counter()  # of those lost, without the files' names

    def rows(self, plan: Layout, dropped: IO[bytes]) -> Iterator[pl.DataFrame]:
        """The rows of samples.parquet, shard by shard; those left out go to `dropped`, with their reasons."""
        for name, rows in plan:
            index = folder.noted(self.out, name)
            bucket, ext = rows["bucket"][0], extension(rows["format"][0])
            placed = rows.with_columns(
                shard=pl.lit(name), offset=pl.Series(index.offsets, dtype=pl.Int64),
                length=pl.Series(index.lengths, dtype=pl.Int64), ext=pl.lit(ext),
            )  # fmt: skip
            good = placed
            if index.errors:
                wrong = pl.Series([at in index.errors for at in range(len(rows))])
                good = placed.filter(~wrong)
                reasons = pl.Series("reason", [index.errors[at] for at in sorted(index.errors)])
                bad = rows.filter(wrong).select("image_id", "uri", reasons)
                bad.select("image_id", "reason").write_ndjson(dropped)
                self.lost, self.first = self.lost + len(bad), self.first or reasons[0]
                self._count(bad)
            self.sources.update(manifest.source_counts(good))
            self.buckets[bucket] += len(good)
            note = {"bytes": index.bytes, "sha256": index.sha256}
            self.shards.append({"name": name, "bucket": bucket, "samples": len(good), **note})
            yield good.select(COLUMNS)

    def _count(self, bad: pl.DataFrame) -> None:
        for uri, reason in bad.select("uri", "reason").iter_rows():
            kind = reason.replace(uri, "its file").replace(uri.removeprefix("file://"), "its file")
            kind = SHORTER if re.search(r"\b\d+ (of the \d+ )?bytes\b", kind) else kind
            known = kind in self.reasons or len(self.reasons) < REASONS
            self.reasons[kind if known else "other reasons"] += 1


def _record_shards(catalog: Catalog, name: str, shards: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame(shards).rename({"name": "shard"})
    digest = hashlib.sha256(json.dumps([name, shards], sort_keys=True).encode()).hexdigest()[:24]
    part = parts.write(catalog.root, "build-shards", f"shards-{digest}", frame)
    catalog.commit_part("build-shards", part, ["manifest/shards_add"], manifest=name, build=digest[:12])
