#!/usr/bin/env python3
"""Shards: `lensdata build-shards` against webdataset's ShardWriter and `cat` over the same images, in one run.

Run it by hand: python scripts/bench/build_shards.py [--cases 2000x264,20000x200] [--workers 2] [--rounds 5]
A case is COUNTxKILOBYTES: 2,000 JPEGs of 540 MB, where the start of the process weighs as much as the bytes, and
20,000 of 4 GB. All read the same files from a warm page cache and write to the same disk, in turn, every round.

Two comparisons:
- the command: from the start of the process to its end, a manifest of the selection included, against a loop over
  ShardWriter in this process, whose imports (webdataset brings torch) and list of samples cost it nothing;
- the call `lensdata.shards.build` against the same loop: what the bytes alone take.
`lensdata` returns when every shard is on the disk. ShardWriter does not wait for the disk, so it is timed twice: as it
is, and with an fsync of every shard and of the folder within the time. `cat`, too, is synced. The limits are one core's
sha256 over all bytes (every byte of a shard is hashed once, and one tar's checksum cannot be split among cores) and
reading, hashing and writing in one thread.
Ratios are taken round by round; the median is printed, and the least and the largest.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
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
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import webdataset
from _images import make_images, prepare

import catalog
from catalog import manifest
from lensdata.shards import build

ROOT = Path(__file__).resolve().parents[2]


def command(root: Path, out: Path, workers: int, *more: str) -> None:
    """The whole command, its selection and manifest included."""
    line = [
        sys.executable,
        "-m",
        "lensdata",
        "--catalog",
        str(root),
        "build-shards",
        "--no-dedup",
        "--out",
        str(out),
    ]
    subprocess.run(
        [*line, "--workers", str(workers), *more],
        check=True, capture_output=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def shard_writer(rows: list[dict], out: Path, synced: bool) -> None:
    """The same samples through webdataset.ShardWriter."""
    out.mkdir()
    with webdataset.ShardWriter(str(out / "%06d.tar"), maxcount=1000, maxsize=2**28, verbose=0) as writer:
        for row in rows:
            meta = json.dumps(manifest.sample_meta(row))
            image = Path(row["uri"]).read_bytes()
            key = f"{row['image_id']:012d}"
            writer.write({"__key__": key, "jpg": image, "txt": row["caption"], "json": meta.encode()})
    if synced:
        for path in (*out.iterdir(), out):
            sync(path)


def cat(paths: list[str], out: Path) -> None:
    """What `cat FILES > out; sync out` does, through xargs, which splits a command line that grows too long."""
    with out.open("wb") as file:
        subprocess.run(["xargs", "cat"], input="\n".join(paths).encode(), stdout=file, check=True)
    sync(out)


def one_thread(paths: list[str], out: Path) -> None:
    """The least of a build in one thread: read, hash, write."""
    digest = hashlib.sha256()
    with out.open("wb") as file:
        for path in paths:
            data = Path(path).read_bytes()
            file.write(data)
            digest.update(data)
    sync(out)


def sync(path: Path) -> None:
    """Wait for the disk to have a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall time and of CPU time, that of children included; the disk is idle at the start."""
    os.sync()
    gc.collect()
    start, before = time.monotonic(), os.times()
    work()
    wall, after = time.monotonic() - start, os.times()
    return wall, sum(after[:4]) - sum(before[:4])


def sha256_rate(megabytes: int = 512) -> float:
    """MB a second of one core over blocks that fit its cache."""
    block = bytes(2**20)
    digest, start = hashlib.sha256(), time.process_time()
    for _ in range(megabytes):
        digest.update(block)
    return megabytes * 2**20 / 1e6 / (time.process_time() - start)


def measure(folder: Path, count: int, kilobytes: int, workers: int, rounds: int) -> None:
    """Time one case and print MB a second and the ratios."""
    images, root, out = folder / "images", folder / "catalog", folder / "out"
    make_images(images, count, kilobytes)
    prepare(root, images, None)
    fresh = folder / "fresh"  # a catalog that has no manifest yet, as the command finds it
    shutil.copytree(root, fresh)
    opened = catalog.open(root)
    chosen = opened.select(dedup=False).manifest("bench")
    rows = list(chosen.samples.iter_rows(named=True))
    paths = [row["uri"] for row in rows]
    size = sum(row["length"] for row in rows) / 1e6

    def whole_command(*more: str) -> None:
        command(copy, out, workers, *more)

    contenders: dict[str, Callable[[], object]] = {
        "lens, command": whole_command,
        "lens, command, --verify-bytes": partial(whole_command, "--verify-bytes"),
        "lens, call": partial(build, opened, chosen, out, workers=workers),
        "lens, call, 1 worker": partial(build, opened, chosen, out, workers=1),
        "ShardWriter": partial(shard_writer, rows, out, False),
        "ShardWriter, fsynced": partial(shard_writer, rows, out, True),
        "cat, fsynced": partial(cat, paths, out),
        "limit: one thread, fsynced": partial(one_thread, paths, out),
    }
    times: dict[str, list[tuple[float, float]]] = {label: [] for label in contenders}
    copy = folder / "copy"
    for counted in range(-1, rounds):  # one round beforehand warms caches
        for label, work in contenders.items():
            shutil.copytree(fresh, copy)
            seconds = timed(work)
            if counted >= 0:
                times[label].append(seconds)
            shutil.rmtree(copy)
            shutil.rmtree(out) if out.is_dir() else out.unlink()
    print(f"\n{count} images, {size:.0f} MB, {workers} workers, {os.cpu_count()} cores, {rounds} rounds")
    print(f"{'median of':30} {'seconds':>8} {'CPU s':>8} {'MB/s':>8}")
    for label, values in times.items():
        wall, cpu = (median(column) for column in zip(*values, strict=True))
        print(f"{label:30} {wall:8.2f} {cpu:8.2f} {size / wall:8.0f}")
    print(f"{'limit: sha256, one core':30} {size / sha256_rate():8.2f}")
    for ours in ("lens, command", "lens, call"):
        for peer in ("ShardWriter", "ShardWriter, fsynced", "cat, fsynced"):
            pairs = zip(times[peer], times[ours], strict=True)
            wall, cpu = zip(*((a[0] / b[0], a[1] / b[1]) for a, b in pairs), strict=True)
            print(
                f"{ours} = {median(wall):.2f} ({min(wall):.2f} to {max(wall):.2f}) times as fast as {peer}; "
                f"{median(cpu):.2f} by CPU time"
            )


def main() -> None:
    """Time all cases."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--cases", default="2000x264,20000x200", help="COUNTxKILOBYTES, ...  [%(default)s]")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--rounds", type=int, default=5)
    args = options.parse_args()
    for case in args.cases.split(","):
        count, kilobytes = (int(number) for number in case.split("x"))
        with tempfile.TemporaryDirectory() as name:
            measure(Path(name), count, kilobytes, args.workers, args.rounds)


if __name__ == "__main__":
    main()
