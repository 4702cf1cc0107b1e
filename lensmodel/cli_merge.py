"""`lensmodel merge`: an adapter and its base as one model."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from catalog import extras
from catalog.console import LOCAL_PATH
from catalog.errors import BadInput, LensError


@click.command("merge")
@click.option(
    "--checkpoint", type=LOCAL_PATH, required=True,
    help="A run of LoRA (its newest checkpoint) or one of its checkpoints.",
)  # fmt: skip
@click.option("--out", type=LOCAL_PATH, required=True, help="New folder for the whole model.")
@click.option(
    "--base",
    type=LOCAL_PATH,
    help="Where the model it is for is now, if not where it was in training.",
)
@click.option("--raw", is_flag=True, help="Use the raw adapter instead of the averaged one (EMA).")
def merge(checkpoint: Path, out: Path, base: Path | None, raw: bool) -> None:
    """Write the model with its adapter (LoRA) folded in: an ordinary diffusers folder, in float32.

    It draws what base and adapter draw together, and init_from= takes it.

    \b
    Example:
      lensmodel merge --checkpoint mine-lora --out mine-model
    """
    extras.require("train", "lensmodel merge")
    from safetensors import SafetensorError

    from lensmodel import checkpoint as checkpoints
    from lensmodel import origin

    folder = checkpoints.find(checkpoint)
    state = checkpoints.read_state(folder)
    if not state["settings"].get("lora_rank"):
        raise BadInput(f"{folder} is a whole model already; there is no adapter in it to merge")
    if out.exists():
        raise BadInput(f"--out {out} exists; name a new folder")
    weights = "model" if raw else "ema"
    checkpoints.verify(folder, state, f"{weights}/")
    model = origin.whole(folder / weights, state, base)
    half = out.with_name(f".{out.name}.half")
    try:
        shutil.rmtree(half, ignore_errors=True)
        model.save_pretrained(half)
        checkpoints.share(half)
        half.rename(out)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(half, ignore_errors=True)
        raise LensError(f"could not write {out}: {error}") from None
    click.echo(out)
