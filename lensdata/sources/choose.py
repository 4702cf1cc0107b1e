"""What a place is: the choice of its source, and which sources of a command list the same."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from catalog.bytes import locate
from catalog.bytes.place import Facts, Place, facts_of, info, printable, reason, require_utf8, suffix
from catalog.errors import BadInput, Unreadable
from lensdata.sources.folder import Folder
from lensdata.sources.glob import Glob, is_pattern
from lensdata.sources.hub.dataset import HubDataset
from lensdata.sources.hub.stream import SCHEME
from lensdata.sources.item import IMAGE_SUFFIXES, LINE_SUFFIXES, TABLE_SUFFIXES
from lensdata.sources.lists.address import HTTP
from lensdata.sources.lists.url_list import UrlList
from lensdata.sources.prefix import Prefix
from lensdata.sources.source import DEFAULTS, Columns, Source
from lensdata.sources.tables.columns import is_list
from lensdata.sources.tables.open import row_file
from lensdata.sources.tables.table import Table, files_of, is_saved
from lensdata.sources.tar import Tar
from lensdata.sources.walk import Walk

SHOWN = 40  # characters of a data: URI


def parse(text: str) -> Place:
    """What a source on the command line names: a URL stays one, file:// and anything else is a path. Raises BadInput
    for an empty one, which an unset variable of a shell leaves (as a path it would be the current folder), and for a
    `data:` URI."""
    path = text.removeprefix("file://")
    if path[:5].lower() == "data:" and "," in path and not os.path.exists(path):  # noqa: PTH110 (too long a name is none)
        raise BadInput(
            f"{printable(path[:SHOWN])}... is an image itself and no place of images; put it into a column "
            "`image` of a table, in quotes if that is a .csv, or save it as a file in a folder"
        )
    if not path.strip():
        raise BadInput("a source is empty; write `.` for the current folder")
    return path if "://" in path else Path(path)


def open_all(places: Sequence[Place | Source], columns: Columns = DEFAULTS) -> list[Source]:
    """The sources, opened and checked, without one that another's listing reaches anyway; those that are opened
    already stay as they are.

    Raises BadInput for the first that is missing, of another kind or holds nothing, before any work is done.
    """
    opened = [place for place in places if isinstance(place, Source)]
    names = dict.fromkeys(_normalised(place) for place in places if not isinstance(place, Source))
    found = [open(place, columns) for place in names]
    for source in sorted(
        found, key=lambda source: not isinstance(source, Walk)
    ):  # a folder's tables are known then
        if not _reached(source, found):
            source.check()
    return opened + [source for source in found if not _reached(source, found)]


def open(place: Place, columns: Columns = DEFAULTS) -> Source:
    """The source that `place` is: a folder or prefix, a tar, a table, a list of URLs, a Hugging Face dataset, or what a
    pattern matches. `columns` says where tables and lists have what.

    Raises BadInput if there is nothing, or nothing that can be a source.
    """
    place = _normalised(place)
    if isinstance(place, str) and place.startswith(SCHEME):
        return HubDataset(place, columns)
    if _is_one_image(place):
        raise BadInput(
            f"{printable(str(place))} is one image by its name; put its URL into a list (a text file with a URL a "
            "line) and ingest that"
        )
    try:
        folder, facts = _look(place)
    except FileNotFoundError:
        if is_pattern(place):
            return Glob(place, columns)
        if _is_web(place):
            raise BadInput(
                f"there is nothing at {printable(str(place))}, or no answer from there; if it is the URL of an image, "
                "put it into a list (a text file with a URL a line) and ingest that"
            ) from None
        raise BadInput(f"there is no file or folder {printable(str(place))}") from None
    except OSError as error:
        raise BadInput(f"{printable(str(place))} cannot be read: {reason(error)}") from None
    except Unreadable as error:
        raise BadInput(str(error)) from None
    if folder:
        if isinstance(place, str):
            return Prefix(place, columns)
        return Table(place, files_of(place), columns) if is_saved(place) else Folder(place, columns)
    if suffix(place) in IMAGE_SUFFIXES:
        above = str(place).rpartition("/")[0] or "/"
        raise BadInput(
            f"{printable(str(place))} is one image; name its folder, {printable(above)}, or a pattern in quotes "
            "that it matches"
        )
    if suffix(place) == ".txt":
        return UrlList(place, facts, columns)
    if suffix(place) in (*TABLE_SUFFIXES, *LINE_SUFFIXES):
        table = row_file(place, facts)
        if is_list(table, columns):
            return UrlList(place, facts, columns, table)
        return Table(place, [table], columns)
    return Tar(place, facts)


def _is_one_image(place: Place) -> bool:
    """Whether `place` is a web address that ends like an image's."""
    path = re.split("[?#]", str(place).partition("://")[2])[0]
    return _is_web(place) and "/" in path and suffix(path) in IMAGE_SUFFIXES


def _is_web(place: Place) -> bool:
    return isinstance(place, str) and place.partition("://")[0].lower() in HTTP


def _look(place: Place) -> tuple[bool, Facts]:
    """Whether it is a folder, and its size and time. Raises OSError, Unreadable, and BadInput for what is neither
    folder nor file: opening a pipe would block for ever."""
    if isinstance(place, str):
        found = info(place)
        return found["type"] == "directory", facts_of(found)
    at = place.stat()
    if not stat.S_ISDIR(at.st_mode) and not stat.S_ISREG(at.st_mode):
        raise BadInput(
            f"{printable(str(place))} is a pipe, socket or device, not a folder of images or a WebDataset .tar"
        )
    return stat.S_ISDIR(at.st_mode), (at.st_size, at.st_mtime_ns)


def _reached(source: Source, among: Sequence[Source]) -> bool:
    return any(other.reaches(source) for other in among if other is not source)


def _normalised(place: Place) -> Place:
    require_utf8(place)
    if isinstance(place, str):
        if (shown := locate.without_login(place)) != place:
            raise BadInput(
                f"{printable(shown)} came with a password, which would be stored with every image; "
                "give it to the backend instead (its environment variables or files: docs/sources.md)"
            )
        return place if place.startswith(SCHEME) else place.rstrip("/")
    try:
        return Path(os.path.normpath(place.expanduser().absolute()))
    except RuntimeError:
        raise BadInput(f"there is no user of the name in {printable(str(place))}") from None
