"""Near-duplicates: every dropped image is within the threshold of the image kept in its place."""

from lensdata.dedup.near import near_duplicates
from lensdata.dedup.stage import dedup

__all__ = ["dedup", "near_duplicates"]
