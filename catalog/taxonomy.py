"""The taxonomy from which RL prompts are made (paper, section 2.4, "Lens-RL-8K Dataset").

taxonomy.json holds the paper's ten categories, its five description dimensions and its global rubric. The
paper names few sub-categories and items and publishes no list, so both are this project's own: 24 or more
sub-categories a category, each with a few concrete items as seeds. They are not the paper's 8,406 items;
those have to be grown from these seeds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from catalog.errors import LensError

CATEGORIES = (
    "Human", "Object", "Animal", "Plant", "Scene", "Food", "Event", "Fictional World", "Text",
    "UI and Graphic Design",
)  # fmt: skip
DIMENSIONS = ("Attribute", "Spatial Relationship", "Count", "Interaction", "Color")


@dataclass(frozen=True)
class Item:
    """One concrete thing to draw. `item_id` is its place in the file, from 0."""

    item_id: int
    category: str
    subcategory: str
    item: str


@dataclass(frozen=True)
class Taxonomy:
    """`categories`: category -> sub-category -> items; `dimensions`: name -> what a prompt says about it."""

    version: int
    categories: Mapping[str, Mapping[str, tuple[str, ...]]]
    dimensions: Mapping[str, str]
    global_rubric: str

    def items(self) -> list[Item]:
        """Every item, in the file's order."""
        flat = (
            (category, subcategory, item)
            for category, subcategories in self.categories.items()
            for subcategory, items in subcategories.items()
            for item in items
        )
        return [Item(number, *place) for number, place in enumerate(flat)]


@cache
def load() -> Taxonomy:
    """The taxonomy this package carries. Raises LensError if the file is damaged."""
    try:
        return parse(json.loads(files("catalog").joinpath("taxonomy.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise LensError(
            f"the taxonomy in the installed package is damaged ({error}); reinstall it"
        ) from error


def parse(data: Any) -> Taxonomy:
    """Check the JSON value `data` and make a Taxonomy of it. Raises ValueError saying what is wrong."""
    if not isinstance(data, dict) or set(data) != {"version", "global_rubric", "dimensions", "categories"}:
        raise ValueError("expected version, global_rubric, dimensions and categories")
    if not isinstance(data["categories"], dict) or tuple(data["categories"]) != CATEGORIES:
        raise ValueError(f"the categories must be {', '.join(CATEGORIES)}")
    if not isinstance(data["dimensions"], dict) or tuple(data["dimensions"]) != DIMENSIONS:
        raise ValueError(f"the dimensions must be {', '.join(DIMENSIONS)}")
    seen: dict[str, str] = {}
    for category, subcategories in data["categories"].items():
        if not isinstance(subcategories, dict) or not subcategories:
            raise ValueError(f"{category} has no sub-categories")
        for subcategory, items in subcategories.items():
            place = f"{category} / {subcategory}"
            if not isinstance(items, list) or not items:
                raise ValueError(f"{place} has no items")
            for item in items:
                if not isinstance(item, str) or not item or item != item.strip():
                    raise ValueError(f"{place} holds {item!r}, which is no name")
                if item.casefold() in seen:
                    raise ValueError(f"{item!r} is in {place} and in {seen[item.casefold()]}")
                seen[item.casefold()] = place
    categories = {
        category: {name: tuple(items) for name, items in subcategories.items()}
        for category, subcategories in data["categories"].items()
    }
    return Taxonomy(data["version"], categories, data["dimensions"], data["global_rubric"])
