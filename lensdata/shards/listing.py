"""Every manifest of a catalog and where it is: its own folder, and those that builds have filled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from catalog import Catalog, manifest
from catalog.errors import BadInput
from catalog.manifest import Manifest, names


def builds(catalog: Catalog) -> Iterator[tuple[Path, Manifest | None, str]]:
    """The folders that builds of this catalog have filled and that are still there: what each holds, and when it was
    first built (ISO). None for one whose manifest cannot be read."""
    for folder, first in catalog.named("manifest/build_folders").iter_rows():
        path = Path(folder)
        if (path / "manifest.json").is_file():
            try:
                found = manifest.load(path, check_sizes=False)
            except BadInput:
                found = None
            yield path, found, first.isoformat(" ", "seconds")


def listing(catalog: Catalog) -> list[dict[str, Any]]:
    """A row for each: manifest, created, samples, shards, where (None: its folder is gone), fingerprint, and the name
    it has `now` if a takedown has ended this one (else None)."""
    rows = []
    now = names.now(catalog.root)
    for row in catalog.named("manifest/all").iter_rows(named=True):
        folder = catalog.root / names.FOLDER / row["manifest"]
        there = (folder / "manifest.json").is_file()
        rows.append(
            {
                "manifest": row["manifest"], "created": row["created_at"].isoformat(" ", "seconds"),
                "samples": row["samples"], "shards": 0, "where": str(folder) if there else None,
                "fingerprint": row["fingerprint"], "now": None if there else now.get(row["manifest"]),
            }
        )  # fmt: skip
    for path, found, first in builds(catalog):
        if found is not None:
            rows.append(
                {
                    "manifest": found.name, "created": first, "samples": found.info["samples"],
                    "shards": len(found.info["shards"]), "where": str(path), "fingerprint": found.fingerprint,
                    "now": None,
                }
            )  # fmt: skip
    return sorted(rows, key=lambda row: row["created"])
