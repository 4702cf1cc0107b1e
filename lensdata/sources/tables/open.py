"""Opening a file of rows by its ending."""

from __future__ import annotations

from catalog.bytes.place import Facts, Place, suffix
from lensdata.sources.item import LINE_SUFFIXES
from lensdata.sources.tables.linefile import LineFile
from lensdata.sources.tables.reader import TableFile
from lensdata.sources.tables.rowfile import RowFile


def row_file(place: Place, facts: Facts) -> RowFile:
    """The Parquet, Arrow, CSV, TSV or JSON lines file `place`; nothing is read yet."""
    return LineFile(place, facts) if suffix(place) in LINE_SUFFIXES else TableFile(place, facts)
