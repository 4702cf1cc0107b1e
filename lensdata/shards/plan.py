"""What a selection would give a training run, before anything is built."""

from __future__ import annotations

import polars as pl

from catalog.buckets import BUCKETS
from catalog.errors import BadInput
from catalog.mixture import taken


def batch_plan(counts: dict[str, int], gpus: int, sizes: dict[int, int]) -> tuple[pl.DataFrame, int]:
    """Batches per bucket and epoch, and the steps of an epoch.

    `counts`: samples of every epoch per bucket name; `sizes`: samples a batch by base (512, 768, 1024). A batch holds
    one bucket, so what does not fill one waits for another epoch's shuffle; every GPU takes one batch a step.
    """
    rows = []
    for bucket in BUCKETS:
        if bucket.name in counts:
            samples = counts[bucket.name]
            size = sizes[bucket.base]
            batches, over = divmod(samples, size)
            rows.append((bucket.name, bucket.base, bucket.aspect, samples, size, batches, over))
    columns = ["bucket", "base", "aspect", "samples", "batch", "batches", "left_over"]
    table = pl.DataFrame(rows, schema=columns, orient="row")
    return table, int(table["batches"].sum()) // gpus


def source_plan(rows: pl.DataFrame, mixture: dict[str, float]) -> tuple[pl.DataFrame, dict[str, int]]:
    """What each source gives an epoch on average, and the samples that every epoch has of each bucket.

    `rows` have bucket, source and the number of images in both; `mixture` gives repeats by source. `share` is of all
    samples an epoch asks for.
    """
    counts: dict[str, int] = {}
    for bucket, source, images in rows.select("bucket", "source", "images").iter_rows():
        counts[bucket] = counts.get(bucket, 0) + taken(images, mixture.get(source, 1.0), 1)
    repeats = pl.col("source").replace_strict(mixture, default=1.0, return_dtype=pl.Float64)
    samples = pl.col("images") * pl.col("repeats")
    sources = rows.group_by("source").agg(pl.sum("images"))
    sources = sources.with_columns(repeats=repeats).with_columns(samples=samples)
    sources = sources.with_columns(share=pl.col("samples") / pl.sum("samples"))
    return sources.sort("samples", "source", descending=[True, False]), counts


def parse_sizes(text: str) -> dict[int, int]:
    """`24,10,6` -> {512: 24, 768: 10, 1024: 6}. Raises BadInput for anything else."""
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if len(sizes) != 3 or min(sizes) < 1:
        raise BadInput(
            f"--batch takes three numbers, for the bases 512, 768 and 1024, such as 24,10,6; not {text!r}"
        )
    return dict(zip((512, 768, 1024), sizes, strict=True))
