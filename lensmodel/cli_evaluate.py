"""`lensmodel evaluate`: what a checkpoint can do, by benchmark."""

from __future__ import annotations

import io
import math
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from catalog import extras
from catalog.console import LOCAL_PATH, emit_json
from catalog.errors import BadInput
from catalog.store.parts import write_bytes

if TYPE_CHECKING:
    from PIL import Image


@click.group()
def evaluate() -> None:
    """Score a checkpoint on a benchmark.

    \b
    lensmodel evaluate shapes --checkpoint run
    """


@evaluate.command("shapes")
@click.option(
    "--checkpoint", "checkpoints", type=LOCAL_PATH, required=True, multiple=True,
    help="A run's folder (its newest checkpoint) or a checkpoint; repeat for several.",
)  # fmt: skip
@click.option(
    "--form", "forms", type=click.Choice(["dense", "brief"]), multiple=True, default=("dense",),
    show_default=True,
    help="Draw the prompts as they are, or as a reasoner rewrites them; repeat for both.",
)  # fmt: skip
@click.option(
    "--world",
    type=click.Choice(["grid", "free"]),
    default="grid",
    show_default=True,
    help="See `lensmodel shapes`.",
)
@click.option(
    "--width", type=click.IntRange(16, 8192),
    help="In bucket pixels, as for `lensmodel sample`; default: the main bucket's.",
)  # fmt: skip
@click.option("--height", type=click.IntRange(16, 8192), help="As --width.")
@click.option("-n", "--n", "n", type=click.IntRange(1), default=80, show_default=True, help="Prompts a task.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed asks and draws the same.")
@click.option("--steps", type=click.IntRange(1, 1000), default=12, show_default=True, help="Sampling steps.")
@click.option(
    "--guidance",
    type=click.FloatRange(0, 1000),
    default=3.0,
    show_default=True,
    help="Strength of the prompt; 1 is off.",
)
@click.option("--raw", is_flag=True, help="Use the raw weights instead of the averaged ones (EMA).")
@click.option("--encoder", help="Where the language encoder is now, if not where it was in training.")
@click.option("--vae", help="Where the autoencoder is now, if not where it was in training.")
@click.option(
    "--base",
    type=LOCAL_PATH,
    help="Of an adapter (LoRA): where the model it is for is now, if not where it was in training.",
)
@click.option(
    "--features",
    type=LOCAL_PATH,
    help="Folder of a cache for the prompts' text features; training's may serve.",
)
@click.option(
    "--sheet",
    type=LOCAL_PATH,
    help="PNG that shows the last one's score, and pictures of each task with their prompts and marks.",
)
@click.option(
    "--columns",
    type=click.IntRange(1, 32),
    default=8,
    show_default=True,
    help="Pictures in a row of --sheet.",
)
@click.option(
    "--prompt", "prompts", multiple=True,
    help="Draw this, too, below the tasks of --sheet; nothing marks it (repeatable).",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print each result as a line of JSON on stdout.")
def shapes(
    checkpoints: tuple[Path, ...], forms: tuple[str, ...], world: str, width: int | None, height: int | None,
    n: int, seed: int, steps: int, guidance: float, raw: bool, encoder: str | None, vae: str | None,
    base: Path | None, features: Path | None, sheet: Path | None, columns: int, prompts: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """The world of shapes: draw 6 x N prompts and let the verifier mark the pictures (docs/shapes.md).

    overall is the mean over the six tasks of the share that shows what the prompt says; strict the share that shows all
    the drawn text says; rubrics the mean share of its assertions that hold.

    \b
    Example:
      lensmodel evaluate shapes --checkpoint run --form dense --form brief
      lensmodel evaluate shapes --checkpoint run --sheet run.png --prompt "a red heart" --prompt "a green tree"
    """
    extras.require("train", "lensmodel evaluate")
    if not math.isfinite(guidance):
        raise BadInput(f"--guidance {guidance} is no finite number")
    if sheet:
        _check_sheet(sheet)
    elif prompts:
        raise BadInput(
            "--prompt is drawn on the sheet; give --sheet FILE.png, too, or use `lensmodel sample`"
        )
    from lensmodel import checkpoint
    from lensmodel.generate import Generator
    from lensmodel.shapes.exam import Exam, take
    from lensmodel.shapes.prompts import TASKS
    from lensmodel.shapes.sheet import of_exam

    exam = Exam("dense", world, width, height, n, seed, guidance, steps)
    weights, names = "model" if raw else "ema", [*TASKS, "overall", "strict", "rubrics"]
    heading = "" if as_json else "  ".join(["checkpoint         form ", *names])
    for path in [checkpoint.find(path) for path in checkpoints]:  # all must be there before any is examined
        generator = Generator(path, weights, encoder, base=base, vae=vae, features=features)
        size = dict(zip(("width", "height"), generator.size(width, height), strict=True))
        for form in forms:
            marks, pictures = take(generator, replace(exam, form=form))
            if as_json:
                state = generator.state
                about = {"step": state["step"], "cpu_seconds": state["cpu_seconds"], "weights": weights}
                asked = {**asdict(exam), "form": form, **size}
                emit_json({"checkpoint": str(generator.folder), **about, **asked, **asdict(marks)})
                continue
            if heading:
                click.echo(heading)
                heading = ""
            shares = [*marks.tasks.values(), marks.overall, marks.strict, marks.rubrics]
            cells = [f"{share:{len(name)}.3f}" for name, share in zip(names, shares, strict=True)]
            click.echo("  ".join([f"{generator.folder.name:18} {form:5}", *cells]))
    if sheet:
        drawn, about = of_exam(generator, replace(exam, form=forms[-1]), marks, pictures, prompts, columns)
        _write_png(sheet, drawn, about)
        if not as_json:
            click.echo(f"{marks.overall:.0%} of {len(pictures)} prompts drawn as asked: {sheet}")


def _write_png(path: Path, image: Image.Image, about: dict[str, str]) -> None:
    """Write `image` with `about` inside. Raises BadInput if it cannot be written."""
    from PIL.PngImagePlugin import PngInfo

    inside, data = PngInfo(), io.BytesIO()
    for key, value in about.items():
        inside.add_itxt(key, value)
    image.save(data, "PNG", pnginfo=inside, optimize=True)
    try:
        write_bytes(path, data.getvalue())
    except OSError as error:
        raise BadInput(f"--sheet {path} cannot be written ({error.strerror})") from None


def _check_sheet(sheet: Path) -> None:
    """Raise BadInput if `sheet` cannot become a PNG file, before the work begins; makes its folder."""
    if sheet.suffix.lower() != ".png" or sheet.is_dir():
        raise BadInput(f"--sheet {sheet} does not name a PNG file")
    try:
        sheet.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=sheet.parent).close()
    except OSError as error:
        raise BadInput(f"--sheet {sheet} cannot be written ({error.strerror})") from None
