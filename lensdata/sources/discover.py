"""The choice of the source for a path."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from catalog.errors import BadInput
from lensdata.sources.folder import list_folder, written_by_lens
from lensdata.sources.imported import list_table
from lensdata.sources.item import IMAGE_SUFFIXES, Item
from lensdata.sources.survey import Survey, printable
from lensdata.sources.tables import DEFAULTS, TABLE_SUFFIXES, Columns, check, is_table
from lensdata.sources.tars import list_tar, refusal


def require(paths: Iterable[Path], columns: Columns = DEFAULTS) -> list[Path]:
    """The sources that `paths` name: absolute, normalised, without one that another's listing reaches anyway.

    Raises BadInput for the first that is missing, of another kind or holds nothing to ingest, before any work is
    done.
    """
    found = list(dict.fromkeys(_absolute(path) for path in paths))
    for path in found:
        next(discover(path, Survey(), columns), None)
    return [path for path in found if not any(_reaches(outer, path) for outer in found)]


def discover(
    path: Path, survey: Survey, columns: Columns = DEFAULTS, imported: Path | None = None
) -> Iterator[Item]:
    """The images of a folder (with .txt/.json sidecars, with tars), of one WebDataset tar, or of a table.

    `columns` says where a table has them and `imported` is the folder that keeps its bytes; without one the table is
    only checked. What is passed over is noted in `survey`. Raises BadInput if `path` is none of these or holds
    nothing to ingest.
    """
    shown = printable(str(path))
    try:
        str(path).encode()
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise BadInput(f"there is no file or folder {shown}") from None
    except OSError as error:
        raise BadInput(f"{shown} cannot be read: {error.strerror}") from None
    except UnicodeEncodeError:
        raise BadInput(f"the name {shown} is not UTF-8; rename it") from None
    if (stat.S_ISDIR(mode) or stat.S_ISREG(mode)) and is_table(path):
        check(path, columns)
        if imported is None:
            return
        listing, what = list_table(path, columns, imported, survey), "is a table that holds no image"
    elif stat.S_ISDIR(mode):
        listing = list_folder(path, survey)
        what = f"holds no image ({', '.join(sorted(IMAGE_SUFFIXES)[:6])}, ...) and no .tar with one"
    elif stat.S_ISREG(mode):
        if reason := _refused_file(path):
            raise BadInput(f"{shown} {reason}")
        listing, what = list_tar(path, survey), "is a tar that holds no image"
    else:
        raise BadInput(f"{shown} is a pipe, socket or device, not a folder of images or a WebDataset .tar")
    empty = True
    for item in listing:
        empty = False
        yield item
    if empty:
        raise BadInput("; ".join([f"{shown} {what}", *survey.lines()]))


def _refused_file(path: Path) -> str | None:
    reason = refusal(path)
    if path.suffix.lower() == ".tar" or (reason and "compressed" in reason):
        return reason
    return f"is not a folder of images, a WebDataset .tar or a table ({', '.join(TABLE_SUFFIXES)})"


def _absolute(path: Path) -> Path:
    try:
        return Path(os.path.normpath(path.expanduser().absolute()))
    except RuntimeError:
        raise BadInput(f"there is no user of the name in {printable(str(path))}") from None


def _reaches(outer: Path, inner: Path) -> bool:
    """Whether listing the folder `outer` lists `inner`, too: it follows no links to folders and skips
    hidden ones and tables."""
    if outer == inner or not inner.is_relative_to(outer) or is_table(inner):
        return False
    at = outer
    for name in inner.relative_to(outer).parts:
        at = at / name
        if name.startswith(".") or (at.is_dir() and (at.is_symlink() or written_by_lens(at))):
            return False
    return True
