"""The folder that a build fills: whose it is, what it was begun with, and which of its shards are done."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog import manifest
from catalog.errors import BadInput
from catalog.manifest import Manifest
from catalog.store import parts

UNDER_WAY = "build.json"  # which manifest the folder is being filled from
INDEX = ".index"  # holds what is known of each finished shard


@dataclass(frozen=True)
class Index:
    """What a finished shard holds: its bytes and sha256, and of each of its samples in order where its members begin
    and how long they are. `errors` says by position why a sample was left out."""

    bytes: int
    sha256: str
    offsets: list[int]
    lengths: list[int]
    errors: dict[int, str]


@contextmanager
def claim(out: Path) -> Iterator[None]:
    """Hold the folder `out` against other builds, of other catalogs too. Raises BadInput if one is under way,
    or if there can be no such folder."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise BadInput(f"{out} is a file; name a folder with --out") from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise BadInput(f"{out} cannot be made ({error.strerror}); name another folder with --out") from None
    descriptor = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BadInput(
            f"{out} is being filled by another build; wait for it or name another folder"
        ) from None
    finally:
        os.close(descriptor)


def prepare(out: Path, wanted: dict[str, Any], name: str) -> Manifest | None:
    """Make `out` ours; the finished manifest if it holds exactly what is wanted already, but for what was dropped."""
    if (out / "manifest.json").is_file():
        found = manifest.load(out)
        if _holds(found, wanted):
            clear(out)
            return found
        raise BadInput(
            f"{out} holds another selection's shards ({found.name}); name another folder with --out"
        )
    mark = out / UNDER_WAY
    if mark.is_file():
        if {**under_way(out), "manifest": name} != {**wanted, "manifest": name}:
            raise BadInput(
                f"{out} holds the unfinished shards of another selection; finish them as they were begun with "
                "--resume, or delete it, or name another folder"
            )
        parts.sweep_folder(out)
    elif any(not path.name.endswith(parts.TEMPORARY) for path in out.iterdir()):
        raise BadInput(f"{out} is not empty and holds no shards of ours; name a new folder with --out")
    else:
        begin(out, wanted, name)
    (out / INDEX).mkdir(exist_ok=True)
    return None


def begin(out: Path, wanted: dict[str, Any], name: str) -> None:
    """Note what `out` is being filled with."""
    parts.write_bytes(out / UNDER_WAY, json.dumps({**wanted, "manifest": name}).encode())
    (out / INDEX).mkdir(exist_ok=True)


def beside(out: Path, wanted: dict[str, Any], name: str) -> Path:
    """`out`, or if it holds another selection the first of OUT-2, OUT-3, ... that is free or holds what is wanted.

    A build that was begun with something else and killed counts as another selection. What is none of ours is left
    alone, and as `out` itself refused when it is built to.
    """
    number, place = 1, out
    while _is_anothers(place, wanted, name, first=number == 1):
        number += 1
        place = out.with_name(f"{out.name}-{number}")
    return place


def _is_anothers(place: Path, wanted: dict[str, Any], name: str, first: bool) -> bool:
    if (place / "manifest.json").is_file():
        return not _holds(manifest.load(place), wanted)
    if (place / UNDER_WAY).is_file():
        return {**under_way(place), "manifest": name} != {**wanted, "manifest": name}
    return not first and place.exists() and (not place.is_dir() or any(place.iterdir()))


def _holds(found: Manifest, wanted: dict[str, Any]) -> bool:
    """Whether a finished build is of what is wanted: it was begun with just that, or a takedown has left just that."""
    begun = found.info.get("build", {})
    return begun == wanted or {**begun, "fingerprint": found.fingerprint} == wanted


def under_way(out: Path) -> dict[str, Any]:
    """What `out` is being filled with; {} if nothing. Raises BadInput for a note that is none of ours."""
    try:
        found = json.loads((out / UNDER_WAY).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        found = None
    if not isinstance(found, dict) or "fingerprint" not in found:
        raise BadInput(f"{out / UNDER_WAY} is damaged; delete {out} and build again")
    return found


def note(out: Path, name: str, index: Index) -> None:
    """Write what is known of the shard `name`, before the shard itself appears. Its content is durable then; its name
    need not be, since a shard without it is built again."""
    with parts.appearing(_index(out, name)) as temporary, temporary.open("wb") as file:
        file.write(json.dumps(vars(index)).encode())
        file.flush()
        os.fsync(file.fileno())


def noted(out: Path, name: str) -> Index:
    """What `note` wrote."""
    found = json.loads(_index(out, name).read_bytes())
    found["errors"] = {int(at): reason for at, reason in found["errors"].items()}
    return Index(**found)


def is_done(out: Path, name: str) -> bool:
    """Whether a shard is there: whole and on the disk, since only then it appears, after what is known of it."""
    return (out / name).is_file() and _index(out, name).is_file()


def clear(out: Path) -> None:
    """Remove the scaffolding of a finished build."""
    parts.sweep_folder(out)
    shutil.rmtree(out / INDEX, ignore_errors=True)
    (out / UNDER_WAY).unlink(missing_ok=True)


def _index(out: Path, name: str) -> Path:
    return out / INDEX / f"{name}.index"
