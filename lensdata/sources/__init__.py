"""Where images come from. A source is opened once, checked, and lists `Item`s in order; `describe` reads one."""

from lensdata.sources.choose import open, open_all
from lensdata.sources.describe import describe
from lensdata.sources.item import Item
from lensdata.sources.source import DEFAULTS, Columns, Empty, Source
from lensdata.sources.survey import Survey

__all__ = ["DEFAULTS", "Columns", "Empty", "Item", "Source", "Survey", "describe", "open", "open_all"]
