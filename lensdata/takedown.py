"""Takedown: an image leaves the catalog and every shard that held it; no other shard is rewritten.

It is by content: whatever has the same bytes goes, too, and is `removed` when it comes back under another name.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from catalog import Catalog, manifest
from catalog import mixture as mixtures
from catalog.bytes.tar import TarWriter
from catalog.errors import BadInput, LensError
from catalog.manifest import Manifest, files, names
from catalog.manifest import rows as tables
from catalog.notices import Progress, say
from catalog.store import parts, snapshot
from catalog.store.database import DATABASE
from lensdata.copies import blank_removed
from lensdata.shards.listing import builds
from lensdata.vectors import drop_unused

FORGET = (
    "remove/record", "remove/images", "remove/staged", "remove/scores", "remove/captions", "remove/clusters",
    "remove/embeddings",
)  # fmt: skip


@dataclass(frozen=True)
class Gone:
    """All that was ever taken down, by id and by content."""

    ids: pl.Series
    sha256: pl.Series

    @property
    def rows(self) -> pl.Expr:
        """Which rows of a manifest are gone."""
        by_content = pl.col("sha256").is_in(self.sha256.implode())
        return pl.col("image_id").is_in(self.ids.implode()) | by_content.fill_null(False)


def remove(catalog: Catalog, image_ids: list[int], reason: str, shards: list[Path]) -> dict[str, Any]:
    """Take images down: status `removed` with the reason; scores, captions, vectors and clusters deleted, the catalog's
    own copies of the bytes blanked; its manifests and the shards in the folders `shards` re-emitted without them; its
    database file written anew, since what is deleted from a table stays in the file's free blocks.

    Rows with the same bytes go, too, and stay gone whatever becomes of their files; other bytes in their place are
    another image. Whatever was killed half-way is completed by the same call. Returns the ids `removed`, what was
    `rewritten`, and the folders that builds of this catalog have filled and that `still_hold` what was taken down.
    Raises BadInput for an id the catalog does not have, before anything is done, and LensError where the disk has no
    room for the new database file; all else is done then.
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
        blank_removed(catalog)
        found = catalog.named("remove/gone")
        gone = Gone(found["image_id"].drop_nulls(), found["sha256"].drop_nulls().unique())
        rewritten = [
            name
            for folder in _manifests(catalog)
            for name in _without(catalog, manifest.load(folder), gone, folder.parent)
        ]
        for folder in shards:
            rewritten += _without(catalog, manifest.load(folder, check_sizes=False), gone, None)
        _drop_leftovers(catalog.root)
        try:
            catalog.rewrite()
        except LensError as error:
            raise LensError(
                f"the images are removed, but their texts are still in free blocks of {catalog.root / DATABASE}, which "
                f"could not be written anew: {error}"
            ) from error
    return {"removed": ids, "rewritten": rewritten, "still_hold": list(_still_hold(catalog, gone))}


def _drop_leftovers(root: Path) -> None:
    """Delete the parts of killed jobs, which may hold texts of what is gone; the next job makes them again."""
    for path in (root / "parts").rglob("*"):
        if path.is_file():
            path.unlink()


def _manifests(catalog: Catalog) -> list[Path]:
    return [path.parent for path in sorted((catalog.root / names.FOLDER).glob("*/manifest.json"))]


def _still_hold(catalog: Catalog, gone: Gone) -> Iterator[str]:
    """The folders of builds in which something of what is gone is listed, or whose list cannot be read."""
    for folder, found, _ in builds(catalog):
        try:
            if found is None or len(_lost(found, gone)):
                yield str(folder)
        except BadInput:
            yield str(folder)


def _blank(root: Path, vectors: pl.DataFrame) -> None:
    """Overwrite the vectors, and what is kept beside them, with zeros."""
    for model, part, row in vectors.iter_rows():
        for path in sorted((root / "embeddings" / model).glob(f"{part}.*npy")):
            matrix = np.load(path, mmap_mode="r+", allow_pickle=False)
            if row < len(matrix):
                matrix[row] = 0
                matrix.flush()


def _lost(found: Manifest, gone: Gone) -> pl.DataFrame:
    """The rows of a manifest that are gone, (image_id, shard)."""
    scan = pl.scan_parquet(found.table, glob=False).filter(gone.rows)
    return scan.select("image_id", "shard").collect(engine="streaming")


