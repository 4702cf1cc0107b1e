"""The sheet of an exam: its score above a row of pictures for each task, and other prompts below, if any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from lensmodel.shapes.exam import Exam, Marks, questions
from lensmodel.shapes.prompts import TASKS, Prompt
from lensmodel.shapes.verify import strict
from lensmodel.sheet import Cell, Row, Section, sheet

if TYPE_CHECKING:
    from PIL import Image

    from lensmodel.generate import Generator

DRAWN = {
    "dense": "each drawn from its dense rewriting",
    "brief": "each drawn as it is written here",
}


def of_exam(
    generator: Generator,
    exam: Exam,
    marks: Marks,
    pictures: Sequence[np.ndarray],
    prompts: Sequence[str],
    columns: int,
) -> tuple[Image.Image, dict[str, str]]:
    """The sheet, with `columns` pictures a row, and what decides it, for a PNG to hold.

    `marks` and `pictures` are what `exam.take` gave; `prompts` are drawn here as the exam was, and nothing marks them.
    """
    from lensmodel.generate import Options

    sections = [tasks(exam, questions(generator, exam), pictures, marks, columns)]
    options = Options(exam.width, exam.height, exam.steps, exam.guidance, exam.seed)
    unique = list(dict.fromkeys(prompts))
    if unique:
        cells = [Cell(*drawn) for drawn in zip(generator.draw(unique, options), unique, strict=True)]
        rows = [Row(cells[start : start + columns]) for start in range(0, len(cells), columns)]
        sections.append(
            Section("Other prompts", "Each drawn as it is written here; nothing marks them.", rows)
        )
    about = generator.about(options)
    minutes = f"{generator.state['cpu_seconds'] / 60:.1f} CPU minutes of training"
    how = (
        f"{about['checkpoint']} after {minutes}; {about['steps']} sampling steps, guidance {exam.guidance:g}"
    )
    passed = f"{marks.overall:.0%} of {len(pictures)} prompts drawn as asked"
    return sheet(passed, how, sections), {"prompts": "\n".join(unique), **_flat(marks), **about}


def tasks(
    exam: Exam, asked: Sequence[Prompt], pictures: Sequence[np.ndarray], marks: Marks, columns: int
) -> Section:
    """A row a task: its first pictures with their prompts, and whether the verifier passes them."""
    rows = []
    for number, task in enumerate(TASKS):
        chosen = range(number * exam.n, number * exam.n + min(columns, exam.n))
        cells = [Cell(pictures[i], asked[i].text, strict(pictures[i], asked[i].spec)) for i in chosen]
        passed = round(marks.tasks[task] * exam.n)
        rows.append(Row(cells, (task.replace("_", " "), f"{passed} of {exam.n} as asked")))
    return Section(
        "The world of shapes", f"{exam.n} prompts a task, {DRAWN[exam.form]}; the verifier marks them.", rows
    )


def _flat(marks: Marks) -> dict[str, str]:
    fields = asdict(marks)
    return {name: f"{share:.4f}" for name, share in {**fields.pop("tasks"), **fields}.items()}
