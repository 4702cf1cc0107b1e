"""Shards: a manifest's samples as bucket-pure WebDataset tars, the same bytes every time."""

from lensdata.shards.builder import Built, build
from lensdata.shards.verifier import verify

__all__ = ["Built", "build", "verify"]
