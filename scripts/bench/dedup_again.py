"""What `lensdata dedup` costs, and what it costs again once a few images have come, gone or been scored anew.

    python scripts/bench/dedup_again.py [--rows 1000000] [--new 0.01] [--workers 2] [--scratch DIR]

A catalog of N images and N x 768 vectors as near_duplicates.py plants them, in parts of 128 as scoring writes them
(4.6 KB an image with its thumbnail), with random aesthetic scores for ranks. `dedup` runs on it; after a share of
further images has been added; after one in a thousand has gone and as many have been scored anew; and from nothing
over the same images, to see whether the clusters are the same. CPU seconds are those of the command and its workers;
memory is the largest of any process: `own` cannot be dropped, `with files` counts pages of mapped files as well.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import polars as pl
from near_duplicates import WIDTH, plant

import catalog
from catalog import Catalog, metrics
from catalog.store import parts
from lensdata import scorers
from lensdata.dedup import dedup
from lensdata.dedup.state import FILE
from lensdata.score import part_schema

PART = 128


def model() -> str:
    return scorers.embedding_model(scorers.chosen("light", (scorers.EMBEDDING,))[0][scorers.EMBEDDING])


def insert(opened: Catalog, table: str, frame: pl.DataFrame) -> None:
    """Append rows; columns that `frame` lacks are NULL."""
    with opened._writing() as connection:
        columns = connection.table(table).columns
        missing = [pl.lit(None).alias(name) for name in columns if name not in frame.columns]
        connection.from_arrow(frame.with_columns(missing).select(columns).to_arrow()).insert_into(table)


def register(opened: Catalog) -> dict[str, int]:
    """Metric -> scorer id, of what deduplication looks at."""
    names = ("aesthetic", *metrics.names(learned=False))
    return scorers.register(
        opened, {name: scorers.ScorerId(name, "model", "1", "none", "bench") for name in names}
    )


def add(opened: Catalog, vectors: np.ndarray, which: np.ndarray, first: int) -> None:
    """Enter images first, first + 1, ... with the vectors of `which`, as ingest and scoring would have."""
    rng = np.random.default_rng(first)
    count = len(which)
    ids = np.arange(first, first + count)
    folder = opened.root / "embeddings" / model()
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"score-{first:08d}-{start:012d}" for start in range(0, count, PART)]
    for n, name in enumerate(names):
        part = vectors[which[n * PART : (n + 1) * PART]]
        np.save(folder / f"{name}.npy", part)
        np.save(folder / f"{name}.thumb.npy", np.zeros((len(part), 32, 32, 3), np.uint8))
    now = pl.lit("2026-01-01").str.to_datetime()
    images = pl.DataFrame({"image_id": ids, "width": 800, "height": 600}).with_columns(
        sha256=pl.col("image_id").hash().cast(pl.String), source=pl.lit("bench"), status=pl.lit("ok"), ingested_at=now,
        uri=pl.lit("bench"), byte_offset=pl.lit(0), byte_length=pl.lit(1),
    )  # fmt: skip
    measured = {f"value_{n}": rng.random(count).astype(np.float32) for n in register(opened).values()}
    scores = pl.DataFrame({"image_id": ids, **measured}).with_columns(phash=pl.lit(0, pl.UInt64))
    places = pl.DataFrame(
        {
            "image_id": ids,
            "part": np.repeat(names, PART)[:count],
            "row": np.arange(count, dtype=np.int32) % PART,
        }
    ).with_columns(model=pl.lit(model()))
    for table, frame in (("images", images), ("measured", scores), ("embeddings", places)):
        insert(opened, table, frame)


def watched(work: Callable[[], Any]) -> tuple[Any, float, float, dict[str, int]]:
    """(result, CPU seconds, wall seconds, largest memory of any process in MB)."""
    most = {"RssAnon": 0, "VmRSS": 0}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            for pid in ["self", *(str(child.pid) for child in multiprocessing.active_children())]:
                try:
                    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
                except OSError:
                    continue
                for line in lines:
                    name, _, value = line.partition(":")
                    if name in most:
                        most[name] = max(most[name], int(value.split()[0]) // 1024)

    def spent() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    thread = threading.Thread(target=look)
    thread.start()
    cpu, wall = spent(), time.monotonic()
    result = work()
    cpu, wall = spent() - cpu, time.monotonic() - wall
    over.set()
    thread.join()
    return result, cpu, wall, most


def change(opened: Catalog, count: int) -> None:
    """Of every thousand images one becomes unreadable and one gets another aesthetic score."""
    best = register(opened)["aesthetic"]
    gone, other = np.split(np.random.default_rng(2).permutation(count)[: 2 * (count // 1000)] + 1, 2)
    frame = pl.concat(
        [
            pl.DataFrame({"image_id": gone}).with_columns(status=pl.lit("corrupt")),
            pl.DataFrame({"image_id": other}).with_columns(
                (pl.int_range(pl.len()) / len(other)).alias(f"value_{best}")
            ),
        ],
        how="diagonal",
    )
    schema = part_schema({best: "aesthetic"})
    missing = [pl.lit(None).alias(name) for name in schema if name not in frame.columns]
    frame = frame.with_columns(missing).select(pl.col(name).cast(kind) for name, kind in schema.items())
    part = parts.write(opened.root, "bench", "bench-change", frame)
    opened.commit_part("bench", part, ["score/part", "score/part_status"], {"scorers": [best]})


def forget(opened: Catalog) -> None:
    """As if nothing had ever been deduplicated."""
    (opened.root / "embeddings" / model() / FILE).unlink()
    none = opened.sql("FROM clusters LIMIT 0")
    opened.commit_part("dedup", parts.write(opened.root, "bench", "bench-none", none), ["dedup/clear"])


def together(opened: Catalog, images: np.ndarray, sources: np.ndarray) -> float:
    """The share of planted pairs (a source, and the last of the planted rows in turn) in one cluster."""
    found = opened.sql("SELECT image_id, keeper_id FROM clusters")
    keeper = np.zeros(len(images) + 1, dtype=np.int64)
    keeper[found["image_id"].to_numpy()] = found["keeper_id"].to_numpy()
    copies = np.arange(len(images) - len(sources), len(images))
    return float((keeper[images[sources]] == keeper[images[copies]]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--new", type=float, default=0.01, help="share of further images")
    parser.add_argument("--noise", type=float, default=0.7, help="length of a row's part outside its topic")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", help="where the catalog is made for a while (6 KB an image)")
    options = parser.parse_args()
    count, more = options.rows, int(options.rows * options.new)
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        planted = np.memmap(f"{scratch}/planted", dtype=np.float16, mode="w+", shape=(count + more, WIDTH))
        sources = plant(planted, options.noise)
        order = np.random.default_rng(1).permutation(count + more)
        images = np.argsort(order) + 1
        opened = catalog.open(Path(scratch) / "catalog")
        add(opened, planted, order[:count], 1)

        def run(name: str) -> tuple[float, pl.DataFrame]:
            found, cpu, wall, memory = watched(lambda: dedup(opened, workers=options.workers))
            print(
                f"{name}: {cpu:.1f} CPU s, {wall:.0f} s; memory {memory['RssAnon']} MB own, {memory['VmRSS']} MB with "
                f"files; {found.near} near-duplicates of {found.images}",
                flush=True,
            )
            return cpu, opened.sql("SELECT image_id, keeper_id, similarity FROM clusters ORDER BY image_id")

        whole, _ = run(f"{count} images from nothing")
        kept = (opened.root / "embeddings" / model() / FILE).stat().st_size
        print(f"    kept for the next time: {kept / 2**20:.0f} MB")
        add(opened, planted, order[count:], count + 1)
        again, _ = run(f"{more} images added")
        print(
            f"    {again / whole:.1%} of the first; {together(opened, images, sources):.5f} of the pairs joined"
        )
        change(opened, count)
        again, clusters = run("0.1% gone and 0.1% scored anew")
        print(f"    {again / whole:.1%} of the first")
        forget(opened)
        _, expected = run("the same images from nothing")
        print(f"    {int((clusters != expected).to_numpy().any(axis=1).sum())} images clustered otherwise")


if __name__ == "__main__":
    main()
