"""Assign every readable image to one of the 27 training buckets."""

from __future__ import annotations

import polars as pl

from catalog import parts
from catalog.buckets import assign
from catalog.store import Catalog


def bucket(catalog: Catalog) -> int:
    """Assign the images that have no bucket yet and return how many there were.

    `catalog.buckets.assign` states the rule; it is asked once for each distinct size.
    """
    with catalog.job("bucket"):
        pending = catalog.named("bucket_pending")
        if pending.is_empty():
            return 0
        sizes = pending.select("width", "height").unique()
        found = [assign(width, height) for width, height in sizes.iter_rows()]
        chosen = sizes.with_columns(
            base=pl.Series([b.base for b in found], dtype=pl.Int32),
            aspect=pl.Series([b.aspect for b in found]),
            bucket_width=pl.Series([b.width for b in found], dtype=pl.Int32),
            bucket_height=pl.Series([b.height for b in found], dtype=pl.Int32),
        )
        frame = pending.join(chosen, on=["width", "height"], how="left", maintain_order="left").select(
            "image_id", "base", "aspect", width="bucket_width", height="bucket_height"
        )
        part = parts.write(catalog.root, "bucket", f"bucket-{catalog.version:08d}", frame)
        catalog.commit_part("bucket", part, ["bucket_part"])
    return len(pending)
