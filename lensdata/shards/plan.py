"""What a selection would give a training run, before anything is built."""

from __future__ import annotations

import polars as pl

from catalog.buckets import BUCKETS
from catalog.errors import BadInput


def batch_plan(counts: dict[str, int], gpus: int, sizes: dict[int, int]) -> tuple[pl.DataFrame, int]:
    """Batches per bucket and epoch, and the steps of an epoch.

    `counts`: samples per bucket name; `sizes`: samples a batch by base (512, 768, 1024). A batch holds one bucket,
    so what does not fill one waits for another epoch's shuffle; every GPU takes one batch a step.
    """
    rows = []
    for bucket in BUCKETS:
        samples = counts.get(bucket.name, 0)
        if samples:
            size = sizes[bucket.base]
            batches, over = divmod(samples, size)
            rows.append((bucket.name, bucket.base, bucket.aspect, samples, size, batches, over))
    columns = ["bucket", "base", "aspect", "samples", "batch", "batches", "left_over"]
    table = pl.DataFrame(rows, schema=columns, orient="row")
    return table, int(table["batches"].sum()) // gpus


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
