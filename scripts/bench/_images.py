"""Images and a catalog of them for the benchmarks of shards and loading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

import catalog
from catalog import manifest
from catalog.store import parts

# What only prepares the images is imported where it is used: spawned workers import the benchmark, too.
GOOD = {"nsfw": 0.1, "aesthetic": 5.0, "watermark": 0.1, "clarity": 500.0, "entropy": 6.0, "luminance": 0.5}


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


def prepare(root: Path, images: Path, name: str | None = "bench") -> manifest.Manifest | None:
    """A catalog in which every image passes, and a manifest of that name over all of them."""
    from lensdata import score, scorers
    from lensdata.bucket import bucket
    from lensdata.caption import FromSource, caption
    from lensdata.ingest import ingest
    from lensdata.models import ScorerId

    opened = catalog.open(root)
    ingest(opened, [images])
    ids = scorers.register(opened, {name: ScorerId(name, "bench", "1", "none", "bench") for name in GOOD})
    values = {f"value_{ids[metric]}": value for metric, value in GOOD.items()}
    frame = opened.sql("SELECT image_id, 'ok' AS status FROM images")
    frame = frame.with_columns(pl.lit(value).alias(column) for column, value in values.items())
    schema = score.part_schema({number: metric for metric, number in ids.items()})
    missing = [pl.lit(None).alias(column) for column in schema if column not in frame.columns]
    frame = frame.with_columns(missing).select(pl.col(column).cast(kind) for column, kind in schema.items())
    part = parts.write(opened.root, "score", "score-bench", frame)
    opened.commit_part("score", part, score.STAGE.commit, {"scorers": list(ids.values())})
    caption(opened, FromSource())
    bucket(opened)
    return opened.select(dedup=False).manifest(name) if name else None
