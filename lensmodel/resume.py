"""Which checkpoint a run may go on from, and where a run stands."""

from __future__ import annotations

from dataclasses import asdict, dataclass
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


@dataclass
class Progress:
    """Where a run stands; `seconds` are those of its training loop, the losses are of held-out images."""

    segments: list[Segment]
    step: int = 0
    skipped: int = 0
    seconds: float = 0.0
    first_loss: float | None = None
    last_loss: float | None = None

    @classmethod
    def of(cls, state: dict[str, Any] | None, width: int) -> Progress:
        """At the start, or as `state` says; from here on a step takes `width` batches."""
        if state is None:
            return cls(resume_segments([], 0, width))
        segments = resume_segments([Segment(**s) for s in state["segments"]], state["step"], width)
        losses = state["first_validation"], state["last_validation"]
        return cls(segments, state["step"], state["skipped"], state["train_seconds"], *losses)

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
            "first_validation": self.first_loss,
            "last_validation": self.last_loss,
        }
