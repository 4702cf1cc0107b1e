"""Prompts for GenEval's six tasks in the world of shapes, with what each asserts and a scene that satisfies it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from catalog.errors import BadInput
from lensmodel.shapes import caption
from lensmodel.shapes.scene import COLOURS, UNSEEN, Pair, Scene, sample
from lensmodel.shapes.spec import Spec, describe
from lensmodel.shapes.verify import strict

TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
COMBOS = ("all", "seen", "unseen")
_KIND = {"single_object": "one", "colors": "one", "counting": "group"}
_TRIES = 40  # draws for a text that no earlier prompt of the task has


@dataclass(frozen=True)
class Prompt:
    """`scene` is one that `text` is true of; a picture needs not show the same one to pass."""

    task: str
    text: str
    spec: Spec
    scene: Scene


def prompts(
    task: str, n: int = 80, seed: int = 0, world: str = "grid", size: tuple[int, int] = (32, 32),
    combos: str = "all",
) -> list[Prompt]:  # fmt: skip
    """`n` prompts of one of the six tasks; a longer list starts with the shorter. Texts differ while the grammar has
    new ones. `combos`: which pairs of colour and shape they name; "unseen" are those that `leave_out` keeps out of a
    folder.

    Raises BadInput for an unknown task, world or choice of pairs.
    """
    if task not in TASKS:
        raise BadInput(f"there is no task {task!r}; there are {', '.join(TASKS)}")
    pairs = pairs_of(combos)
    made: list[Prompt] = []
    texts: set[str] = set()
    for index in range(n):
        rng = Random(f"prompt/{seed}/{task}/{index}")
        for _ in range(_TRIES):
            prompt = _make(rng, task, world, size, pairs)
            if prompt.text not in texts:
                break
        texts.add(prompt.text)
        made.append(prompt)
    return made


def ask(
    n: int = 80, seed: int = 0, world: str = "grid", size: tuple[int, int] = (32, 32), combos: str = "all"
) -> list[Prompt]:
    """`n` prompts of each of the six tasks, task by task; see `prompts`."""
    return [prompt for task in TASKS for prompt in prompts(task, n, seed, world, size, combos)]


def rewritten(prompt: Prompt) -> tuple[str, Spec]:
    """What a reasoner makes of a prompt before it is drawn: a dense caption of its scene, and what that asserts."""
    return caption.dense(prompt.scene, Random(f"rewritten/{prompt.scene}"))


def pairs_of(combos: str) -> Collection[Pair] | None:
    """The (colour, shape) pairs of a choice; None for all."""
    if combos not in COMBOS:
        raise BadInput(f"there is no choice of pairs {combos!r}; there are {', '.join(COMBOS)}")
    if combos == "all":
        return None
    if combos == "unseen":
        return UNSEEN
    from lensmodel.shapes.geometry import SHAPES

    return {(colour, shape) for colour in COLOURS for shape in SHAPES} - UNSEEN


def _make(
    rng: Random, task: str, world: str, size: tuple[int, int], pairs: Collection[Pair] | None
) -> Prompt:
    while True:  # ends: every kind of scene has some of what a task needs
        scene = sample(rng, *size, world=world, kind=_KIND.get(task, "pair"), pairs=pairs)
        if task != "color_attr" or scene.shapes[0].colour != scene.shapes[1].colour:
            break
    if task == "position":
        text, spec = caption.position(scene, rng)
    else:
        colours = task in ("colors", "color_attr")
        tone = scene.tone if task == "single_object" else None
        text, spec = caption.tell(Spec(describe(scene, colours), tone=tone), rng)
    return Prompt(task, text, spec, scene)


def score(images: Sequence[np.ndarray], asked: Sequence[Prompt]) -> dict[str, float]:
    """Per task the share of pictures that pass all rubrics of their prompt, and `overall`, the mean over tasks."""
    passed: dict[str, list[bool]] = {}
    for image, prompt in zip(images, asked, strict=True):
        passed.setdefault(prompt.task, []).append(strict(image, prompt.spec))
    scores = {task: float(np.mean(passed[task])) for task in TASKS if task in passed}
    return {**scores, "overall": float(np.mean(list(scores.values())))} if scores else {}


def shuffled(asked: Sequence[Prompt], seed: int = 0) -> list[Prompt]:
    """For each prompt another one of its task that asserts something else: a picture's wrong caption.

    Raises BadInput if a task has no two different ones.
    """
    rng = Random(f"shuffled/{seed}")
    wrong = []
    for prompt in asked:
        others = [other for other in asked if other.task == prompt.task and other.spec != prompt.spec]
        if not others:
            raise BadInput(
                f"the prompts of task {prompt.task} all assert the same; there is nothing to shuffle"
            )
        wrong.append(rng.choice(others))
    return wrong
