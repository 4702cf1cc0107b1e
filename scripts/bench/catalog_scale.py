#!/usr/bin/env python3
"""The catalog at 1M, 10M, ... images: opening, selecting, the funnel, committing; ratios to a limit of the same run.

Run it by hand: python scripts/bench/catalog_scale.py [--images 1000000 10000000] [--folder DIR]
Everything is CPU seconds of this process, DuckDB's threads among them: the median of a few rounds in which the
contenders take turns. About 110 bytes of disk an image, and 85 more for the snapshot.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import duckdb
import numpy as np
import polars as pl

import catalog
from catalog import metrics
from catalog.buckets import BUCKETS
from catalog.store import parts, snapshot
from lensdata import score, scorers
from lensdata.ask import sweep_table, why
from lensdata.listing import PAGE_ITEMS, Listing
from lensdata.models import ScorerId
from lensdata.sources import Item, Source, Survey

ROUNDS = 5
FILL = Path(__file__).with_name("catalog_scale.sql").read_text(encoding="utf-8")
FILL_IMAGES = 1_000_000  # at a time
MOST_JOINED = 20_000_000  # without the snapshot the funnel of 10M images takes 5 GB
PART = 1_000_000
SCORERS = dict(enumerate(metrics.names(), 1))  # id -> metric, as the catalog numbers them
SIX = (
    "nsfw <= 0.5 AND aesthetic >= 3 AND watermark <= 0.75 AND clarity >= 20 AND entropy >= 1"
    " AND luminance BETWEEN 0.05 AND 0.98"
)
REST = "area >= 384 * 384 AND is_keeper AND status IN ('ok', 'ok-warnings')"
HISTOGRAM = (
    f"SELECT base, aspect, count(*) AS images FROM {{}} WHERE {SIX} AND {REST} GROUP BY ALL ORDER BY ALL"
)
SECOND = {"aesthetic": "other", "nsfw": "other"}  # metrics that another scorer has measured, too
COUNT = f"SELECT count(*) FROM scores WHERE {SIX}"
JOINED = """(
    SELECT nsfw, aesthetic, watermark, clarity, entropy, luminance, i.width::BIGINT * i.height AS area, status,
           k.keeper_id = image_id AS is_keeper, base, aspect
    FROM images i JOIN scores s USING (image_id) JOIN clusters k USING (image_id) JOIN buckets b USING (image_id)
)"""
BYTES = """
SELECT count(DISTINCT block_id) * 262144 FROM pragma_storage_info('{}') WHERE persistent AND block_id >= 0
"""


def fill(root: Path, images: int) -> None:
    """A catalog of `images` rows in every table of the images."""
    opened = catalog.open(root)
    ids = {name: ScorerId(name, "model", "1", "none", "bench") for name in metrics.names()}
    assert {n: name for name, n in scorers.register(opened, ids).items()} == SCORERS
    names = [{"place": n, "base": b.base, "aspect": b.aspect, "width": b.width, "height": b.height}
             for n, b in enumerate(BUCKETS, 1)]  # fmt: skip
    with duckdb.connect(str(root / "catalog.duckdb")) as connection:
        connection.register("bucket_names", pl.DataFrame(names).to_arrow())
        for first in range(1, images + 1, FILL_IMAGES):
            span = {"first": first, "last": min(first + FILL_IMAGES - 1, images)}
            for statement in duckdb.extract_statements(FILL):
                used = {key: value for key, value in span.items() if f"${key}" in statement.query}
                connection.execute(statement.query, used)


def second_scorers(root: Path) -> None:
    """Scores of two more scorers beside those in use."""
    opened = catalog.open(root)
    ids = scorers.register(opened, {name: ScorerId(name, "other", "1", "none", "bench") for name in SECOND})
    with duckdb.connect(str(root / "catalog.duckdb")) as connection:
        for number, (metric, scorer) in enumerate(ids.items(), 20):
            spread = "1250003.0" if metric == "nsfw" else "250000.0 + 2.6"
            connection.execute(
                f"UPDATE measured SET value_{scorer} = hash(image_id + {number}) % 1000003 / {spread}"
            )


def timed(contenders: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """CPU seconds of each contender: the median of `rounds`, after one uncounted."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for counted in range(-1, rounds):
        for name, work in contenders.items():
            start = time.process_time()
            work()
            if counted >= 0:
                taken[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in taken.items()}


