"""Which checkpoint a run may go on from, and where a run stands."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from catalog.errors import BadInput
from catalog.manifest import Manifest
from lensmodel import checkpoint
from lensmodel.data.plan import Segment, position_of, resume_segments
from lensmodel.settings import Settings, differences, plain


def read(where: Path, manifest: Manifest, settings: Settings, encoder: str, vae: str) -> dict[str, Any]:
    """The state of the checkpoint `where` for a run with this data, these settings, and the encoder and autoencoder
    of these sha256 (the latter "" if there is none).

    Raises BadInput if it was trained with others, naming what differs, or is damaged. Its weights are not read.
    """
    state = checkpoint.read_state(where)
    theirs = state["manifest"]
    if theirs["fingerprint"] != manifest.fingerprint:
        raise BadInput(
            f"{where} was trained on the manifest {theirs['name']} ({theirs['fingerprint'][:12]}), not on "
            f"{manifest.name} ({manifest.fingerprint[:12]}); resume with the same data or take another --out"
        )
    _, settings = batch_sizes(settings, state)
    differs = differences(plain(settings), state["settings"])
    if differs:
        raise BadInput(f"{where} is of another configuration: {'; '.join(differs)}")
    if state["encoder"].get("weights") != encoder:
        raise BadInput(f"{where} was trained with another encoder than {settings.encoder}; give that one")
    if state["latents"].get("weights", "") != vae:
        raise BadInput(
            f"{where} was trained on the latents of another autoencoder than {settings.vae}; give that one"
        )
    return state


def batch_sizes(settings: Settings, state: dict[str, Any]) -> tuple[dict[int, int], Settings]:
    """The sizes a run was given, and the settings with those it found at its start, if its batches are balanced.

    A size that is now given otherwise than it was stays, for `read` to name.
    """
    stored, mine = state["settings"], settings.batch_sizes()
    if settings.batches != "balanced" or stored.get("batches") != "balanced":
        return mine, settings
    given = {base: state["given_batches"].get(str(base)) for base in mine}
    found = {base: stored.get(f"batch_{base}") for base in mine if mine[base] == given[base]}
    return given, with_sizes(settings, found)


def with_sizes(settings: Settings, sizes: Mapping[int, Any]) -> Settings:
    """The settings with these batch sizes by base; others stay."""
    changes: dict[str, Any] = {f"batch_{base}": size for base, size in sizes.items()}
    return replace(settings, **changes)


@dataclass
class Progress:
    """Where a run stands; `seconds` are those of its training loop, `cpu_seconds` what this process (of several, the
    first) computed in it with all its threads; the losses are of held-out images."""

    segments: list[Segment]
    step: int = 0
    skipped: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    first_loss: float | None = None
    last_loss: float | None = None

    @classmethod
    def of(cls, state: dict[str, Any] | None, width: int) -> Progress:
        """At the start, or as `state` says; from here on a step takes `width` batches."""
        if state is None:
            return cls(resume_segments([], 0, width))
        segments = resume_segments([Segment(**s) for s in state["segments"]], state["step"], width)
        losses = state["first_validation"], state["last_validation"]
        spent = state["train_seconds"], state["cpu_seconds"]
        return cls(segments, state["step"], state["skipped"], *spent, *losses)

    def clock(self) -> Callable[[], None]:
        """From now on each call of what this returns brings `seconds` and `cpu_seconds` up to date."""
        wall, cpu = self.seconds - time.monotonic(), self.cpu_seconds - time.process_time()

        def tick() -> None:
            self.seconds, self.cpu_seconds = wall + time.monotonic(), cpu + time.process_time()

        return tick

    @property
    def position(self) -> int:
        """The plan position at which the next step starts."""
        return position_of(self.segments, self.step)[0]

    def fields(self) -> dict[str, Any]:
        """What `of` reads, as state.json keeps it."""
        return {
            "position": self.position,
            "segments": [asdict(s) for s in self.segments],
            "skipped": self.skipped,
            "train_seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "first_validation": self.first_loss,
            "last_validation": self.last_loss,
        }
