"""Which images a past step trained on: the plan is a pure function, so a checkpoint answers for all of its run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog import manifest as manifests
from catalog.errors import BadInput
from catalog.manifest import Manifest
from lensmodel import checkpoint
from lensmodel.data.loader import BadSamples
from lensmodel.data.plan import Segment, position_of
from lensmodel.rundata import captions_of, plan_of
from lensmodel.settings import from_plain


@dataclass(frozen=True)
class Trained:
    """One image of a step: its id, the batch of the stream it was in, the bucket, and whose place it took (None: its
    own), where the plan's own image could not be read."""

    image_id: int
    batch: int
    bucket: str
    instead_of: int | None


def images_of(run: Path, step: int, shards: str | Path | None = None) -> list[Trained]:
    """What step `step` (from 1, as the log counts) of the run in `run` trained on, all ranks, in the stream's order.

    `shards` says where the run's data is now. The record of bad samples has no steps, so an image that could not be
    read any more at some step counts as replaced in all of them. Raises BadInput for a step that the newest checkpoint
    has not reached, for a run without one, and for other data than the run's.
    """
    where = checkpoint.find(run)
    state = checkpoint.read_state(where)
    if not 1 <= step <= state["step"]:
        raise BadInput(f"{where} has trained steps 1 to {state['step']}, not {step}")
    manifest = _manifest(state, shards, where)
    settings = from_plain(state["settings"])
    plan, _ = plan_of(manifest, captions_of(manifest, settings), settings)
    position, width = position_of([Segment(**s) for s in state["segments"]], step - 1)
    bad = BadSamples(where.parent / "bad_samples.jsonl")
    bad.read()
    ids = manifest.samples["image_id"].to_list()
    found = []
    for number in range(position, position + width):
        batch = plan.batch(number)
        others = plan.members[batch.bucket]
        for row in batch.rows.tolist():
            used = _used(row, others.tolist(), lambda r: ids[r] in bad.reasons)
            found.append(Trained(ids[used], number, batch.bucket, None if used == row else ids[row]))
    return found


def _manifest(state: dict[str, Any], shards: str | Path | None, where: Path) -> Manifest:
    about = state["manifest"]
    root = shards or about.get("root")
    if root is None or not ("://" in str(root) or Path(root).is_dir()):
        place = f" ({root} is gone)" if root else ""
        raise BadInput(
            f"{where} was trained on the manifest {about['name']}{place}; say where it is with --shards"
        )
    manifest = manifests.load(root, check_sizes=False)
    if manifest.fingerprint != about["fingerprint"]:
        raise BadInput(f"{root} holds the manifest {manifest.name}; {where} was trained on {about['name']}")
    return manifest


def _used(row: int, others: list[int], unusable: Callable[[int], bool]) -> int:
    """The row that stood in for `row`: as the loader goes, the next usable one of its bucket."""
    start = others.index(row)
    return next((r for r in others[start:] + others[:start] if not unusable(r)), row)
