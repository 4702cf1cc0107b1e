"""Reading a manifest from a folder or an object store, and refusing one that is not whole."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from catalog import mixture as mixtures
from catalog.bytes import locate
from catalog.errors import BadInput, Unreadable
from catalog.manifest.files import FORMAT, MIXED
from catalog.manifest.model import Manifest

REQUIRED = {
    "name",
    "fingerprint",
    "virtual",
    "samples",
    "samples_file",
    "samples_sha256",
    "shards",
    "buckets",
}


def load(path: str | Path, check_sizes: bool = True) -> Manifest:
    """The manifest in the folder `path`; a str may also be a URL (s3://bucket/folder) that fsspec reads.

    Raises BadInput if there is none, one this version cannot read, or (unless `check_sizes` is off) one whose shards
    are missing or of another size.
    """
    where = _folder(path)
    file = f"{where}/manifest.json"
    try:
        info = json.loads(locate.read(file))
    except Unreadable as error:
        hint = f"was `lensdata build-shards --out {where}` finished?"
        if "://" in where:
            hint = "name the place that a folder written by `lensdata build-shards` was copied to"
        raise BadInput(f"{where} holds no manifest.json that can be read ({error}); {hint}") from None
    except ValueError as error:
        raise BadInput(f"{file} is not JSON ({error}); build the shards again") from None
    if not isinstance(info, dict) or info.get("format") not in (FORMAT, MIXED):
        found = info.get("format") if isinstance(info, dict) else None
        raise BadInput(f"{file} has the format {found!r}, not {FORMAT!r}; build it with this version")
    missing = REQUIRED - info.keys()
    if missing:
        raise BadInput(f"{file} lacks {', '.join(sorted(missing))}; build the shards again")
    try:
        mixtures.checked(dict(info.get("mixture", {})))
    except (BadInput, TypeError, ValueError) as error:
        raise BadInput(f"{file} has no valid mixture ({error})") from None
    try:
        names = [info["samples_file"], *(shard["name"] for shard in info["shards"])]
        outside = [name for name in names if Path(name).name != name or name in ("", "..")]
        sized = all(isinstance(shard["bytes"], int) for shard in info["shards"])
    except (KeyError, TypeError):
        sized, outside = False, []
    if outside:
        raise BadInput(f"{file} names a file outside its folder: {outside[0]!r}")
    if not sized:
        raise BadInput(f"{file} does not say of every shard its name and bytes; build the shards again")
    if check_sizes and info["shards"]:
        _check_sizes(where, info["shards"])
    return Manifest(where, info)


def _folder(path: str | Path) -> str:
    """The place of a manifest as an absolute path or URL."""
    if isinstance(path, str) and "://" in (path := path.removeprefix("file://")):
        if (shown := locate.without_login(path)) != path:
            raise BadInput(f"{shown} comes with a password, which would be stored; set it in the environment")
        if (
            path.startswith(("http:", "https:"))
            and (bare := re.sub(r"(?<=://)[^/@]*@|[?#].*", "", path)) != path
        ):
            raise BadInput(f"{bare} comes with a user or a query, which would be stored; leave them out")
        return path.rstrip("/")
    root = Path(path).expanduser().absolute()
    if not root.is_dir():
        raise BadInput(f"{root} is not a folder; name one written by `lensdata build-shards --out DIR`")
    return str(root)


def _check_sizes(where: str, shards: list[dict[str, Any]]) -> None:
    """Raise BadInput for the first shard that is missing or of another size, as far as its store lists."""
    if "://" in where:
        found = locate.sizes(where)
        if "manifest.json" not in found:  # which was read just now: this store does not list
            return
    else:
        found = {entry.name: entry.stat().st_size for entry in os.scandir(where) if entry.is_file()}
    for shard in shards:
        name, size = shard["name"], found.get(shard["name"])
        if size != shard["bytes"] and (size is not None or name not in found):
            what = "is missing" if size is None else f"has {size} bytes instead of {shard['bytes']}"
            hint = f"check with `lensdata verify-shards {where}` and build the shards again"
            if "://" in where:
                hint = "copy the shards again"
            raise BadInput(f"{where}/{name} {what}; {hint}")
