"""Where images come from. A source lists `Item`s in a fixed order; `describe` reads one."""

from lensdata.sources.describe import describe
from lensdata.sources.discover import discover, require
from lensdata.sources.item import Item
from lensdata.sources.survey import Survey
from lensdata.sources.tables import DEFAULTS, Columns

__all__ = ["DEFAULTS", "Columns", "Item", "Survey", "describe", "discover", "require"]
