#!/usr/bin/env python3
"""Memory of `score` (cheap filters), `caption`, `build-shards` and what looks at its shards and manifests as the number
of images grows: peaks of the job and of its largest worker process (up to four workers of build-shards are threads of
the job), and the growth of each per image.

Run it by hand: python scripts/bench/memory.py [--images 10000,100000] [--workers 2]
The images are tiny JPEGs, all different; each command runs in a process of its own, as a user starts it.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import polars as pl
from PIL import Image

import catalog
from catalog import metrics
from catalog.store import parts

ROOT = Path(__file__).resolve().parents[2]
SIDE = 64


def make_images(folder: Path, count: int) -> None:
    """`count` JPEGs of 64x64 with captions, a thousand to a folder."""
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(buffer, "JPEG")
    for n in range(count):
        target = folder / f"{n // 1000:04d}"
        target.mkdir(parents=True, exist_ok=True)
        (target / f"{n:07d}.jpg").write_bytes(buffer.getvalue() + str(n).encode())
        (target / f"{n:07d}.txt").write_text(
            f"picture {n}, " + "with words that describe it at some length " * 8
        )


def run(root: Path, *args: object) -> tuple[int, int]:
    """Run a command of lensdata; the peaks in bytes of its process and of its largest worker.

    Peaks are read from /proc while it runs: what the kernel reports of a child that has ended includes the memory of
    the parent that forked it.
    """
    env = {**os.environ, "LENS_CATALOG": str(root), "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "lensdata", *map(str, args)]
    peaks: dict[int, int] = {}
    with tempfile.TemporaryFile("w+") as errors:
        job = subprocess.Popen(line, env=env, stdout=subprocess.DEVNULL, stderr=errors)
        while job.poll() is None:
            for pid in (job.pid, *children(job.pid)):
                peaks[pid] = max(peaks.get(pid, 0), peak(pid))
            time.sleep(0.02)
        if job.returncode:
            errors.seek(0)
            raise SystemExit(f"lensdata {' '.join(map(str, args))} failed: {errors.read().strip()[-500:]}")
    return peaks.pop(job.pid), max(peaks.values(), default=0)


def children(pid: int) -> list[int]:
    """The processes that `pid` started and that still run."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it has ended
        return []


def peak(pid: int) -> int:
    """The largest resident memory, in bytes, that a process has had; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def measure(folder: Path, count: int, workers: int) -> dict[str, tuple[int, int]]:
    """Peaks of the commands over `count` images."""
    make_images(folder / "images", count)
    root = folder / "catalog"
    run(root, "ingest", folder / "images", "--workers", workers)
    only = [part for metric in metrics.names(learned=False) for part in ("--only", metric)]
    found = {"score": run(root, "score", *only, "--workers", workers)}
    found["caption"] = run(root, "caption")
    place_all(catalog.open(root))
    out = ("--out", folder / "shards", "--workers", workers)
    found["build-shards"] = run(root, "build-shards", "--no-filters", *out)
    found["build-shards --plan"] = run(root, "build-shards", "--no-filters", "--plan", 8)
    found["verify-shards"] = run(root, "verify-shards", folder / "shards")
    half = (
        "--no-filters",
        "--where",
        "image_id % 2 = 0",
        "--out",
        folder / "half",
        "--virtual",
        "--name",
        "half",
    )
    run(root, "build-shards", *half)
    found["manifest diff"] = run(root, "manifest", "diff", "half", folder / "shards")
    found["remove"] = run(root, "remove", 1, "--shards", folder / "shards")
    return found


def place_all(opened: catalog.Catalog) -> None:
    """Every image into the bucket 512x512, which `bucket` keeps for larger ones."""
    ids = opened.sql("SELECT image_id FROM images")
    frame = ids.with_columns(
        base=pl.lit(512, pl.Int32),
        aspect=pl.lit("1:1"),
        width=pl.lit(512, pl.Int32),
        height=pl.lit(512, pl.Int32),
    )
    opened.commit_part("bucket", parts.write(opened.root, "bucket", "bucket-bench", frame), ["bucket/part"])


def main() -> None:
    """Print the peaks at every number of images, and the growth per image between the first and the last."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--images", default="10000,100000")
    options.add_argument("--workers", type=int, default=2)
    args = options.parse_args()
    counts = [int(count) for count in args.images.split(",")]
    peaks = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            peaks[count] = measure(Path(name), count, args.workers)
        for command, (job, worker) in peaks[count].items():
            print(
                f"{command:19} {count:9} images: job {job / 1e6:6.0f} MB, largest worker {worker / 1e6:6.0f} MB"
            )
    few, many = counts[0], counts[-1]
    for command in peaks[few] if many > few else ():
        growth = [
            (after - before) / (many - few)
            for before, after in zip(peaks[few][command], peaks[many][command], strict=True)
        ]
        print(f"{command:19} grows by {growth[0]:.0f} bytes an image in the job, {growth[1]:.0f} in a worker")


if __name__ == "__main__":
    main()
