"""The catalog as its users meet it: a database that also selects images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.errors import URL, BadInput
from catalog.store.database import Database

if TYPE_CHECKING:
    from catalog.select import Selection


class Catalog(Database):
    """A catalog folder: `sql` queries it, `select` picks images by thresholds, stages fill it by parts."""

    def select(self, **thresholds: Any) -> Selection:
        """The images that pass the given thresholds and the defaults of the rest: see `catalog.select.Selection`."""
        from catalog.select import Selection  # a query needs no selection, nor manifests

        return Selection(self, **thresholds)


def open(path: str | Path, read_only: bool = False, at_once: bool = True) -> Catalog:
    """Open the catalog in the folder `path`; for writing it is made if absent and migrated if older.

    Raises BadInput if there is none to read, if `path` is a URL or not a folder, or if a newer Lens wrote it; the
    last only with the first query if `at_once` is off, which saves a reader from opening the database twice.
    """
    if isinstance(path, str) and re.match(URL, path):
        raise BadInput(f"a catalog is a folder on this machine; {path} is a URL")
    return Catalog(path, read_only, at_once)
