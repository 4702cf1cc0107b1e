"""Listing a source as ingest does, without a catalog."""

from __future__ import annotations

from pathlib import Path

from lensdata.sources import DEFAULTS, Columns, Item, Survey, open


def listed(place: Path | str, survey: Survey | None = None, columns: Columns = DEFAULTS) -> list[Item]:
    """The items of a source that keeps nothing. Raises what checking and listing it raise."""
    source = open(place, columns)
    source.check()
    return list(source.list(survey or Survey(), Path("/nowhere")))
