"""The same manifest gives the same bytes in every version: tars as the first versions built them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import polars as pl
import pytest

import catalog
from catalog import manifest
from catalog.bytes import tar
from lensdata.shards import build, builder, verify
from tests.helpers import make_tar

SIZES = [1, 511, 512, 513, 40_000, 70_001, 262_144, 4_194_304, 4_200_000, 9_000_001, 1_000, 300_000]
# sha256 of the lines "sha256  name" of the twelve tars, as built before blocks, threads and direct writes.
GOLDEN = "e3bd7670b90e36ac566268207b1f9e39ef0a3ce77e14ef150db7d91c7bae3132"


def content(number: int, size: int) -> bytes:
    return hashlib.shake_128(b"%d" % number).digest(size)


@pytest.fixture
def chosen(tmp_path: Path) -> manifest.Manifest:
    """Samples of all sizes in files and in a tar, with captions of many kinds; one is gone, one has changed."""
    folder = tmp_path / "originals"
    folder.mkdir()
    members, rows = [], []
    for n in range(48):
        data = content(n, SIZES[n % len(SIZES)])
        form = ("jpeg", "png", "webp")[n // 4 % 3]
        row = {
            "image_id": 7 * n + 3, "bucket": ("448x608", "512x512")[n // 24], "shard": None,
            "uri": str(folder / f"{n}.{form}"), "offset": 0, "length": len(data),
            "sha256": hashlib.sha256(data).hexdigest(), "format": form, "width": 500 + n, "height": 600 - n,
            "source": "public-real", "caption": f"nümber {n} " * n or "\\ \"quoted\"\n\t\u2028 🦊",
            "caption_style": "dense" if n % 2 else "alt", "brief": None if n % 3 else f"brief {n}",
            "nsfw": n / 7, "aesthetic": None if n % 5 else 3.1, "watermark": 1e-9 * n, "clarity": 500.0,
            "entropy": 6.25, "luminance": 0.1, "file_size": None, "file_mtime_ns": None,
        }  # fmt: skip
        if n % 4 == 3:
            members.append((f"{n}.{form}", data))
            row["uri"] = str(tmp_path / "crawl.tar")
        elif n != 5:
            path = Path(row["uri"])
            path.write_bytes(b"other" + data[5:] if n == 17 else data)
            if n % 2 and n != 17:
                found = path.stat()
                row |= {"file_size": found.st_size, "file_mtime_ns": found.st_mtime_ns}
        rows.append(row)
    make_tar(tmp_path / "crawl.tar", members)
    with (tmp_path / "crawl.tar").open("rb") as file:
        places = {member.name: member.offset for member in tar.members(file)}
    for row in rows:
        name = f"{(row['image_id'] - 3) // 7}.{row['format']}"
        row["offset"] = places.get(name, 0)
    frame = pl.DataFrame(rows, infer_schema_length=None).cast(
        {"shard": pl.String, "file_size": pl.Int64, "file_mtime_ns": pl.Int64}
        | dict.fromkeys(("nsfw", "aesthetic", "watermark", "clarity", "entropy", "luminance"), pl.Float32)
    )
    frame = frame.sort("bucket", "format", maintain_order=True)
    info = {
        "format": "lens-manifest/1", "name": "golden", "fingerprint": manifest.fingerprint_of(frame, {}),
        "virtual": True, "samples": len(frame), "catalog_version": 1, "query": "", "parameters": {},
        "captions": ["dense", "alt"], "unmeasured": {}, "buckets": manifest.bucket_counts(frame),
        "sources": {"public-real": len(frame)}, "shards": [],
    }  # fmt: skip
    manifest.write(tmp_path / "chosen", info, frame)
    return manifest.load(tmp_path / "chosen")


@pytest.mark.parametrize(("workers", "few"), [(1, 4), (2, 4), (2, 0)], ids=["thread", "threads", "processes"])
def test_tars_are_those_of_earlier_versions(
    filled: catalog.Catalog, chosen: manifest.Manifest, tmp_path: Path, monkeypatch, workers: int, few: int
) -> None:
    monkeypatch.setattr(builder, "FEW", few)
    made = build(filled, chosen, tmp_path / "s", shard_samples=7, workers=workers)
    assert made.dropped == 2
    tars = sorted((tmp_path / "s").glob("*.tar"))
    assert len(tars) == 12
    listed = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in tars]
    assert hashlib.sha256("".join(listed).encode()).hexdigest() == GOLDEN
    shards = sorted(made.manifest.info["shards"], key=lambda shard: shard["name"])
    assert [f"{shard['sha256']}  {shard['name']}\n" for shard in shards] == listed
    assert list(verify(tmp_path / "s")) == []
    reasons = [json.loads(line) for line in (tmp_path / "s" / "dropped.jsonl").read_text().splitlines()]
    assert {row["image_id"]: row["reason"].partition(" ")[2] for row in reasons} == {
        38: "does not exist", 122: "has changed since it was ingested",
    }  # fmt: skip
