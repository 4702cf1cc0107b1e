"""The names of manifests: each is given once, to one choice, whatever becomes of its folder."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from catalog.errors import BadInput
from catalog.manifest.load import load
from catalog.manifest.model import Manifest
from catalog.store.database import Database, Statement
from catalog.store.lock import NAMING_LOCK

FOLDER = "manifests"


@contextmanager
def naming(catalog: Database) -> Iterator[None]:
    """Hold the right to give names in this catalog: what is found free stays free. Others wait, a short time."""
    descriptor = os.open(catalog.root / NAMING_LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def given_to(catalog: Database, name: str) -> str | None:
    """The fingerprint of what `name` was given to, also if that is gone; None if it is free."""
    folder = catalog.root / FOLDER / name
    if (folder / "manifest.json").is_file():
        return load(folder, check_sizes=False).fingerprint
    rows = catalog.named("manifest/named", manifest=name)["fingerprint"]
    return None if rows.is_empty() else str(rows[-1])


def enter(catalog: Database, record: dict[str, Any]) -> None:
    """Enter a manifest into the table `manifests`, or find it there. `record` has the parameters of
    manifest/add. Raises BadInput if the name was given to another choice. Call it within `naming`."""
    name, fingerprint = record["manifest"], record["fingerprint"]
    if given_to(catalog, name) not in (None, fingerprint):
        raise taken(name)
    catalog.commit("manifest", f"manifest-{name}", record["samples"], [Statement("manifest/add", record)])


def taken(name: str) -> BadInput:
    """What to say of a name that another choice has."""
    return BadInput(
        f"the manifest {name} exists and selects other images or weights; manifests never change: take another name, "
        "or finish the build that was begun from it with --resume"
    )


def successor(catalog: Database, name: str, fingerprint: str) -> str:
    """The next free name after a takedown: `train` -> `train-r1` -> `train-r2`. One that has this very fingerprint is
    free. Call it within `naming`."""
    stem, number = _parted(name)
    while True:
        number += 1
        found = f"{stem}-r{number}"
        if given_to(catalog, found) in (None, fingerprint):
            return found


def became(catalog: Database, name: str, fingerprint: str) -> Manifest | None:
    """The manifest with this fingerprint that takedowns have made of `name`, if one has."""
    folders = (catalog.root / FOLDER).glob(f"{name}-r*/manifest.json")
    numbered = [(number, path.parent) for path in folders if (number := _revision(name, path.parent))]
    for _, folder in sorted(numbered, reverse=True):
        if (found := load(folder, check_sizes=False)).fingerprint == fingerprint:
            return found
    return None


def now(root: Path) -> dict[str, str]:
    """The names of the catalog at `root` that takedowns have ended: each with the name that its manifest has now."""
    found: dict[str, str] = {}
    for path in sorted((root / FOLDER).glob("*/manifest.json")):
        try:
            manifest = load(path.parent, check_sizes=False)
        except BadInput:  # told where that one is asked for
            continue
        found |= dict.fromkeys(manifest.info.get("formerly", []), manifest.name)
    return found


def _parted(name: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.+)-r(\d+)", name)
    return (match[1], int(match[2])) if match else (name, 0)


def _revision(name: str, folder: Path) -> int:
    stem, number = _parted(folder.name)
    return number if stem == name else 0
