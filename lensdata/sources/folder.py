"""A folder of image files, each with an optional NAME.txt (caption) and NAME.json (img2dataset's fields) beside it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from catalog.bytes.place import Facts, Place
from catalog.store.database import DATABASE
from lensdata.sources.source import Columns
from lensdata.sources.survey import Survey
from lensdata.sources.walk import OUR_FORMAT, Entries, Walk


class Folder(Walk):
    """A folder of this disk.

    Hidden files and folders are passed over. Links to folders are not followed, so that a loop of links ends. A folder
    that Lens itself wrote (shards, a catalog) is no source, unless shards are what is named.
    """

    def __init__(self, place: Path, columns: Columns) -> None:
        super().__init__(place, columns, Disk(), place)


class Disk:
    """The Tree of this disk."""

    def place(self, path: str) -> Path:
        """As Tree has it."""
        return Path(path)

    def path(self, place: Place) -> str:
        """As Tree has it."""
        return str(place)

    def passes_over(self, path: str) -> bool:
        """As Tree has it: hidden names aside."""
        at = Path(path)
        return at.is_dir() and (at.is_symlink() or written_by_lens(at) is not None)

    def entries(self, folder: str, survey: Survey, named: bool) -> Entries | None:
        """As Tree has it."""
        ours = written_by_lens(Path(folder))
        if ours == "catalogs" or (ours == "shards" and not named):
            survey.note(f"{ours} of Lens's own passed over", folder)
            return None
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
        return files, folders


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
            ours = isinstance(fields, dict) and {"fingerprint", "virtual"} <= fields.keys()
            return "shards" if ours else None
    except (OSError, ValueError, RecursionError):  # unreadable, or not the JSON that Lens writes
        pass
    return None


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
