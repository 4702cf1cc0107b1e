"""What changed between two manifests."""

from __future__ import annotations

from typing import Any

import polars as pl

from catalog.manifest import Manifest


def diff(old: Manifest, new: Manifest) -> dict[str, Any]:
    """Image ids only in `new` (added), only in `old` (removed), and in both with another caption, bucket or bytes."""
    left, right = (found.samples.select("image_id", "sha256", "bucket", "caption") for found in (old, new))
    both = left.join(right, on="image_id", how="inner", suffix="_new")
    changed = {
        what: both.filter(pl.col(what) != pl.col(f"{what}_new"))["image_id"].sort().to_list()
        for what in ("caption", "bucket", "sha256")
    }
    before, after = ({**found.info["parameters"], "mixture": found.mixture} for found in (old, new))
    return {
        "added": right.join(left, on="image_id", how="anti")["image_id"].sort().to_list(),
        "removed": left.join(right, on="image_id", how="anti")["image_id"].sort().to_list(),
        **changed,
        "same": len(both) - len(set().union(*changed.values())),
        "parameters": {
            name: [before.get(name), value] for name, value in after.items() if before.get(name) != value
        },
    }
