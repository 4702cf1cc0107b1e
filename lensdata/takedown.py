"""Takedown: an image leaves the catalog and every shard that held it; no other shard is rewritten."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from catalog import Catalog, manifest
from catalog import mixture as mixtures
from catalog.bytes.tar import TarWriter
from catalog.errors import BadInput
from catalog.manifest import Manifest
from catalog.notices import say
from catalog.store import parts, snapshot
from catalog.store.database import Statement
from lensdata.vectors import drop_unused

FORGET = ("remove/images", "remove/scores", "remove/captions", "remove/clusters", "remove/embeddings")


def remove(catalog: Catalog, image_ids: list[int], reason: str, shards: list[Path]) -> dict[str, Any]:
    """Take images down: status `removed` with the reason; scores, captions, vectors and clusters deleted; the
    catalog's manifests and the shards in the folders `shards` re-emitted without them.

    Rows with the same bytes go, too, and stay gone whatever becomes of their files; other bytes in their place are
    another image. Whatever was killed half-way is completed by the same call. Returns the ids
    removed and what was rewritten. Raises BadInput for an id the catalog does not have, before anything is done.
    """
    for folder in shards:
        manifest.load(folder, check_sizes=False)
    known = catalog.named("remove/same_bytes", ids=image_ids)
    unknown = sorted(set(image_ids) - set(known["image_id"]))
    if unknown:
        raise BadInput(f"there is no image {unknown[0]} in {catalog.root}")
    ids = known["image_id"].sort().to_list()
    with catalog.job("remove", outdates=("score", "caption")):
        vectors = catalog.named("remove/vectors", ids=ids)
        _blank(catalog.root, vectors)
        digest = hashlib.sha256(repr(ids).encode()).hexdigest()[:16]
        part = parts.write(
            catalog.root, "remove", f"remove-{catalog.version:08d}-{digest}", pl.DataFrame({"image_id": ids})
        )
        catalog.commit_part("remove", part, FORGET, reason=reason)
        snapshot.remove(catalog.root)
        drop_unused(catalog)
        gone = set(ids)
        rewritten = [
            name
            for folder in _manifests(catalog)
            for name in _without(catalog, manifest.load(folder), gone, folder.parent)
        ]
        for folder in shards:
            rewritten += _without(catalog, manifest.load(folder, check_sizes=False), gone, None)
    return {"removed": ids, "rewritten": rewritten}


def _manifests(catalog: Catalog) -> Iterator[Path]:
    for path in sorted((catalog.root / "manifests").glob("*/manifest.json")):
        yield path.parent


def _blank(root: Path, vectors: pl.DataFrame) -> None:
    """Overwrite the vectors, and what is kept beside them, with zeros."""
    for model, part, row in vectors.iter_rows():
        for path in sorted((root / "embeddings" / model).glob(f"{part}.*npy")):
            matrix = np.load(path, mmap_mode="r+", allow_pickle=False)
            if row < len(matrix):
                matrix[row] = 0
                matrix.flush()


def _without(catalog: Catalog, old: Manifest, gone: set[int], parent: Path | None) -> list[str]:
    """Re-emit a manifest (and, if it has tars, the shards that held them) without the images `gone`.

    New files stand beside the old under new names; the switch is manifest.json's rename; only then the old go.
    With `parent` the manifest is one of the catalog's and moves to a folder of its new name.
    """
    _discard(old)
    lost = old.samples.filter(pl.col("image_id").is_in(list(gone)))
    if lost.is_empty():
        return []
    name, number = _next_name(old.name)
    shards, kept, replaced = [], [], [old.samples_path.name]
    for shard in old.info["shards"]:
        rows = old.samples.filter(pl.col("shard") == shard["name"])
        if shard["name"] in lost["shard"]:
            replaced.append(shard["name"])
            rows = rows.filter(~pl.col("image_id").is_in(list(gone)))
            if len(rows):
                shard, rows = _copy(old.root, shard, rows, number)
                shards.append(shard)
                kept.append(rows)
        else:
            shards.append(shard)
            kept.append(rows)
    samples = pl.concat(kept) if kept else old.samples.filter(~pl.col("image_id").is_in(list(gone)))
    sources = manifest.source_counts(samples)
    mixture = mixtures.in_force(old.mixture, sources)
    info = {
        **{name: value for name, value in old.info.items() if name != "mixture"},
        "name": name,
        "fingerprint": manifest.fingerprint_of(samples, mixture),
        "samples": len(samples),
        "buckets": manifest.bucket_counts(samples),
        "sources": sources,
        **({"mixture": mixture} if mixture else {}),
        "shards": shards,
        "removed": sorted({*old.info.get("removed", []), *lost["image_id"]}),
        "samples_file": f"samples-r{number}.parquet",
        "replaced": replaced,
    }
    target = old.root if parent is None else parent / name
    record = {
        "manifest": name, "fingerprint": info["fingerprint"], "query": info["query"], "samples": len(samples),
        "parameters": "{}", "catalog_version": catalog.version, "virtual": old.virtual,
    }  # fmt: skip
    catalog.commit("manifest", f"manifest-{name}", len(samples), [Statement("catalog/manifest_add", record)])
    manifest.write(target, info, samples)
    new = manifest.load(target, check_sizes=False)
    if parent is not None:
        for path in (old.root / "manifest.json", old.samples_path):
            path.unlink(missing_ok=True)
        old.root.rmdir()
    else:
        _discard(new)
    say(
        f"remove: {old.name} is now {name}, {len(lost)} of {len(old.samples)} samples gone, "
        f"{len(replaced) - 1} shards rewritten"
    )
    return [str(target)]


def _next_name(name: str) -> tuple[str, int]:
    """`train` -> `train-r1` -> `train-r2`."""
    match = re.fullmatch(r"(.+)-r(\d+)", name)
    stem, number = (match[1], int(match[2]) + 1) if match else (name, 1)
    return f"{stem}-r{number}", number


def _copy(
    root: Path, shard: dict[str, Any], rows: pl.DataFrame, number: int
) -> tuple[dict[str, Any], pl.DataFrame]:
    """A new tar of the samples `rows` of an old one, byte for byte, and their new places."""
    name = re.sub(r"(-r\d+)?\.tar$", f"-r{number}.tar", shard["name"])
    offsets = []
    with (root / shard["name"]).open("rb") as source, parts.atomic(root / name) as target:
        tar = TarWriter(target)
        for offset, length in rows.select("offset", "length").iter_rows():
            source.seek(offset)
            offsets.append(tar.offset)
            tar.put(source.read(length))
        size = tar.finish()
    with (root / name).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    moved = rows.with_columns(offset=pl.Series(offsets, dtype=pl.Int64), shard=pl.lit(name))
    return {**shard, "name": name, "samples": len(rows), "bytes": size, "sha256": digest}, moved


def _discard(found: Manifest) -> None:
    """Delete the files that a finished takedown replaced (again, if it was killed before)."""
    current = {shard["name"] for shard in found.info["shards"]} | {found.samples_path.name}
    for name in found.info.get("replaced", []):
        if name not in current:
            (found.root / name).unlink(missing_ok=True)
