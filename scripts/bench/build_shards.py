#!/usr/bin/env python3
"""Shards: `lensdata build-shards` against webdataset's ShardWriter and `cat` over the same images, in one run.

Run it by hand: python scripts/bench/build_shards.py [--images 4000] [--kilobytes 200]
All three read the same files and write to the same disk; each is timed with a warm page cache, in turn, three times.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import polars as pl
from PIL import Image

import catalog
from catalog import manifest, parts
from lensdata import score
from lensdata.bucket import bucket
from lensdata.caption import caption, from_source
from lensdata.ingest import ingest
from lensdata.shards import build

ROUNDS = 3


def make_images(folder: Path, count: int, kilobytes: int) -> None:
    """JPEGs of 512x512 that differ in a trailing comment, which no reader minds."""
    rng = np.random.default_rng(0)
    side = 512
    small = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    folder.mkdir()
    path = folder / "base.jpg"
    small.save(path, quality=90)
    base = path.read_bytes()
    path.unlink()
    for n in range(count):
        (folder / f"{n:06d}.jpg").write_bytes(base + rng.bytes(max(kilobytes * 1024 - len(base), 16)))
        (folder / f"{n:06d}.txt").write_text(f"picture number {n}, " + "with some words of description " * 12)


def prepare(root: Path, images: Path) -> manifest.Manifest:
    """A catalog in which every image passes."""
    opened = catalog.open(root)
    ingest(opened, [images])
    ids = opened.sql("SELECT image_id FROM images")["image_id"]
    good = {
        "nsfw": 0.1,
        "aesthetic": 5.0,
        "watermark": 0.1,
        "clarity": 500.0,
        "entropy": 6.0,
        "luminance": 0.5,
    }
    frame = pl.DataFrame({"image_id": ids, "status": "ok"})
    for name, value in good.items():
        frame = frame.with_columns(
            pl.lit(value).alias(name),
            pl.lit("scored").alias(f"{name}_state"),
            pl.lit(1).alias(f"{name}_scorer"),
        )
    for name, dtype in score.part_schema().items():
        found = pl.col(name) if name in frame.columns else pl.lit(None)
        frame = frame.with_columns(found.cast(dtype).alias(name))
    part = parts.write(opened.root, "score", "score-bench", frame)
    opened.commit_part("score", part, score.PART_STATEMENTS, part_id=part.stem)
    caption(opened, from_source())
    bucket(opened)
    return opened.select(dedup=False).manifest("bench")


def timed(work: Callable[[], None]) -> float:
    """Seconds of wall time, the writes flushed to the disk included."""
    os.sync()
    start = time.monotonic()
    work()
    os.sync()
    return time.monotonic() - start


def main() -> None:
    """Time the three and print the ratios."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=int, default=4000)
    options.add_argument("--kilobytes", type=int, default=200)
    options.add_argument("--workers", type=int, default=1)
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_images(folder / "images", args.images, args.kilobytes)
        chosen = prepare(folder / "catalog", folder / "images")
        opened = catalog.open(folder / "catalog")
        rows = list(chosen.samples.iter_rows(named=True))

        def lens() -> None:
            build(opened, chosen, folder / "lens", workers=args.workers)

        def library() -> None:
            import webdataset  # not above: it brings torch, which the spawned workers would import, too

            (folder / "wds").mkdir()
            with webdataset.ShardWriter(
                str(folder / "wds" / "%06d.tar"), maxcount=1000, maxsize=2**28, verbose=0
            ) as out:
                for row in rows:
                    meta = json.dumps(manifest.sample_meta(row))
                    image = Path(row["uri"]).read_bytes()
                    key = f"{row['image_id']:012d}"
                    out.write({"__key__": key, "jpg": image, "txt": row["caption"], "json": meta.encode()})

        def cat() -> None:
            with (folder / "cat").open("wb") as file:
                subprocess.run(
                    ["xargs", "cat"],
                    input="\n".join(r["uri"] for r in rows).encode(),
                    stdout=file,
                    check=True,
                )

        importlib.import_module("webdataset")  # its import is not what is timed
        times: dict[str, list[float]] = {"lens": [], "webdataset": [], "cat": []}
        for _ in range(ROUNDS):
            for label, work, out in (
                ("lens", lens, "lens"),
                ("webdataset", library, "wds"),
                ("cat", cat, "cat"),
            ):
                times[label].append(timed(work))
                target = folder / out
                shutil.rmtree(target) if target.is_dir() else target.unlink()
        size = sum(row["length"] for row in rows) / 1e6
        print(f"{len(rows)} images, {size:.0f} MB, {args.workers} worker(s), median of {ROUNDS} rounds")
        middle = {label: statistics.median(values) for label, values in times.items()}
        for label, seconds in middle.items():
            print(f"{label:11} {size / seconds:8.0f} MB/s")
        print(f"lens / webdataset = {middle['webdataset'] / middle['lens']:.2f}")
        print(f"lens / cat        = {middle['cat'] / middle['lens']:.2f}")


if __name__ == "__main__":
    main()
