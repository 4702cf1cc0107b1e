"""The choice of the source for a path or URL."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from catalog.bytes import locate
from catalog.errors import BadInput
from lensdata.sources import hub, img2dataset, place, url_list
from lensdata.sources.downloads import list_downloads
from lensdata.sources.folder import list_folder, written_by_lens
from lensdata.sources.imported import list_table
from lensdata.sources.item import IMAGE_SUFFIXES, Item
from lensdata.sources.place import Place, printable
from lensdata.sources.remote import list_prefix
from lensdata.sources.survey import Survey
from lensdata.sources.tables import DEFAULTS, TABLE_SUFFIXES, Columns, check, is_table
from lensdata.sources.tars import list_tar, refusal

FOLDER, FILE, OTHER = "folder", "file", "other"


def require(sources: Sequence[Place], columns: Columns = DEFAULTS) -> list[Place]:
    """The sources: paths absolute and normalised, URLs as they are, without one that another's listing reaches anyway.

    Raises BadInput for the first that is missing, of another kind or holds nothing to ingest, before any work is
    done.
    """
    found = list(dict.fromkeys(_normalised(source) for source in sources))
    for source in found:
        next(discover(source, Survey(), columns), None)
    return [source for source in found if not any(_reaches(outer, source) for outer in found)]


def discover(
    source: Place, survey: Survey, columns: Columns = DEFAULTS, root: Path | None = None, retry: bool = False
) -> Iterator[Item]:
    """The images of a folder or prefix (with .txt/.json sidecars, with tars), of one WebDataset tar, of a table, of
    a list of URLs, or of a Hugging Face dataset.

    `columns` says where tables and lists have what. `root` is the catalog's folder, which keeps what has to be copied
    or downloaded; without one such sources are only checked. `retry` downloads again what failed. What is passed
    over is noted in `survey`. Raises BadInput if `source` is none of these or holds nothing to ingest.
    """
    shown = printable(str(source))
    place.require_utf8(source)
    if isinstance(source, str) and source.startswith(hub.SCHEME):
        spec = hub.parse(source)
        if root is None:
            hub.check(spec, columns)
            return
        listing, what = hub.list_hub(spec, columns, root / "imported", survey), "is a dataset without images"
    else:
        kind = _kind(source, shown)
        if kind != OTHER and url_list.is_list(source, kind == FOLDER, columns):
            if root is None:
                url_list.check(source, columns)
                img2dataset.command()
                return
            listing = list_downloads(source, columns, root / "downloads", survey, retry)
            what = "is a list without a line"
        elif kind != OTHER and is_table(source):
            check(source, columns)
            if root is None:
                return
            listing = list_table(source, columns, root / "imported", survey)
            what = "is a table that holds no image"
        elif kind == FOLDER:
            listing = list_folder(source, survey) if isinstance(source, Path) else list_prefix(source, survey)
            what = f"holds no image ({', '.join(sorted(IMAGE_SUFFIXES)[:6])}, ...) and no .tar with one"
        elif kind == FILE:
            if reason := _refused_file(source):
                raise BadInput(f"{shown} {reason}")
            listing, what = list_tar(source, survey), "is a tar that holds no image"
        else:
            raise BadInput(
                f"{shown} is a pipe, socket or device, not a folder of images or a WebDataset .tar"
            )
    empty = True
    for item in listing:
        empty = False
        yield item
    if empty:
        raise BadInput("; ".join([f"{shown} {what}", *survey.lines()]))


def _kind(source: Place, shown: str) -> str:
    try:
        if isinstance(source, str):
            return FOLDER if place.info(source)["type"] == "directory" else FILE
        mode = source.stat().st_mode
    except FileNotFoundError:
        raise BadInput(f"there is no file or folder {shown}") from None
    except OSError as error:
        raise BadInput(f"{shown} cannot be read: {place.reason(error)}") from None
    except locate.Unreadable as error:
        raise BadInput(str(error)) from None
    return FOLDER if stat.S_ISDIR(mode) else FILE if stat.S_ISREG(mode) else OTHER


def _refused_file(source: Place) -> str | None:
    reason = refusal(source)
    if place.suffix(source) == ".tar" or (reason and "compressed" in reason):
        return reason
    kinds = ", ".join((*TABLE_SUFFIXES, *url_list.SUFFIXES))
    return f"is not a folder of images, a WebDataset .tar, a table or a list of URLs ({kinds})"


def _normalised(source: Place) -> Place:
    if isinstance(source, str):
        if (shown := locate.without_login(source)) != source:
            raise BadInput(
                f"{printable(shown)} came with a password, which would be stored with every image; "
                "give it to the backend instead (its environment variables or files: docs/sources.md)"
            )
        return source if source.startswith(hub.SCHEME) else source.rstrip("/")
    try:
        return Path(os.path.normpath(source.expanduser().absolute()))
    except RuntimeError:
        raise BadInput(f"there is no user of the name in {printable(str(source))}") from None


def _reaches(outer: Place, inner: Place) -> bool:
    """Whether listing the folder `outer` lists `inner`, too: it follows no links to folders and skips
    hidden ones, tables and lists."""
    if outer == inner or isinstance(outer, str) != isinstance(inner, str):
        return False
    if place.suffix(inner) in url_list.SUFFIXES or is_table(inner):
        return False
    if isinstance(outer, str) or isinstance(inner, str):
        below = str(inner).removeprefix(f"{outer}/")
        return below != inner and not any(name.startswith(".") for name in below.split("/"))
    if not inner.is_relative_to(outer):
        return False
    at = outer
    for name in inner.relative_to(outer).parts:
        at = at / name
        if name.startswith(".") or (at.is_dir() and (at.is_symlink() or written_by_lens(at))):
            return False
    return True
