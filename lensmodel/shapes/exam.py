"""The exam of a checkpoint: it draws the prompts of the six tasks, and the verifier marks the pictures.

A prompt is drawn in one of two forms: "brief", its own text, or "dense", what a reasoner makes of it before it is
drawn (the paper's pipeline; here the exact dense caption of a scene that satisfies the prompt). The score asks, in both
forms, for what the prompt asserts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from catalog.errors import BadInput
from lensmodel.shapes.prompts import Prompt, ask, rewritten, score
from lensmodel.shapes.spec import Spec
from lensmodel.shapes.verify import verify

if TYPE_CHECKING:
    from lensmodel.generate import Generator

FORMS = ("dense", "brief")


@dataclass(frozen=True)
class Marks:
    """`tasks`: the share of each task's pictures that pass every rubric of their prompt; `overall`: the mean over
    tasks. Of the text that was drawn, which says more in dense form: `strict` is the share of pictures that pass all
    its rubrics, `rubrics` the mean share of them that pass."""

    tasks: dict[str, float]
    overall: float
    strict: float
    rubrics: float


@dataclass(frozen=True)
class Exam:
    """What is asked, and how it is drawn: `n` prompts a task for pictures of `width` x `height` (of a bucket; None: the
    run's main one), which `seed` chooses together with the noise. Raises BadInput for an unknown form."""

    form: str = "dense"
    world: str = "grid"
    width: int | None = None
    height: int | None = None
    n: int = 80
    seed: int = 0
    guidance: float = 3.0
    steps: int = 12

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise BadInput(f"there is no form {self.form!r} of a prompt; there are {', '.join(FORMS)}")


def take(generator: Generator, exam: Exam) -> tuple[Marks, list[np.ndarray]]:
    """The marks of a checkpoint and its pictures, `exam.n` a task, in the order of the tasks."""
    from lensmodel.generate import Options

    asked = questions(generator, exam)
    told = texts(asked, exam.form)
    options = Options(exam.width, exam.height, steps=exam.steps, guidance=exam.guidance, seed=exam.seed)
    pictures = generator.draw([text for text, _ in told], options)
    return mark(pictures, asked, [spec for _, spec in told]), pictures


def questions(generator: Generator, exam: Exam) -> list[Prompt]:
    """The prompts of an exam of this checkpoint, `exam.n` a task, in the order of the tasks."""
    size = generator.latents.pixel_size(*generator.size(exam.width, exam.height))
    return ask(exam.n, exam.seed, exam.world, size)


def texts(asked: Sequence[Prompt], form: str) -> list[tuple[str, Spec]]:
    """What is drawn for each prompt, and what that text asserts."""
    return [rewritten(prompt) if form == "dense" else (prompt.text, prompt.spec) for prompt in asked]


def mark(pictures: Sequence[np.ndarray], asked: Sequence[Prompt], told: Sequence[Spec]) -> Marks:
    """Judge pictures, uint8 [H, W, 3], by their prompts and by what the texts they were drawn from assert."""
    scores = score(pictures, asked)
    passed = [
        [rubric.passed for rubric in verify(picture, spec)]
        for picture, spec in zip(pictures, told, strict=True)
    ]
    return Marks(
        tasks={task: share for task, share in scores.items() if task != "overall"},
        overall=scores["overall"],
        strict=float(np.mean([all(each) for each in passed])),
        rubrics=float(np.mean([np.mean(each) for each in passed])),
    )
