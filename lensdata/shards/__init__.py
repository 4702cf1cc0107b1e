"""Shards: a manifest's samples as bucket-pure WebDataset tars, the same bytes every time."""

from lensdata.shards.builder import Built, build, settings
from lensdata.shards.diff import compare, diff
from lensdata.shards.folder import beside
from lensdata.shards.plan import batch_plan, parse_sizes, source_plan
from lensdata.shards.resume import resume, wishes
from lensdata.shards.verifier import verify

__all__ = [
    "Built",
    "batch_plan",
    "beside",
    "build",
    "compare",
    "diff",
    "parse_sizes",
    "resume",
    "settings",
    "source_plan",
    "verify",
    "wishes",
]
