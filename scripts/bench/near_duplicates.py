"""Recall, cost and memory of the near-duplicate search on planted pairs, beside exact brute force.

    python scripts/bench/near_duplicates.py [--million] [--noise 0.7] [--halves]

N rows x 768: a mixture of 2,000 topics (unit centre plus noise of the given length), of which 5% are copies of
earlier rows, their cosine uniform in 0.9855 to 0.999. Each size runs in a process of its own, for its peak memory:
that of the rows and the search, not of the interpreter. Brute force (all pairs i < j in blocks of products) is timed
on a slice of rows and extrapolated to all of them. At the end, 100,000 copies of one row.

scripts/bench/dedup_again.py measures the command, and what it costs to add to a catalog.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run from a checkout without installing

import numpy as np

from lensdata.dedup import near_duplicates

WIDTH, TOPICS, THRESHOLD = 768, 2_000, 0.985
BLOCK, SLICE = 8_192, 1_024


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def plant(out: np.ndarray, noise: float) -> np.ndarray:
    """Fill `out` [N, 768] block by block; returns the source of each of the last 5% of its rows."""
    rng = np.random.default_rng(0)
    centres = unit(rng.standard_normal((TOPICS, WIDTH), dtype=np.float32))
    pairs = len(out) // 20
    first = len(out) - pairs
    for start in range(0, first, BLOCK):
        rows = min(BLOCK, first - start)
        spread = rng.standard_normal((rows, WIDTH), dtype=np.float32) * (noise / WIDTH**0.5)
        out[start : start + rows] = unit(centres[rng.integers(TOPICS, size=rows)] + spread)
    sources = rng.choice(first, pairs, replace=False)
    for start in range(0, pairs, BLOCK):
        row = unit(out[sources[start : start + BLOCK]].astype(np.float32))
        cosine = rng.uniform(0.9855, 0.999, (len(row), 1)).astype(np.float32)
        away = rng.standard_normal(row.shape, dtype=np.float32)
        away = unit(away - (away * row).sum(axis=1, keepdims=True) * row)
        at = first + start
        out[at : at + len(row)] = cosine * row + np.sqrt(1 - cosine**2) * away
    return sources


def brute_force_seconds(rows: np.ndarray) -> float:
    """CPU seconds of all pairs, from the products of a slice of rows with all rows."""
    left = rows[:SLICE].astype(np.float32)
    start = time.process_time()
    for at in range(0, len(rows), BLOCK):
        np.nonzero(left @ rows[at : at + BLOCK].astype(np.float32, copy=False).T > THRESHOLD)
    return (time.process_time() - start) * len(rows) / SLICE / 2


def cosines(rows: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """In fp64, a few pairs at a time."""
    found = [np.empty(0)]
    for start in range(0, len(left), BLOCK):
        a, b = (rows[ids[start : start + BLOCK]].astype(np.float64) for ids in (left, right))
        found.append((unit(a) * unit(b)).sum(axis=1))
    return np.concatenate(found)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(task: tuple[int, float, bool]) -> dict[str, float]:
    """In a process of its own: plant, search, check every pair that was found."""
    count, noise, halves = task
    interpreter = peak_bytes()
    with tempfile.NamedTemporaryFile(suffix=".rows") as file:
        if halves:
            rows: np.ndarray = np.memmap(file.name, dtype=np.float16, mode="w+", shape=(count, WIDTH))
        else:
            rows = np.empty((count, WIDTH), dtype=np.float32)
        sources = plant(rows, noise)
        started = time.process_time()
        keeper, similarity = near_duplicates(rows, THRESHOLD)
        seconds = time.process_time() - started
        peak = peak_bytes() - interpreter
        members = np.flatnonzero(keeper != np.arange(count))
        true = cosines(rows, members, keeper[members])
        planted = cosines(rows, sources, np.arange(count - len(sources), count)) > THRESHOLD
        return {
            "recall": float((keeper[count - len(sources) :] == sources)[planted].mean()),
            "false": int((true <= THRESHOLD).sum()),
            "found": len(members),
            "error": float(np.abs(true - similarity[members]).max(initial=0)),
            "seconds": seconds,
            "memory": peak / rows.nbytes,
            "brute": brute_force_seconds(rows),
        }


def heavy() -> None:
    """What would be 5,000,000,000 pairs: one picture 100,000 times, exactly and nearly."""
    rng = np.random.default_rng(1)
    centre = unit(rng.standard_normal((1, WIDTH), dtype=np.float32))
    nearly = unit(centre + 0.08 * unit(rng.standard_normal((100_000, WIDTH), dtype=np.float32)))
    for name, rows in (("identical", np.repeat(centre, 100_000, axis=0)), ("nearly identical", nearly)):
        started = time.process_time()
        keeper, _ = near_duplicates(rows, THRESHOLD)
        print(
            f"100,000 {name} rows: {time.process_time() - started:.2f} CPU s, {len(set(keeper.tolist()))} kept"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--million", action="store_true", help="also 1,000,000 rows (3 GB, minutes)")
    parser.add_argument("--noise", type=float, default=0.7, help="length of a row's part outside its topic")
    parser.add_argument("--halves", action="store_true", help="rows in a memory-mapped file of fp16")
    options = parser.parse_args()
    before: tuple[int, float] | None = None
    for count in (30_000, 100_000, 1_000_000) if options.million else (30_000, 100_000):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            result = pool.apply(measure, ((count, options.noise, options.halves),))
        faster = result["brute"] / result["seconds"]
        print(
            f"{count:>9,} rows: recall {result['recall']:.5f}, false pairs {result['false']}, found {result['found']:,}"
        )
        print(
            f"           {result['seconds']:.1f} CPU s, brute force {result['brute']:.0f} CPU s: {faster:.1f} x"
        )
        print(
            f"           peak memory {result['memory']:.2f} x the rows; similarity within {result['error']:.1e}"
        )
        if before:
            exponent = math.log(result["seconds"] / before[1]) / math.log(count / before[0])
            print(f"           CPU time grows as N^{exponent:.2f} from {before[0]:,}")
        before = count, result["seconds"]
    heavy()


if __name__ == "__main__":
    main()