def _without(catalog: Catalog, old: Manifest, gone: Gone, parent: Path | None) -> list[str]:
    """Re-emit a manifest (and, if it has tars, the shards that held them) without what is gone.

    New files stand beside the old under new names; the switch is manifest.json's rename; only then the old go. Memory
    holds the rows of one shard. With `parent` the manifest is one of the catalog's and moves to a folder of its new
    name.
    """
    _discard(old)
    lost = _lost(old, gone)
    if lost.is_empty():
        return []
    rest = _Rest(old, gone, set(lost["shard"].drop_nulls()))
    tables.write(rest.samples_path, rest.rows())
    sources = dict(sorted(rest.sources.items()))
    mixture = mixtures.in_force(old.mixture, sources)
    fingerprint = manifest.fingerprint_of(tables.batches(rest.samples_path), mixture)
    samples = rest.buckets.total()
    with names.naming(catalog):
        name = names.successor(catalog, old.name, fingerprint)
        info = {
            **{name: value for name, value in old.info.items() if name != "mixture"},
            "name": name,
            "fingerprint": fingerprint,
            "samples": samples,
            "buckets": manifest.bucket_rows(rest.buckets),
            "sources": sources,
            **({"mixture": mixture} if mixture else {}),
            "shards": rest.shards,
            "removed": sorted({*old.info.get("removed", []), *lost["image_id"]}),
            "formerly": [*old.info.get("formerly", []), old.name],
            "replaced": [old.samples_path.name, *rest.replaced],
        }
        record = {
            "manifest": name, "fingerprint": fingerprint, "query": info["query"], "samples": samples,
            "parameters": "{}", "catalog_version": catalog.version, "virtual": old.virtual,
        }  # fmt: skip
        names.enter(catalog, record)
        if parent is None:
            target = old.root
            info |= files.listed(rest.samples_path)
            manifest.write_info(target, info, replaces=old.fingerprint)
            _discard(manifest.load(target, check_sizes=False))
        else:
            target = parent / name
            files.adopt(target, {**info, "samples_file": rest.samples_path.name}, rest.samples_path)
            for path in (old.root / "manifest.json", old.samples_path):
                path.unlink(missing_ok=True)
            old.root.rmdir()
    say(
        f"remove: {old.name} is now {name}, {len(lost)} of {old.info['samples']} samples gone, "
        f"{len(rest.replaced)} shards rewritten"
    )
    return [str(target)]


class _Rest:
    """What is left of a manifest: `rows`, read to their end, copies the shards that lose something."""

    def __init__(self, old: Manifest, gone: Gone, touched: set[str]) -> None:
        self.old, self.gone, self.touched = old, gone, touched
        match = re.fullmatch(r".+-r(\d+)\.parquet", old.samples_path.name)
        self.number = (
            int(match[1]) + 1 if match else 1
        )  # of the new files; those of a killed takedown are overwritten
        self.samples_path = old.root / f"samples-r{self.number}.parquet"
        self.sources: Counter[str] = Counter()
        self.buckets: Counter[str] = Counter()
        self.replaced: list[str] = []
        self._copied: dict[str, dict[str, Any]] = {}

    @property
    def shards(self) -> list[dict[str, Any]]:
        """As manifest.json lists them, in their order."""
        return [
            self._copied.get(shard["name"], shard)
            for shard in self.old.info["shards"]
            if shard["name"] not in self.replaced or shard["name"] in self._copied
        ]

    def rows(self) -> Iterator[pl.DataFrame]:
        """The rows that stay, with their new places."""
        shards = {shard["name"]: shard for shard in self.old.info["shards"]}
        held = self.old.by_shard() if shards else (("", rows) for rows in self.old.batches())
        with Progress(len(self.touched), f"remove from {self.old.name}", "shards") as bar:
            for name, rows in held:
                if not shards or name in self.touched:
                    rows = rows.filter(~self.gone.rows)
                if name in self.touched:
                    self.replaced.append(name)
                    if len(rows):
                        self._copied[name], rows = _copy(self.old.root, shards[name], rows, self.number)
                    bar.advance()
                self.sources.update(manifest.source_counts(rows))
                self.buckets.update(dict(rows.group_by("bucket").len().iter_rows()))
                yield rows


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
    moved = rows.with_columns(
        offset=pl.Series(offsets, dtype=pl.Int64), shard=pl.lit(name, dtype=pl.String)
    ).select(rows.columns)
    return {**shard, "name": name, "samples": len(rows), "bytes": size, "sha256": digest}, moved


def _discard(found: Manifest) -> None:
    """Delete the files that a finished takedown replaced (again, if it was killed before)."""
    current = {shard["name"] for shard in found.info["shards"]} | {found.samples_path.name}
    for name in found.info.get("replaced", []):
        if name not in current:
            (found.root / name).unlink(missing_ok=True)
