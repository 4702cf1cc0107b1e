"""What a text asserts of a picture, in a form that can be checked and stored as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from catalog.errors import BadInput
from lensmodel.shapes.geometry import SHAPES, TEXTURES
from lensmodel.shapes.scene import COLOURS, RELATIONS, SIZES, TONES, Scene, place

NUMBERS = ("no", "one", "two", "three", "four")
PLACES = ("top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right")


@dataclass(frozen=True)
class Item:
    """`count` equal shapes; what is None the text does not say."""

    shape: str
    colour: str | None = None
    count: int = 1
    size: str | None = None
    place: str | None = None

    @property
    def noun(self) -> str:
        """ "red circle", "red circles" """
        name = (
            self.shape
            if self.count == 1
            else f"{self.shape}es"
            if self.shape == "cross"
            else f"{self.shape}s"
        )
        return f"{self.colour} {name}" if self.colour else name


@dataclass(frozen=True)
class Relation:
    """Item number `first` is `relation` (left of, right of, above, below) item number `second`."""

    first: int
    relation: str
    second: int


@dataclass(frozen=True)
class Spec:
    """All shapes of a picture, relations between them, and the background as far as it is told."""

    items: tuple[Item, ...]
    relations: tuple[Relation, ...] = ()
    tone: str | None = None
    texture: str | None = None

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_plain(cls, fields: Mapping[str, Any]) -> Spec:
        """The spec that `plain` and JSON made `fields` of. Raises BadInput for anything else."""
        try:
            items = tuple(Item(**item) for item in fields["items"])
            relations = tuple(Relation(**relation) for relation in fields["relations"])
            spec = cls(items, relations, fields["tone"], fields["texture"])
            good = (
                items
                and all(
                    i.shape in SHAPES
                    and i.colour in (None, *COLOURS)
                    and i.size in (None, *SIZES)
                    and i.place in (None, *PLACES)
                    and i.count in range(1, len(NUMBERS))
                    for i in items
                )
                and all(
                    r.relation in RELATIONS and r.first in range(len(items)) and r.second in range(len(items))
                    for r in relations
                )
                and spec.tone in (None, *TONES)
                and spec.texture in (None, *TEXTURES)
            )
        except (KeyError, TypeError):
            good = False
        if not good:
            raise BadInput(f"this is no assertion about shapes: {fields}")
        return spec


def describe(scene: Scene, colours: bool = True, fully: bool = False) -> tuple[Item, ...]:
    """The scene's shapes as items, equal ones together, in the scene's order; `fully`: with sizes and places."""
    counts: Counter[tuple[str, str | None, str | None, str | None]] = Counter()
    for s in scene.shapes:
        where = place(s.x, s.y, scene.width, scene.height) if fully else None
        counts[s.shape, s.colour if colours else None, s.size if fully else None, where] += 1
    return tuple(
        Item(shape, colour, count, size, where) for (shape, colour, size, where), count in counts.items()
    )
