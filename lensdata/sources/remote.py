"""A prefix of an object store, listed as a folder is: images with their sidecars, tars, prefixes below."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from catalog.bytes import locate
from catalog.errors import LensError
from catalog.store.database import DATABASE
from lensdata.sources.folder import OUR_FORMAT, arrange, walk
from lensdata.sources.item import Item
from lensdata.sources.place import Facts, facts_of
from lensdata.sources.survey import Survey

MANIFEST = "manifest.json"


def list_prefix(url: str, survey: Survey) -> Iterator[Item]:
    """Items below the URL in order of their names, by the rules of `list_folder`.

    The memory of one listing is that of one level's names. Raises LensError if the store fails on the way.
    """
    filesystem, path = locate.filesystem(url)
    root = str(filesystem.unstrip_protocol(path)).rstrip("/")
    yield from walk(root, lambda folder, named: _list_one(filesystem, folder, survey, named), str, survey)


def _list_one(filesystem: Any, folder: str, survey: Survey, named: bool) -> Iterator[Item | str]:
    path = filesystem._strip_protocol(folder)
    try:
        entries = filesystem.ls(path, detail=True)
    except FileNotFoundError:  # deleted while we looked
        survey.unread("prefixes that vanished while they were listed", folder)
        return
    except Exception as error:  # every backend has its own errors
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise LensError(f"{folder} cannot be listed ({text}); run the same command again to go on") from None
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
    ours = _written_by_lens(filesystem, path, files)
    if ours == "catalogs" or (ours and not named):
        survey.note(f"{ours} of Lens's own passed over", folder)
        return
    yield from arrange(folder, files, folders, survey)


def _written_by_lens(filesystem: Any, path: str, files: dict[str, Facts]) -> str | None:
    if DATABASE in files:
        return "catalogs"
    if MANIFEST not in files:
        return None
    try:
        return "shards" if OUR_FORMAT.search(filesystem.cat_file(f"{path}/{MANIFEST}")) else None
    except Exception:  # of a manifest that cannot be read nothing is known
        return None
