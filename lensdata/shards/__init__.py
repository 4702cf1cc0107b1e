"""Shards: a manifest's samples as bucket-pure WebDataset tars, the same bytes every time."""

from lensdata.shards.builder import Built, build
from lensdata.shards.diff import diff
from lensdata.shards.plan import batch_plan, parse_sizes, source_plan
from lensdata.shards.resume import resume, wishes
from lensdata.shards.verifier import verify

__all__ = [
    "Built",
    "batch_plan",
    "build",
    "diff",
    "parse_sizes",
    "resume",
    "source_plan",
    "verify",
    "wishes",
]
