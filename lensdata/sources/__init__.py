"""Where images come from. A source is opened once, checked, and lists `Item`s in order; `describe` reads one."""

from lensdata.sources.choose import open, open_all
from lensdata.sources.describe import describe, describe_text
from lensdata.sources.item import Item
from lensdata.sources.source import DEFAULTS, Columns, Empty, Source
from lensdata.sources.survey import Survey
from lensdata.sources.texts.values import counted, mended

__all__ = [
    "DEFAULTS", "Columns", "Empty", "Item", "Source", "Survey", "counted", "describe", "describe_text", "mended",
    "open", "open_all",
]  # fmt: skip
