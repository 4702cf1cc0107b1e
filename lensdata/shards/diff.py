"""What changed between two manifests."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import Any

import duckdb

from catalog.manifest import Manifest
from catalog.store import statements

KINDS = ("added", "removed", "caption", "bucket", "sha256")
MEMORY = "1GB"  # that DuckDB may use; the rest waits on the disk
ALL = 2**62


@dataclass(frozen=True)
class Change:
    """How many images have changed so, and the ids of the first, ascending."""

    images: int
    ids: list[int]


@dataclass(frozen=True)
class Difference:
    """`changes` by kind: images only in the new manifest (added), only in the old one (removed), and those in both with
    another caption, bucket or bytes (sha256). `same` counts the others; `parameters` has those that differ as
    [old, new]."""

    changes: dict[str, Change]
    same: int
    parameters: dict[str, list[Any]]


def diff(old: Manifest, new: Manifest) -> dict[str, Any]:
    """Image ids only in `new` (added), only in `old` (removed), and in both with another caption, bucket or bytes
    (sha256); how many are the `same`; the `parameters` that differ. See `compare`."""
    found = compare(old, new)
    ids = {kind: change.ids for kind, change in found.changes.items()}
    return {**ids, "same": found.same, "parameters": found.parameters}


def compare(old: Manifest, new: Manifest, most: int = ALL) -> Difference:
    """Compare two manifests; of each kind of change the first `most` ids are listed.

    Memory does not grow with the manifests, but for the ids. Raises BadInput for a manifest that is not whole.
    """
    files = {"old": str(old.table), "new": str(new.table)}
    with (
        tempfile.TemporaryDirectory(prefix="lens-diff-") as spill,
        duckdb.connect(config={"temp_directory": spill, "memory_limit": MEMORY}) as connection,
    ):
        connection.execute(statements.statement("catalog/no_progress_bar"))
        connection.execute(statements.statement("manifest/diff"), files)
        row = connection.execute(statements.statement("manifest/diff_counts")).fetchall()[0]
        counts = dict(zip((*KINDS, "differ"), row, strict=True))
        changes = {}
        for kind in KINDS:
            text = statements.statement("manifest/diff_ids", column=kind)
            ids = [image_id for (image_id,) in connection.execute(text, {"most": most}).fetchall()]
            changes[kind] = Change(counts[kind], ids)
    before, after = ({**found.info["parameters"], "mixture": found.mixture} for found in (old, new))
    return Difference(
        changes,
        new.info["samples"] - counts["added"] - counts["differ"],
        {name: [before.get(name), value] for name, value in after.items() if before.get(name) != value},
    )
