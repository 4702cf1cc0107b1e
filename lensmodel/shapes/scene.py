"""Scenes: one to four coloured shapes on a textured grey background, and how they are sampled.

Two worlds. `grid`: shapes stand in the middle of cells half as wide as the picture's short side; at 32, 48 or 64
pixels a cell is a whole number of mini's 8-pixel patches. `free`: anywhere, a little larger or smaller.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from random import Random

from catalog.errors import BadInput
from lensmodel.shapes.geometry import REACH, SHAPES, TEXTURES

# Near the corners of the RGB cube, on greys: a blend of a colour with the background keeps its direction.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (225, 35, 35),
    "green": (35, 175, 50),
    "blue": (40, 60, 225),
    "yellow": (240, 225, 40),
    "cyan": (40, 215, 225),
    "purple": (185, 45, 205),
    "white": (250, 250, 250),
    "black": (8, 8, 8),
}
TONES: dict[str, int] = {"dark grey": 90, "grey": 128, "light grey": 166}
SIZES: dict[str, float] = {"small": 0.138, "large": 0.205}  # radius over the picture's short side
WORLDS = ("grid", "free")
KINDS: dict[str, int] = {"one": 4, "pair": 8, "group": 5, "mixed": 3}  # relative frequencies
RELATIONS: dict[str, tuple[int, int]] = {
    "left of": (-1, 0),
    "right of": (1, 0),
    "above": (0, -1),
    "below": (0, 1),
}
Pair = tuple[str, str]  # colour, shape
# One shape of each colour, which `leave_out` keeps out of training pictures.
UNSEEN: frozenset[Pair] = frozenset(zip(COLOURS, [*SHAPES, "circle", "square"], strict=True))


@dataclass(frozen=True)
class Shape:
    """`x`, `y` of the centre and `r`, the radius, in pixels of the scene's size; y grows downwards."""

    shape: str
    colour: str
    size: str
    x: float
    y: float
    r: float


@dataclass(frozen=True)
class Scene:
    """What a picture of `width` x `height` pixels shows. Shapes never overlap."""

    width: int
    height: int
    tone: str
    texture: str
    shapes: tuple[Shape, ...]


def place(x: float, y: float, width: float, height: float) -> str:
    """Where in the picture, by thirds: "top left", "top", ..., "middle"."""
    row = ("top", "", "bottom")[min(2, int(3 * y / height))]
    column = ("left", "", "right")[min(2, int(3 * x / width))]
    return f"{row} {column}".strip() or "middle"


def relates(relation: str, dx: float, dy: float, radii: float) -> bool:
    """GenEval's rule: whether something at an offset (dx, dy) from something else is `left of`, `right of`, `above`
    or `below` it. Offsets count beyond a tenth of the sum of the two sides (`radii`: r1 + r2); the direction must
    be within 60 degrees."""
    slack = 0.2 * radii
    dx, dy = (math.copysign(max(abs(d) - slack, 0), d) for d in (dx, dy))
    length = math.hypot(dx, dy)
    towards = RELATIONS[relation]
    return length > 0 and (dx * towards[0] + dy * towards[1]) / length > 0.5


def sample(
    rng: Random, width: int, height: int, world: str = "grid", kind: str | None = None,
    pairs: Collection[Pair] | None = None,
) -> Scene:  # fmt: skip
    """A random scene. `kind`: "one" shape; "pair", two different shapes; "group", one to four of the same shape;
    "mixed", three or four. `pairs`: the (colour, shape) to use, all if None.

    Raises BadInput for an unknown world, or a side below 16 pixels or of more than 4 times the other.
    """
    if world not in WORLDS:
        raise BadInput(f"there is no world {world!r}; there are {', '.join(WORLDS)}")
    if min(width, height) < 16 or max(width, height) > 4 * min(width, height):
        raise BadInput(f"a scene of {width}x{height} pixels: sides must be at least 16 and at most 1:4")
    kind = kind or rng.choices(list(KINDS), list(KINDS.values()))[0]
    allowed = sorted(pairs) if pairs is not None else [(c, s) for c in COLOURS for s in SHAPES]
    chosen = _cast(rng, kind, allowed)
    sizes = [rng.choice(list(SIZES)) for _ in chosen]
    spots = _grid(rng, sizes, width, height) if world == "grid" else _free(rng, sizes, width, height)
    shapes = (
        Shape(shape, colour, size, *spot)
        for (colour, shape), size, spot in zip(chosen, sizes, spots, strict=True)
    )
    return Scene(width, height, rng.choice(list(TONES)), rng.choice(TEXTURES), tuple(shapes))


def _cast(rng: Random, kind: str, allowed: list[Pair]) -> list[Pair]:
    first = rng.choice(allowed)
    if kind == "one":
        return [first]
    if kind == "pair":
        return [first, rng.choice([pair for pair in allowed if pair[1] != first[1]])]
    if kind == "group":
        count = rng.randint(1, 4)
        alike = [pair for pair in allowed if pair[1] == first[1]]
        return [first] * count if rng.random() < 0.5 else [rng.choice(alike) for _ in range(count)]
    count = rng.randint(3, 4)
    return [first if rng.random() < 0.2 else rng.choice(allowed) for _ in range(count)]


def _grid(rng: Random, sizes: list[str], width: int, height: int) -> list[tuple[float, float, float]]:
    short = min(width, height)
    columns, rows = 2 * width // short, 2 * height // short
    # The cells are spread evenly to both edges: where a side is no multiple of a cell there are gaps between them.
    xs = [short / 4 + i * (width - short / 2) / (columns - 1) for i in range(columns)]
    ys = [short / 4 + i * (height - short / 2) / (rows - 1) for i in range(rows)]
    unit = 8 if short % 16 == 0 else 4  # centres at whole (half) patches from the first cell's
    xs, ys = ([short / 4 + unit * round((v - short / 4) / unit) for v in side] for side in (xs, ys))
    cells = rng.sample([(x, y) for y in ys for x in xs], len(sizes))
    return [(x, y, SIZES[size] * short) for (x, y), size in zip(cells, sizes, strict=True)]


def _free(rng: Random, sizes: list[str], width: int, height: int) -> list[tuple[float, float, float]]:
    short = min(width, height)
    gap, most = 0.06 * short, 1.05
    while True:  # ends: at 0.92 of their size even four large shapes find room, after some tens of tries
        spots: list[tuple[float, float, float]] = []
        for size in sizes:
            r = SIZES[size] * short * rng.uniform(0.92, most)
            edge = REACH * r + 0.01 * short
            for _ in range(20):
                x, y = rng.uniform(edge, width - edge), rng.uniform(edge, height - edge)
                apart = (
                    max(abs(x - u), abs(y - v)) >= REACH * (r + s) + gap
                    or math.hypot(x - u, y - v) >= 1.3 * (r + s) + gap  # a square's corners reach 1.273 r
                    for u, v, s in spots
                )
                if all(apart):
                    spots.append((x, y, r))
                    break
            else:
                break
        if len(spots) == len(sizes):
            return spots
        most = max(0.92, most - 0.01)
