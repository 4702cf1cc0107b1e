"""Shards: a manifest's samples as bucket-pure WebDataset tars, the same bytes every time."""

from lensdata.shards.build import Built, build
from lensdata.shards.verify import verify

__all__ = ["Built", "build", "verify"]
