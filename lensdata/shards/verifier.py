"""Check shards against their manifest: sizes, checksums, every sample where the index says, nothing else; and every
image against the sha256 that the catalog knows it by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import polars as pl

from catalog import manifest
from catalog.bytes import tar
from catalog.errors import BadInput, LensError
from catalog.notices import Progress

CHUNK = 1 << 20
NOTHING = pl.DataFrame(
    schema={"image_id": pl.Int64, "ext": pl.String, "sha256": pl.String, "offset": pl.Int64}
)


def verify(folder: Path) -> Iterator[str]:
    """Yield one line for every fault in the shards of `folder`; none means they are what the manifest promises.
    Memory holds the rows of one shard.

    A tar cut at a member's border reads without an error, so sizes, checksums and counts are compared.
    """
    found = manifest.load(folder, check_sizes=False)  # here every fault is wanted, not the first
    try:
        _ = found.table
    except BadInput as error:
        yield str(error)
        return
    if found.virtual:
        yield from _verify_virtual(found)
        return
    shards = {shard["name"]: shard for shard in found.info["shards"]}
    for stray in sorted(path.name for path in found.root.glob("*.tar") if path.name not in shards):
        yield f"{stray}: not in the manifest"
    left = dict(shards)
    with Progress(len(shards), "verify-shards", "shards") as bar:
        for name, rows in found.by_shard():
            shard = left.pop(name, None)
            if shard is None:
                why = "a second time" if name in shards else "which manifest.json does not name"
                yield f"{found.samples_path.name}: lists samples of {name!r} {why}"
                continue
            yield from _verify_shard(found.root / name, shard, rows)
            bar.advance()
        for name, shard in left.items():
            yield from _verify_shard(found.root / name, shard, NOTHING)
            bar.advance()


def _verify_shard(path: Path, shard: dict, rows: pl.DataFrame) -> Iterator[str]:
    name = shard["name"]
    if not path.is_file():
        yield f"{name}: missing"
        return
    size = path.stat().st_size
    if size != shard["bytes"]:
        yield f"{name}: {size} bytes instead of {shard['bytes']}"
    with path.open("rb") as file:
        digest = _sha256(file, size)
    if digest != shard["sha256"]:
        yield f"{name}: its sha256 is not the manifest's"
    images = {
        f"{image_id:012d}.{ext}": sha256
        for image_id, ext, sha256 in rows.select("image_id", "ext", "sha256").iter_rows()
    }
    keys: dict[str, int] = {}
    try:
        with path.open("rb") as listing, path.open("rb") as file:
            for member in tar.members(listing):
                key = member.name.partition(".")[0]
                keys.setdefault(key, member.header)
                if wanted := images.get(member.name):
                    file.seek(member.offset)
                    if _sha256(file, member.size) != wanted:
                        yield f"{name}: {member.name} is not the image that was selected"
    except (tar.Broken, OSError) as error:
        yield f"{name}: breaks off after {len(keys)} samples ({error})"
    expected = {
        f"{image_id:012d}": offset for image_id, offset in rows.select("image_id", "offset").iter_rows()
    }
    if keys != expected:
        missing, extra = expected.keys() - keys.keys(), keys.keys() - expected.keys()
        yield f"{name}: {len(keys)} samples instead of {len(expected)} ({len(missing)} missing, {len(extra)} unknown)"
    if len(rows) != shard["samples"]:
        yield f"{name}: samples.parquet lists {len(rows)} samples, manifest.json {shard['samples']}"


def _sha256(file: IO[bytes], size: int) -> str:
    """Of the next `size` bytes, or of what there is of them."""
    digest = hashlib.sha256()
    while data := file.read(min(CHUNK, size)):
        digest.update(data)
        size -= len(data)
    return digest.hexdigest()


def _verify_virtual(found: manifest.Manifest) -> Iterator[str]:
    with Progress(found.info["samples"], "verify-shards", "samples") as bar:
        for rows in found.batches():
            for entry in rows.iter_rows(named=True):
                try:
                    found.sample(entry)
                except LensError as error:
                    yield str(error)
                bar.advance()
