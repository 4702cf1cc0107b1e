"""The catalog as its users meet it: a database that also selects images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from catalog.select import Selection
from catalog.store.database import Database


class Catalog(Database):
    """A catalog folder: `sql` and `stream` query it, `select` picks images by thresholds, stages fill it by parts."""

    def select(self, **thresholds: Any) -> Selection:
        """The images that pass the given thresholds and the defaults of the rest: see `catalog.select.Selection`."""
        return Selection(self, **thresholds)


def open(path: str | Path, read_only: bool = False) -> Catalog:
    """Open the catalog in the folder `path`; for writing it is made if absent and migrated if older.

    Raises BadInput if there is none to read, if `path` is not a folder, or if a newer Lens wrote it.
    """
    return Catalog(path, read_only)
