"""A folder of image files, each with an optional NAME.txt (caption) and NAME.json (img2dataset's fields) beside it."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from catalog.store.database import DATABASE
from lensdata.sources.item import IMAGE_SUFFIXES, Item, Range
from lensdata.sources.place import Facts, Place
from lensdata.sources.survey import Survey
from lensdata.sources.tables import TABLE_SUFFIXES
from lensdata.sources.tars import list_tar

TEXT_SUFFIXES = (".txt", ".json")
COMPRESSED_TAR = re.compile(r"\.(tgz|tbz2?|txz|tar\.\w+)$", re.IGNORECASE)
OUR_FORMAT = re.compile(rb'"format":\s*"lens-manifest/')


def list_folder(root: Path, survey: Survey) -> Iterator[Item]:
    """Items below `root` in order of their paths; tars are read as WebDataset shards.

    Hidden files and folders are passed over. Links to folders are not followed, so that a loop of links ends. A
    folder that Lens itself wrote (shards, a catalog) is no source, unless shards are what `root` names. All that is
    passed over is counted in `survey`; nothing raises.
    """
    yield from walk(str(root), lambda folder, named: _list_one(folder, survey, named), Path, survey)


def walk(
    root: str,
    list_one: Callable[[str, bool], Iterator[Item | str]],
    place: Callable[[str], Place],
    survey: Survey,
) -> Iterator[Item]:
    """The items of `root` and of the folders and tars below it, in order; `list_one(folder, whether it is the root)`
    lists one folder as `arrange` does. Once all is listed, `survey` has it among its roots."""
    under_way = [list_one(root, True)]  # a stack: folders may nest deeper than calls may
    while under_way:
        found = next(under_way[-1], None)
        if found is None:
            under_way.pop()
        elif isinstance(found, Item):
            yield found
        elif not found.endswith("/"):
            yield from list_tar(place(found), survey)
        else:
            under_way.append(list_one(found.removesuffix("/"), False))
    survey.roots.append(root)


def written_by_lens(folder: Path) -> str | None:
    """What Lens wrote `folder` as: "catalogs" or "shards", or None if it is the user's own."""
    try:
        if (folder / DATABASE).is_file():
            return "catalogs"
        manifest, mark = folder / "manifest.json", folder / "build.json"
        if manifest.is_file() and OUR_FORMAT.search(manifest.read_bytes()):
            return "shards"
        if mark.is_file():
            fields = json.loads(mark.read_bytes())
            return (
                "shards" if isinstance(fields, dict) and {"fingerprint", "virtual"} <= fields.keys() else None
            )
    except (OSError, ValueError, RecursionError):  # unreadable, or not the JSON that Lens writes
        pass
    return None


def _list_one(folder: str, survey: Survey, named: bool) -> Iterator[Item | str]:
    """In order of their names: an image as an Item, a tar as its path, a folder as its path with a final slash."""
    ours = written_by_lens(Path(folder))
    if ours == "catalogs" or (ours == "shards" and not named):
        survey.note(f"{ours} of Lens's own passed over", folder)
        return
    files: dict[str, Facts] = {}
    folders: set[str] = set()
    empty = True
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                empty = False
                _sort(entry, files, folders, survey)
    except OSError as error:
        survey.unread(f"folders that cannot be read ({error.strerror})", folder)
    else:
        if empty:  # a disk that is not mounted looks like this
            survey.unlisted.append(folder)
    yield from arrange(folder, files, folders, survey)


def arrange(folder: str, files: dict[str, Facts], folders: set[str], survey: Survey) -> Iterator[Item | str]:
    """The files and folders of one folder (a path or URL) in order of their names, as `list_folder` goes through
    them: an image with its sidecars as an Item, a tar as its path, a folder as its path with a final slash."""
    used: set[str] = set()
    for name in sorted(files.keys() | folders):
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 (a Path for every file costs more than the rest)
        path = f"{folder.rstrip('/')}/{name}"
        if name in folders:
            yield path + "/"
        elif suffix in IMAGE_SUFFIXES:
            yield _image(path, name, files, used)
        elif suffix == ".tar":
            yield path
        elif COMPRESSED_TAR.search(name):
            survey.note("compressed tars passed over (decompress them: images are read in place)", path)
        elif suffix in TABLE_SUFFIXES:
            survey.note("tables inside folders passed over (name them to ingest them)", path)
        elif suffix not in TEXT_SUFFIXES:
            survey.note("files that are no images passed over", path)
    for name in sorted(files.keys() - used):
        if name.lower().endswith(TEXT_SUFFIXES):
            survey.note("texts without an image of their name", f"{folder}/{name}")


def _sort(entry: os.DirEntry[str], files: dict[str, Facts], folders: set[str], survey: Survey) -> None:
    if entry.name.startswith("."):
        survey.note("hidden files and folders passed over", entry.path)
        return
    try:
        entry.name.encode()
        if entry.is_dir(follow_symlinks=False):
            folders.add(entry.name)
            return
        found = entry.stat()
    except UnicodeEncodeError:
        survey.note("names that are not UTF-8 passed over (rename them)", entry.path)
    except OSError as error:  # it vanished while we looked, or is a link that leads nowhere or in a circle
        kind = "links" if entry.is_symlink() else "files"
        survey.note(f"{kind} that cannot be followed ({error.strerror})", entry.path)
    else:
        if stat.S_ISREG(found.st_mode):
            files[entry.name] = (found.st_size, found.st_mtime_ns)
        elif stat.S_ISDIR(found.st_mode):
            survey.note("links to folders not followed", entry.path)
        else:  # opening a pipe would block for ever
            survey.note("pipes, sockets and devices passed over", entry.path)


def _image(path: str, name: str, files: dict[str, Facts], used: set[str]) -> Item:
    stem = os.path.splitext(name)[0]  # noqa: PTH122
    size, mtime = files[name]
    ranges: list[Range | None] = []
    for suffix in TEXT_SUFFIXES:
        beside = next((n for n in (stem + suffix, stem + suffix.upper()) if n in files), None)
        if beside is None:
            ranges.append(None)
            continue
        used.add(beside)
        ranges.append((path.removesuffix(name) + beside, 0, files[beside][0]))
    texts = [files[text[0].rpartition("/")[2]] for text in ranges if text]
    return Item(
        path, 0, size, ranges[0], ranges[1],
        file_size=size + sum(text[0] for text in texts),
        file_mtime_ns=max([mtime] + [text[1] for text in texts]),
    )  # fmt: skip
