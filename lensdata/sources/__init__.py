"""Where images come from. A source lists `Item`s in a fixed order; reading their bytes is the ingest stage's work."""

from lensdata.sources.discover import discover, require
from lensdata.sources.item import Item

__all__ = ["Item", "discover", "require"]
