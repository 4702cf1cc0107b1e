"""A prefix of an object store, walked as a folder is."""

from __future__ import annotations

from typing import Any

from catalog.bytes import locate
from catalog.bytes.place import Facts, Place, facts_of
from catalog.errors import LensError
from catalog.store.database import DATABASE
from lensdata.sources.source import Columns
from lensdata.sources.survey import Survey
from lensdata.sources.walk import OUR_FORMAT, Entries, Walk

MANIFEST = "manifest.json"


class Prefix(Walk):
    """A prefix, by the rules of `Folder`. The memory of a listing is that of one level's names; it raises LensError
    if the store fails on the way."""

    def __init__(self, place: str, columns: Columns) -> None:
        super().__init__(place, columns, Store(place), place)


class Store:
    """The Tree of an object store, or whatever else fsspec lists."""

    def __init__(self, url: str) -> None:
        self.filesystem: Any = locate.filesystem(url)[0]

    def place(self, path: str) -> str:
        """As Tree has it."""
        return path

    def path(self, place: Place) -> str:
        """As Tree has it, spelt as the store spells it."""
        filesystem, path = locate.filesystem(str(place))
        return str(filesystem.unstrip_protocol(path)).rstrip("/")

    def passes_over(self, path: str) -> bool:
        """As Tree has it."""
        return False

    def entries(self, folder: str, survey: Survey, named: bool) -> Entries | None:
        """As Tree has it."""
        path = self.filesystem._strip_protocol(folder)
        try:
            entries = self.filesystem.ls(path, detail=True)
        except FileNotFoundError:  # deleted while we looked
            survey.unread("prefixes that are not there (any more)", folder)
            return None
        except Exception as error:  # every backend has its own errors
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise LensError(
                f"{folder} cannot be listed ({text}); run the same command again to go on"
            ) from None
        files: dict[str, Facts] = {}
        folders: set[str] = set()
        for entry in entries:
            name = entry["name"].rstrip("/").rpartition("/")[2]
            if entry["name"].strip("/") == path.strip("/") or not name:
                continue  # the empty object that some tools make of a folder
            uri = f"{folder}/{name}"
            if name.startswith("."):
                survey.note("hidden files and folders passed over", uri)
            elif "::" in name:
                survey.note("names with :: passed over (fsspec takes it for a chain; rename them)", uri)
            elif entry["type"] == "directory":
                folders.add(name)
            else:
                files[name] = facts_of(entry)
        ours = self._written_by_lens(path, files)
        if ours == "catalogs" or (ours and not named):
            survey.note(f"{ours} of Lens's own passed over", folder)
            return None
        return files, folders

    def _written_by_lens(self, path: str, files: dict[str, Facts]) -> str | None:
        if DATABASE in files:
            return "catalogs"
        if MANIFEST not in files:
            return None
        try:
            return "shards" if OUR_FORMAT.search(self.filesystem.cat_file(f"{path}/{MANIFEST}")) else None
        except Exception:  # of a manifest that cannot be read nothing is known
            return None
