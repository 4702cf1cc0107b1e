"""Where images come from. A source lists `Item`s in a fixed order; reading their bytes is the ingest stage's work."""

from lensdata.sources.item import Item, discover, require

__all__ = ["Item", "discover", "require"]
