"""Does a picture show what a text asserts? Answered rubric by rubric, from pixels alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lensmodel.shapes.scene import RELATIONS, place, relates
from lensmodel.shapes.see import Seen, Thing, look
from lensmodel.shapes.spec import NUMBERS, Item, Relation, Spec

TOLERANCE = 0.04  # of a side: how far beyond its third of the picture a thing may stand and still count


class Rubric(NamedTuple):
    text: str
    passed: bool


Check = Callable[[Seen], bool]


def verify(image: np.ndarray, spec: Spec) -> list[Rubric]:
    """Every rubric of `spec` and whether `image`, uint8 [H, W, 3], passes it; the last is always that nothing else
    is there."""
    seen = look(image)
    return [Rubric(text, check(seen)) for text, check in _checks(spec)]


def strict(image: np.ndarray, spec: Spec) -> bool:
    """Whether all rubrics pass."""
    return all(rubric.passed for rubric in verify(image, spec))


def rubrics(spec: Spec) -> list[str]:
    """The texts that `verify` returns, in its order."""
    return [text for text, _ in _checks(spec)]


def _checks(spec: Spec) -> list[tuple[str, Check]]:
    checks: dict[str, Check] = {}
    names: Counter[str] = Counter()
    groups: Counter[tuple[str, str | None]] = Counter()
    for item in spec.items:
        names[item.shape] += item.count
        groups[item.shape, item.colour] += item.count
    for shape, n in names.items():
        checks[_there(Item(shape, count=n))] = _at_least(Item(shape), n)
    for (shape, colour), n in groups.items():
        item = Item(shape, colour, n)
        if colour:
            checks[_there(item)] = _at_least(item, n)
        if n > 1:
            checks[f"there are exactly {NUMBERS[n]} {item.noun}"] = _exactly(item, n)
    for item in spec.items:
        sized = f"{item.size} " if item.size else ""
        told = f"{_there(item, sized)} {'in' if item.place == 'middle' else 'at'} the {item.place}"
        if item.size:
            checks[_there(item, sized)] = _at_least(Item(item.shape, item.colour, size=item.size), item.count)
        if item.place:
            checks[told] = _at_least(item, item.count)
    for relation in spec.relations:
        first, second = spec.items[relation.first], spec.items[relation.second]
        text = f"the {first.noun} is {_wording(relation.relation)} the {second.noun}"
        checks[text] = _related(first, second, relation)
    if spec.tone:
        checks[f"the background is {spec.tone}"] = lambda seen: seen.tone == spec.tone
    if spec.texture:
        kind = "is plain" if spec.texture == "plain" else f"has {spec.texture}"
        checks[f"the background {kind}"] = lambda seen: seen.texture == spec.texture
    total = sum(names.values())
    checks["there is nothing else"] = lambda seen: seen.tone is not None and len(seen.things) == total
    return list(checks.items())


def _there(item: Item, sized: str = "") -> str:
    number = "is a" if item.count == 1 else f"are {NUMBERS[item.count]}"
    return f"there {number} {sized}{item.noun}"


def _wording(relation: str) -> str:
    return relation if RELATIONS[relation][1] else f"to the {relation}"


def _fits(thing: Thing, item: Item, seen: Seen) -> bool:
    return (
        thing.shape == item.shape
        and item.colour in (None, thing.colour)
        and item.size in (None, thing.size)
        and (item.place is None or _stands(thing, item.place, seen))
    )


def _stands(thing: Thing, where: str, seen: Seen) -> bool:
    shifts = (-TOLERANCE, 0, TOLERANCE)
    return any(
        place(thing.x + u * seen.width, thing.y + v * seen.height, seen.width, seen.height) == where
        for u in shifts
        for v in shifts
    )


def _at_least(item: Item, count: int) -> Check:
    return lambda seen: sum(_fits(thing, item, seen) for thing in seen.things) >= count


def _exactly(item: Item, count: int) -> Check:
    return lambda seen: sum(_fits(thing, item, seen) for thing in seen.things) == count


def _related(first: Item, second: Item, relation: Relation) -> Check:
    def check(seen: Seen) -> bool:
        return any(
            relates(relation.relation, a.x - b.x, a.y - b.y, a.r + b.r)
            for a in seen.things
            if _fits(a, first, seen)
            for b in seen.things
            if b is not a and _fits(b, second, seen)
        )

    return check
