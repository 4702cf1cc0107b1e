#!/usr/bin/env python3
"""Shards: `lensdata build-shards` against webdataset's ShardWriter and `cat` over the same images, in one run.

Run it by hand: python scripts/bench/build_shards.py [--images 10000] [--kilobytes 200] [--workers 1,2]
All read the same files and write to the same disk; each is timed with a warm page cache, in turn, three times, its
processes' start and the flush to the disk included. The limits say what the machine allows: one core's sha256 (every
byte of a shard is hashed once; the checksum of a tar cannot be split among cores), and reading and writing alone.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import polars as pl

import catalog
from catalog import manifest
from catalog.store import parts
from lensdata.shards import build

# What only prepares the images is imported where it is used: the spawned workers import this file, too.


def make_images(folder: Path, count: int, kilobytes: int) -> None:
    """JPEGs of 512x512 that differ in a trailing comment, which no reader minds."""
    from PIL import Image

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
    from lensdata import score
    from lensdata.bucket import bucket
    from lensdata.caption import FromSource, caption
    from lensdata.ingest import ingest

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
    caption(opened, FromSource())
    bucket(opened)
    return opened.select(dedup=False).manifest("bench")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall time, the writes flushed to the disk included, and of CPU time, that of children included."""
    os.sync()
    start, before = time.monotonic(), os.times()
    work()
    os.sync()
    after = os.times()
    return time.monotonic() - start, sum(after[:4]) - sum(before[:4])


def cat(paths: list[str], target: Path) -> None:
    """What `cat FILES > target` does, through xargs, which splits a command line that grows too long."""
    with target.open("wb") as file:
        subprocess.run(["xargs", "cat"], input="\n".join(paths).encode(), stdout=file, check=True)


def shard_writer(rows: list[dict], target: Path) -> None:
    """The same samples through webdataset.ShardWriter."""
    import webdataset

    target.mkdir()
    with webdataset.ShardWriter(str(target / "%06d.tar"), maxcount=1000, maxsize=2**28, verbose=0) as out:
        for row in rows:
            meta = json.dumps(manifest.sample_meta(row))
            image = Path(row["uri"]).read_bytes()
            key = f"{row['image_id']:012d}"
            out.write({"__key__": key, "jpg": image, "txt": row["caption"], "json": meta.encode()})


def copy(paths: list[str], target: Path, hashing: bool) -> None:
    """The least of a build in one thread: read, write, and with `hashing` one sha256 over all."""
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for path in paths:
            data = Path(path).read_bytes()
            file.write(data)
            if hashing:
                digest.update(data)


def sha256_rate(megabytes: int = 512) -> float:
    """MB a second of one core over blocks that fit its cache."""
    block = bytes(2**20)
    digest, start = hashlib.sha256(), time.process_time()
    for _ in range(megabytes):
        digest.update(block)
    return megabytes * 2**20 / 1e6 / (time.process_time() - start)


def main() -> None:
    """Time all, print MB a second and the ratios."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--images", type=int, default=10_000)
    options.add_argument("--kilobytes", type=int, default=200)
    options.add_argument("--workers", default="1,2", help="numbers of workers to time  [%(default)s]")
    options.add_argument("--rounds", type=int, default=3)
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_images(folder / "images", args.images, args.kilobytes)
        chosen = prepare(folder / "catalog", folder / "images")
        opened = catalog.open(folder / "catalog")
        rows = list(chosen.samples.iter_rows(named=True))
        paths = [row["uri"] for row in rows]
        out = folder / "out"
        counts = [int(number) for number in args.workers.split(",")]
        contenders: dict[str, Callable[[], object]] = {
            f"lens, {number} worker(s)": partial(build, opened, chosen, out, workers=number)
            for number in counts
        }
        contenders["lens, 1, --verify-bytes"] = partial(
            build, opened, chosen, out, workers=1, verify_bytes=True
        )
        contenders["webdataset"] = partial(shard_writer, rows, out)
        contenders["cat"] = partial(cat, paths, out)
        contenders["limit: read, write"] = partial(copy, paths, out, False)
        contenders["limit: read, hash, write"] = partial(copy, paths, out, True)
        importlib.import_module("webdataset")  # its import is not what is timed
        times: dict[str, list[tuple[float, float]]] = {label: [] for label in contenders}
        for _ in range(args.rounds):
            for label, work in contenders.items():
                times[label].append(timed(work))
                shutil.rmtree(out) if out.is_dir() else out.unlink()
        size = sum(row["length"] for row in rows) / 1e6
        print(f"{len(rows)} images, {size:.0f} MB, {os.cpu_count()} cores, best of {args.rounds} rounds")
        print(f"{'':25} {'MB/s':>8} {'MB/CPU-s':>8}")
        wall = {label: size / min(seconds for seconds, _ in values) for label, values in times.items()}
        cpu = {label: size / min(seconds for _, seconds in values) for label, values in times.items()}
        for label in contenders:
            print(f"{label:25} {wall[label]:8.0f} {cpu[label]:8.0f}")
        print(f"{'limit: sha256, one core':25} {'':8} {sha256_rate():8.0f}")
        for label in contenders:
            if label.startswith("lens"):
                for peer in ("webdataset", "cat"):
                    ratio, of_cpu = wall[label] / wall[peer], cpu[label] / cpu[peer]
                    print(f"{label} / {peer} = {ratio:.2f} of wall time, {of_cpu:.2f} of CPU time")


if __name__ == "__main__":
    main()
