"""Exact English for a scene: a dense caption that tells everything, brief ones that tell a part.

Each returns the text and its `Spec`. Texts are ASCII. Dense captions stay within the 60 tokens that mini's
language encoder reads.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from random import Random

from lensmodel.shapes.scene import RELATIONS, Scene, relates
from lensmodel.shapes.spec import NUMBERS, Item, Relation, Spec, describe

WORDING: dict[str, tuple[str, ...]] = {
    "left of": ("to the left of", "left of"),
    "right of": ("to the right of", "right of"),
    "above": ("above",),
    "below": ("below",),
}
FRAMES = ("{}", "a picture of {}", "an image of {}", "a drawing of {}")


def dense(scene: Scene, rng: Random) -> tuple[str, Spec]:
    """Background, every shape with size, colour and place, and a relation if two shapes can be told apart."""
    items = describe(scene, fully=True)
    spec = Spec(items, _relation(scene, items, rng), scene.tone, scene.texture)
    ground, things = _ground(scene.tone, scene.texture), _join([_full(item) for item in items])
    total = len(scene.shapes)
    whole = f"{NUMBERS[total]} shape{'s' * (total > 1)}"
    verb = "is" if items[0].count == 1 else "are"
    text = rng.choice(
        (
            f"{ground} with {whole}: {things}.",
            f"on {ground} there {verb} {things}.",
            f"{things}, on {ground}.",
        )
    )
    for r in spec.relations:
        first, second = (f"the {items[i].noun}" for i in (r.first, r.second))
        wording = WORDING[r.relation]
        text += f" {_capital(first)} is {rng.choice(wording) if len(items) < 4 else wording[-1]} {second}."
    return _capital(text), spec


def brief(scene: Scene, rng: Random) -> tuple[str, Spec]:
    """The shapes in a few words: with or without colours, the background's tone, or a relation."""
    names = Counter(s.shape for s in scene.shapes)
    draw = rng.random()
    if len(scene.shapes) == 1:
        if draw < 0.4:
            return tell(Spec(describe(scene, False), tone=scene.tone), rng)
        return tell(Spec(describe(scene)), rng)
    if len(scene.shapes) == 2 and len(names) == 2:
        items = describe(scene, draw < 0.5)
        return tell(Spec(items, _relation(scene, items, rng) if 0.25 < draw < 0.75 else ()), rng)
    return tell(Spec(describe(scene, draw < 0.5)), rng)


def position(scene: Scene, rng: Random) -> tuple[str, Spec]:
    """A relation between the scene's two different shapes, without colours."""
    items = describe(scene, False)
    return tell(Spec(items, _relation(scene, items, rng)), rng)


def tell(spec: Spec, rng: Random) -> tuple[str, Spec]:
    """A brief text for `spec`, which must not tell sizes, places or the texture."""
    if spec.relations:
        r = spec.relations[0]
        first, second = (_name(spec.items[i]) for i in (r.first, r.second))
        text = f"{first} {rng.choice(WORDING[r.relation])} {second}"
    else:
        names = [_name(item) for item in spec.items]
        rng.shuffle(names)
        text = _join(names)
    if spec.tone:
        text += f" on {_ground(spec.tone, None)}"
    return rng.choice(FRAMES).format(text), spec


def _relation(scene: Scene, items: Sequence[Item], rng: Random) -> tuple[Relation, ...]:
    """A true relation between two items that stand for one shape each and are told apart by shape or colour."""
    nouns = Counter((item.shape, item.colour) for item in items)
    alone = [i for i, item in enumerate(items) if item.count == 1 and nouns[item.shape, item.colour] == 1]
    if len(alone) < 2:
        return ()
    first, second = rng.sample(alone, 2)
    a, b = (
        next(s for s in scene.shapes if s.shape == i.shape and i.colour in (None, s.colour))
        for i in (items[first], items[second])
    )
    dx, dy = a.x - b.x, a.y - b.y
    axis = abs(dx) >= abs(dy) if not math.isclose(abs(dx), abs(dy)) else rng.random() < 0.5
    names = [name for name, towards in RELATIONS.items() if bool(towards[0]) == axis]
    return tuple(Relation(first, name, second) for name in names if relates(name, dx, dy, a.r + b.r))


def _name(item: Item) -> str:
    return f"{'a' if item.count == 1 else NUMBERS[item.count]} {item.noun}"


def _full(item: Item) -> str:
    where = f"in the {item.place}" if item.place == "middle" else f"at the {item.place}"
    return f"{'a' if item.count == 1 else NUMBERS[item.count]} {item.size} {item.noun} {where}"


def _ground(tone: str, texture: str | None) -> str:
    if texture in ("horizontal stripes", "vertical stripes", "checks", "dots"):
        return f"a {tone} background with {texture}"
    return f"a plain {tone} background" if texture else f"a {tone} background"


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
