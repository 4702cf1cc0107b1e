"""What a score's column says about where the number came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ScorerId:
    """Identity of one scorer. Two scores may be compared only when their ids are equal.

    `revision` changes whenever the weights do, `preprocessing` whenever the pixels the model sees do.
    `tier` is `light` or `paper`; the two are never mixed.
    """

    metric: str
    name: str
    revision: str
    preprocessing: str
    tier: str

    def __str__(self) -> str:
        return f"{self.tier}/{self.name}@{self.revision}"
