"""The questions of scripts/miniature: what is compared, for how long, on which pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from catalog.buckets import BUCKETS


@dataclass(frozen=True)
class Part:
    """One question. `variants`: what is compared, each with the settings that make it; all take equally many steps,
    those that take the first one `minutes` on one core. `at`: the eighths of a run after which it is examined."""

    variants: dict[str, tuple[str, ...]]
    minutes: float
    seeds: int = 1
    pictures: int = 8000
    world: str = "grid"
    sizes: tuple[int, ...] = (512,)
    aspects: tuple[str, ...] = ("1:1",)
    unseen: tuple[tuple[int, str], ...] = ()
    forms: tuple[str, ...] = ("dense",)
    at: tuple[int, ...] = (8,)

    @property
    def data(self) -> str:
        shapes = [*map(str, self.sizes), *(aspect.replace(":", "to") for aspect in self.aspects)]
        return "-".join([self.world, *shapes, str(self.pictures)])

    @property
    def briefs(self) -> bool:
        """Whether brief captions train in some variant."""
        return any("brief_fraction=0" not in settings for settings in self.variants.values())

    @property
    def trained(self) -> set[tuple[int, int]]:
        """Width and height of the buckets that train."""
        return {(b.width, b.height) for b in BUCKETS if b.base in self.sizes and b.aspect in self.aspects}

    @property
    def boxes(self) -> list[tuple[int, int] | None]:
        """Width and height of the buckets to examine; None for the one there is."""
        if not self.unseen:
            return [None]
        asked = [(b.width, b.height) for b in BUCKETS if (b.base, b.aspect) in self.unseen]
        return [*sorted(self.trained), *asked]


DENSE = ("brief_fraction=0",)
PARTS = {
    "curve": Part({"dense": DENSE}, minutes=10, seeds=3, at=(1, 2, 4, 6, 8)),
    "captions": Part(
        {"dense": DENSE, "mixed": ("brief_fraction=0.5",), "brief": ("brief_fraction=1",)},
        minutes=2, seeds=3, forms=("brief", "dense"),
    ),
    "sizes": Part(
        {"dense": DENSE}, minutes=10, pictures=6000, sizes=(512, 768), aspects=("3:4", "1:1", "4:3"),
        unseen=((512, "2:3"), (512, "3:2"), (768, "2:3"), (768, "3:2"), (1024, "1:1")),
    ),
    "encoder": Part(
        {"all layers": DENSE, "last layer": (*DENSE, "encoder_layers={last}"),
         "first layer": (*DENSE, "encoder_layers={first}")},
        minutes=2, seeds=2, pictures=4000,
    ),
    "recipe": Part(
        {"miniature": DENSE, "AdamW": (*DENSE, "optimizer=adamw", "muon_times=1"),
         "plain pixels": (*DENSE, "pixel_keep=none"), "plain pixels, x0": (*DENSE, "pixel_keep=none", "prediction=x0"),
         "no positions": (*DENSE, "absolute_positions=false")},
        minutes=2, seeds=2,
    ),
    "free": Part({"dense": DENSE}, minutes=15, world="free", at=(1, 2, 4, 6, 8)),
}  # fmt: skip
QUICK = {"batch_512": 4, "batch_768": 4, "holdout_least": 4, "warmup_steps": 2}


@dataclass(frozen=True)
class Run:
    part: str
    variant: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.part}-{self.variant.replace(',', '').replace(' ', '-')}-s{self.seed}"


def numbers(kind: type) -> Callable[..., dict[str, Any]]:
    """A callback for an option that holds for all parts, 40, or for some, curve=40."""

    def read(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for text in given:
            part, _, value = text.rpartition("=")
            try:
                number = kind(value)
            except ValueError:
                number = 0
            if not 0 < number < 10**6 or part not in ("", *PARTS):
                raise click.BadParameter(f"{text!r} is neither a number above 0 nor PART=NUMBER")
            found.update(dict.fromkeys([part] if part else PARTS, number))
        return found

    return read