def _cpu(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def frame_of(first: int, rows: int, vectors: bool = True, step: int = 1) -> pl.DataFrame:
    """What scoring writes for `rows` images, every `step`-th from id `first` on."""
    rng = np.random.default_rng(first)
    columns: dict[str, object] = {
        "image_id": np.arange(first, first + rows * step, step), "status": "ok",
        "phash": rng.integers(0, 2**63, rows, dtype=np.uint64),
    }  # fmt: skip
    for n in SCORERS:
        columns[f"value_{n}"] = rng.random(rows, dtype=np.float32)
    if vectors:
        columns |= {"embedding_model": "model@1", "embedding_row": np.arange(rows)}
    frame = pl.DataFrame({k: v for k, v in columns.items() if isinstance(v, np.ndarray)}).with_columns(
        pl.lit(v).alias(k) for k, v in columns.items() if not isinstance(v, np.ndarray)
    )
    return frame.select(
        (pl.col(name) if name in columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in score.part_schema(SCORERS).items()
    )


def commit(opened: catalog.Catalog, part: Path) -> None:
    opened.commit_part("score", part, score.STAGE.commit, {"scorers": list(SCORERS)})


def commits(opened: catalog.Catalog, images: int) -> dict[str, float]:
    """CPU seconds of committing ordinary parts: new images, images in the middle once more, scattered ones."""
    found = {}
    for rows in (128, 512):
        starts = {
            "new": (images + 1 + 100 * rows, 1),
            "again": (images // 2, 1),
            "scattered": (1, images // rows),
        }
        for label, (first, step) in starts.items():
            taken = []
            for n in range(ROUNDS):
                frame = frame_of(first + n * rows * (label == "new"), rows, step=step)
                part = parts.write(opened.root, "score", f"bench-{time.time_ns()}", frame)
                taken.append(_cpu(lambda p=part: commit(opened, p)))
            found[f"commit {rows} {label}"] = statistics.median(taken)
    return found


def large_commit(opened: catalog.Catalog, images: int) -> dict[str, float]:
    """CPU seconds of committing a part of a million new images, and of writing its frame as Parquet."""
    names = ("parquet", "DuckDB's parquet", "commit", "parquet, vectors", "commit, vectors")
    found: dict[str, list[float]] = {name: [] for name in names}
    first = images + 1_000_000
    for _ in range(3):
        for vectors in (False, True):
            also = ", vectors" if vectors else ""
            frame = frame_of(first, PART, vectors)
            first += PART
            name = f"bench-{time.time_ns()}"
            found[f"parquet{also}"].append(
                _cpu(lambda f=frame, n=name: parts.write(opened.root, "score", n, f))
            )
            part = opened.root / "parts" / "score" / f"{name}.parquet"
            if not vectors:
                copy = f"COPY (FROM '{part}') TO '{opened.root / 'copy.parquet'}' (COMPRESSION zstd)"
                found["DuckDB's parquet"].append(_cpu(lambda c=copy: duckdb.connect().execute(c)))
            found[f"commit{also}"].append(_cpu(lambda p=part: commit(opened, p)))
    return {name: statistics.median(values) for name, values in found.items()}


class Names(Source):
    """The names of `count` images from id `first` on, as `fill` wrote them; beyond its last they are new."""

    def __init__(self, first: int, count: int) -> None:
        super().__init__(Path("/data/images"))
        self.ids = range(first, first + count)

    def check(self) -> None:
        pass

    def _items(self, survey: Survey, root: Path, retry: bool) -> Iterator[Item]:
        for n in self.ids:
            tar, row = divmod(n, 10_000)
            given = (100_000, None, None, 2_048_000_000, 1767225600000000000 + tar)
            yield Item(f"/data/images/part-{tar:06d}.tar", row * 204_800, *given)


def listing(opened: catalog.Catalog, images: int) -> dict[str, float]:
    """CPU seconds of looking up a million names, none of which is known."""

    def look_up() -> None:
        with Listing(opened, Survey(), False) as pages:
            for _ in pages.todo([Names(images + 1_000_001, PART)]):
                pass

    def one_by_one() -> None:
        with patch.object(Listing, "_limit", lambda self: PAGE_ITEMS):
            look_up()

    def names() -> None:
        assert sum(1 for _ in Names(images + 1, PART).list(Survey(), opened.root)) == PART

    return {"listing 1M names": _cpu(names), "listing and looking them up": _cpu(look_up),
            "the same in pages of one size": _cpu(one_by_one)}  # fmt: skip


def measure(root: Path, images: int) -> dict[str, float]:
    """Every figure of a catalog of `images`, printed as it comes."""
    database = root / "catalog.duckdb"
    found: dict[str, float] = {}

    def show(figures: dict[str, float], unit: str = "CPU s") -> None:
        found.update(figures)
        for name, value in figures.items():
            print(f"  {name:<42} {value:10.3f} {unit}", flush=True)

    reader = catalog.open(root, read_only=True)
    chosen = reader.select(captions=("alt",))
    with duckdb.connect(str(database), read_only=True) as plain:
        tables = ("images", "measured", "embeddings", "clusters", "captions", "buckets")
        sizes = {
            f"bytes an image: {name}": plain.execute(BYTES.format(name)).fetchall()[0][0] / images
            for name in tables
        }
    show(sizes, "bytes")
    show(
        timed(
            {
                "open to read": lambda: catalog.open(root, read_only=True),
                "open to write": lambda: catalog.open(root),
            }
        )
    )
    joins = {
        "histogram, joins": lambda: reader.sql(HISTOGRAM.format("trainable")),
        "funnel, joins": chosen.funnel,
    }
    with patch.object(snapshot, "LEAST_IMAGES", 10**12):
        if images <= MOST_JOINED:
            show({name: _cpu(work) for name, work in joins.items()})
            show({"peak memory, joins": peak_gigabytes(root, 10**12)}, "GB")
        show({"why": _cpu(lambda: why(chosen, images // 2))})
    with patch.object(snapshot, "LEAST_IMAGES", 0):
        show({"first query (makes the snapshot)": _cpu(chosen.funnel)})
        made = next((root / "cache").glob("*.duckdb"))
        show({"bytes an image: snapshot": made.stat().st_size / images}, "bytes")
        flat = root / "flat.duckdb"
        with duckdb.connect(str(flat)) as plain:
            plain.execute(f"ATTACH '{database}' AS source (READ_ONLY); USE source")
            plain.execute(f"CREATE TABLE flat.flat AS FROM {JOINED}")
        histogram = HISTOGRAM.format("trainable")
        assert reader.sql(histogram).rows() == bare(flat, HISTOGRAM.format("flat"))
        show(timed({
            "histogram": lambda: reader.sql(histogram),
            "histogram, bare scan of one flat table": lambda: bare(flat, HISTOGRAM.format("flat")),
            "histogram, bare joins by hand": lambda: bare(database, HISTOGRAM.format(JOINED)),
            "six thresholds, bare scan of `scores`": lambda: bare(database, COUNT),
        }))  # fmt: skip
        flat.unlink()
        show(timed({
            "funnel": chosen.funnel, "overlaps": chosen.overlaps,
            "sweep of 17 steps": lambda: sweep_table(chosen, "aesthetic", "2", "6", "0.25"),
            "the whole selection as a frame": chosen.frame,
        }, 3))  # fmt: skip
        show({"peak memory, snapshot": peak_gigabytes(root, 0)}, "GB")
        made.unlink()
        show({"peak memory, making it": peak_gigabytes(root, 0)}, "GB")
    second_scorers(root)
    chosen = reader.select(captions=("alt",), scorers=SECOND)
    with patch.object(snapshot, "LEAST_IMAGES", 0):
        named = chosen.catalog
        show({"first query by two named scorers": _cpu(lambda: named.sql(histogram))})
        show(timed({"histogram, by two named scorers": lambda: named.sql(histogram)}))
        for path in (root / "cache").glob("*"):
            path.unlink()
    writer = catalog.open(root)
    show(listing(writer, images))
    show(commits(writer, images))
    show(large_commit(writer, images))
    return found


def bare(database: Path, query: str) -> list[tuple[object, ...]]:
    """The rows that plain DuckDB gives."""
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(query).fetchall()


def peak_gigabytes(root: Path, least: int) -> float:
    """Peak memory of a process that asks for the funnel and the histogram, with a snapshot from `least` images on."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import catalog; from catalog.store import snapshot\n"
        "snapshot.LEAST_IMAGES = int(sys.argv[4]); c = catalog.open(sys.argv[2], read_only=True)\n"
        "c.select(captions=('alt',)).funnel(); c.sql(sys.argv[3])\n"
        "status = open('/proc/self/status').read()\n"  # ru_maxrss would be the parent's
        "print(int(status.partition('VmHWM:')[2].split()[0]) / 1e6)"
    )
    line = [sys.executable, "-c", code, sys.path[0], str(root), HISTOGRAM.format("trainable"), str(least)]
    return float(subprocess.run(line, check=True, capture_output=True).stdout)


def main() -> None:
    """Measure a catalog of each size and print the ratios."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=int, nargs="+", default=[1_000_000, 10_000_000])
    options.add_argument("--folder", type=Path, help="where to put them (default: a temporary folder)")
    args = options.parse_args()
    before: dict[str, float] = {}
    for images in args.images:
        with tempfile.TemporaryDirectory(dir=args.folder) as name:
            root = Path(name) / "catalog"
            print(f"{images} images, filled in {_cpu(lambda r=root, n=images: fill(r, n)):.0f} CPU s")
            found = measure(root, images)
        ratios = {
            "histogram / bare scan of one flat table": (
                "histogram",
                "histogram, bare scan of one flat table",
            ),
            "histogram by named scorers / bare scan": (
                "histogram, by two named scorers",
                "histogram, bare scan of one flat table",
            ),
            "histogram / bare joins by hand": ("histogram", "histogram, bare joins by hand"),
            "histogram / bare scan of `scores`": ("histogram", "six thresholds, bare scan of `scores`"),
            "17 funnels / one sweep": ("funnel", "sweep of 17 steps"),
            "commit of 1M scores / Parquet": ("commit", "parquet"),
            "commit of 1M scores / DuckDB's Parquet": ("commit", "DuckDB's parquet"),
            "commit of 1M scores and vectors / Parquet": ("commit, vectors", "parquet, vectors"),
        }
        for label, (above, below) in ratios.items():
            times = 17 if label.startswith("17") else 1
            print(f"  {label:<42} {times * found[above] / found[below]:10.2f} x")
        for label in found:
            if before and label.startswith(("commit 1", "commit 5")):
                print(f"  {label}, to the size before{'':<16} {found[label] / before[label]:10.2f} x")
        before = found


if __name__ == "__main__":
    main()
