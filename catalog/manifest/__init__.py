"""Manifests: an immutable, ordered list of samples that training reads instead of the database.

A manifest is a folder with `manifest.json` and `samples.parquet` (one row per sample, in order). It is virtual when
the rows point at the original bytes (uri, offset, length); `lensdata build-shards` writes the same rows over its
own tars. Either way any sample is one ranged read away, so the trainer's plan can ask for them in any order.
"""

from catalog.manifest.files import (
    bucket_counts,
    bucket_rows,
    fingerprint_of,
    sample_meta,
    source_counts,
    write,
    write_info,
    write_samples,
)
from catalog.manifest.load import load
from catalog.manifest.model import Manifest, Sample, SampleError

__all__ = [
    "Manifest", "Sample", "SampleError", "bucket_counts", "bucket_rows", "fingerprint_of", "load", "sample_meta",
    "source_counts", "write", "write_info", "write_samples",
]  # fmt: skip
