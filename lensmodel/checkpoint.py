"""Checkpoints: RUN/checkpoint-000100/, there whole or not at all.

    model/, ema/           diffusers folders (config.json and safetensors) of the raw and the averaged weights
    optimizer.safetensors  AdamW's moments by parameter number
    state.json             step, plan position, settings, encoder with its template, latents, data fingerprint

Noise, times, crops and caption dropout are functions of (seed, plan position), so there is no generator to
save: the position in state.json is the state of every random choice.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from catalog.errors import BadInput, LensError
from catalog.parts import fsync_folder

FORMAT = "lens-checkpoint/1"
_NAME = re.compile(r"checkpoint-(\d{6,})")


def numbered(run: Path) -> list[tuple[int, Path]]:
    """(step, folder) of every finished checkpoint in a run folder, oldest first."""
    found = [
        (int(m[1]), p) for p in run.glob("checkpoint-*") if (m := _NAME.fullmatch(p.name)) and p.is_dir()
    ]
    return sorted(found)


def find(path: Path) -> Path:
    """The checkpoint `path` names: itself, or the newest one of a run folder. BadInput if there is none."""
    if (path / "state.json").is_file():
        return path
    checkpoints = numbered(path)
    if checkpoints:
        return checkpoints[-1][1]
    what = "has no checkpoint in it" if path.is_dir() else "does not exist"
    raise BadInput(
        f"{path} {what}; give the --out folder of `lensmodel train` or one of its checkpoint-* folders"
    )


def read_state(checkpoint: Path) -> dict[str, Any]:
    """What state.json says. Raises BadInput if it is damaged or of another version."""
    file = checkpoint / "state.json"
    try:
        state = json.loads(file.read_text())
        found = state["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{file} cannot be read ({error}); use another checkpoint") from None
    if found != FORMAT:
        raise BadInput(f"{checkpoint} is a {found!r} checkpoint and this version reads {FORMAT!r}")
    return state


def save_checkpoint(
    run: Path,
    step: int,
    models: dict[str, Any],
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    keep: int,
) -> Path:
    """Write RUN/checkpoint-STEP and then delete all but the newest `keep`. `models`: folder name ->
    ModelMixin.

    Raises LensError (and leaves every earlier checkpoint as it was) if the disk is full.
    """
    final = run / f"checkpoint-{step:06d}"
    temporary = run / f".saving-{final.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        for name, model in models.items():
            model.save_pretrained(temporary / name)
        (temporary / "optimizer.safetensors").write_bytes(_optimizer_bytes(optimizer))
        text = json.dumps({"format": FORMAT, "step": step, **state}, indent=1)
        (temporary / "state.json").write_text(text)
        for file in sorted(temporary.rglob("*"), reverse=True):
            fsync_folder(file)  # an fsync by path: files and folders alike
        fsync_folder(temporary)
        if final.exists():
            shutil.rmtree(final)
        temporary.rename(final)
        fsync_folder(run)
    except (OSError, SafetensorError, RuntimeError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        why = "no space left on the disk" if full else str(error)
        raise LensError(
            f"could not save {final}: {why}; earlier checkpoints are intact; make room and use --resume"
        ) from error
    for _, old in numbered(run)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def sweep(run: Path) -> None:
    """Remove what a killed run was in the middle of saving."""
    for half in run.glob(".saving-checkpoint-*"):
        shutil.rmtree(half, ignore_errors=True)


def _optimizer_bytes(optimizer: torch.optim.Optimizer) -> bytes:
    tensors = {
        f"{number}.{name}": value.detach().cpu().contiguous()
        for number, entries in optimizer.state_dict()["state"].items()
        for name, value in entries.items()
    }
    return save(tensors)


def load_optimizer(checkpoint: Path, optimizer: torch.optim.Optimizer) -> None:
    """Put the saved moments back; learning rates and other options stay those of `optimizer`."""
    file = checkpoint / "optimizer.safetensors"
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise BadInput(
            f"{file} cannot be read ({error}); delete this checkpoint to resume from the one before"
        ) from None
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
