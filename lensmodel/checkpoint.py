"""Checkpoints: RUN/checkpoint-000100/, there whole or not at all.

    model/, ema/           diffusers folders (config.json and safetensors) of the raw and the averaged weights; of LoRA
                           only the adapters, see `lensmodel.lora`
    optimizer.safetensors  the optimiser's moments (AdamW's, Muon's) by parameter number
    state.json             step, plan position, settings, encoder with its template, latents, data fingerprint,
                           what the run started from, sha256 of every other file, numbers of the
                           parameters that have moments

Noise, times, crops and caption dropout are functions of (seed, plan position), so there is no generator to
save: the position in state.json is the state of every random choice.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from catalog.buckets import BY_NAME
from catalog.errors import BadInput, LensError
from catalog.store.parts import fsync
from lensmodel.optim import ADAMW, moments_of
from lensmodel.parallel import shard_like
from lensmodel.runlog import finite

FORMAT = "lens-checkpoint/2"
REMEDY = "delete this checkpoint to resume from the one before"
_FIELDS: dict[str, Any] = {  # what state.json must hold, and its JSON type
    "step": int,
    "position": int,
    "segments": list,
    "skipped": int,
    "train_seconds": int | float,
    "cpu_seconds": int | float,
    "first_validation": int | float | None,
    "last_validation": int | float | None,
    "settings": dict,
    "given_batches": dict,
    "encoder": dict,
    "latents": dict,
    "main_bucket": str,
    "manifest": dict,
    "files": dict,
    "moments": list,
}
_SEGMENT = {"step", "position", "width"}
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
    what = "has no checkpoint in it" if path.is_dir() else "is a file" if path.exists() else "does not exist"
    raise BadInput(
        f"{path} {what}; give the --out folder of `lensmodel train` or one of its checkpoint-* folders"
    )


def read_state(checkpoint: Path) -> dict[str, Any]:
    """What state.json says. Raises BadInput if it is damaged, incomplete or of another version."""
    file = checkpoint / "state.json"
    try:
        state = json.loads(file.read_text())
        found = state["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{file} cannot be read ({error}); {REMEDY}") from None
    if found != FORMAT:
        raise BadInput(f"{checkpoint} is a {found!r} checkpoint and this version reads {FORMAT!r}")
    state = {"cpu_seconds": 0.0, "given_batches": {}, **state}  # which runs of before did not count
    for key, kind in _FIELDS.items():
        if key not in state or not isinstance(state[key], kind):
            raise BadInput(f"{file} {'has a damaged' if key in state else 'lacks'} {key!r}; {REMEDY}")
    if not state["segments"] or any(
        not isinstance(s, dict) or s.keys() != _SEGMENT or any(type(n) is not int for n in s.values())
        for s in state["segments"]
    ):
        raise BadInput(f"{file} has a damaged 'segments'; {REMEDY}")
    if state["main_bucket"] not in BY_NAME:
        raise BadInput(f"{file} names the bucket {state['main_bucket']!r}, which there is not; {REMEDY}")
    if not all(isinstance(state["manifest"].get(key), str) for key in ("name", "fingerprint")):
        raise BadInput(f"{file} has a damaged 'manifest'; {REMEDY}")
    origin = state.get("origin")
    if origin is not None and (
        not isinstance(origin, dict) or any(not isinstance(origin.get(k), str) for k in ("path", "sha256"))
    ):
        raise BadInput(f"{file} has a damaged 'origin'; {REMEDY}")
    return state


def verify(checkpoint: Path, state: dict[str, Any], below: str = "") -> None:
    """Compare the files of a checkpoint (those in its folder `below`) with what was saved.

    Raises BadInput that names a file which is missing or whose sha256 is another.
    """
    for name, wanted in state["files"].items():
        if not name.startswith(below):
            continue
        file = checkpoint / name
        try:
            with file.open("rb") as f:
                found = hashlib.file_digest(f, "sha256").hexdigest()
        except OSError as error:
            raise BadInput(f"{file} cannot be read ({error.strerror}); {REMEDY}") from None
        if found != wanted:
            raise BadInput(f"{file} is damaged: it is not what was saved; {REMEDY}")


def save_checkpoint(
    run: Path,
    step: int,
    models: dict[str, Any],
    moments: dict[str, torch.Tensor],
    state: dict[str, Any],
    keep: int | None,
) -> Path:
    """Write RUN/checkpoint-STEP and then delete all but the newest `keep` (None: none). `models`: folder name ->
    ModelMixin or Adapter; `moments`: the optimiser's state by "number.name" (both as `Parallel` gives them).

    Raises LensError (and leaves every earlier checkpoint as it was) if the disk is full.
    """
    final = run / f"checkpoint-{step:06d}"
    temporary = run / f".saving-{final.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        for name, model in models.items():
            model.save_pretrained(temporary / name)
        save_file(moments, temporary / "optimizer.safetensors")
        files = {}
        for file in sorted(f for f in temporary.rglob("*") if f.is_file()):
            with file.open("rb") as f:
                name = file.relative_to(temporary).as_posix()
                files[name] = hashlib.file_digest(f, "sha256").hexdigest()
        numbers = sorted({int(key.partition(".")[0]) for key in moments})
        whole = {"format": FORMAT, "step": step, **state, "files": files, "moments": numbers}
        (temporary / "state.json").write_text(json.dumps(finite(whole), indent=1, allow_nan=False))
        share(temporary)
        for file in sorted(temporary.rglob("*"), reverse=True):
            fsync(file)
        fsync(temporary)
        if final.exists():
            shutil.rmtree(final)
        temporary.rename(final)
        fsync(run)
    except (OSError, SafetensorError, RuntimeError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        why = "no space left on the disk" if full else str(error)
        raise LensError(
            f"could not save {final}: {why}; earlier checkpoints are intact; make room and use --resume"
        ) from error
    if keep is not None:
        for _, old in numbered(run)[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
    return final


def share(folder: Path) -> None:
    """Give safetensors, which that library writes for their owner alone, the mode of the JSON files in `folder`."""
    mode = next(folder.rglob("*.json")).stat().st_mode & 0o777
    for file in folder.rglob("*.safetensors"):
        file.chmod(mode)


def sweep(run: Path) -> None:
    """Remove what a killed run was in the middle of saving."""
    for half in run.glob(".saving-checkpoint-*"):
        shutil.rmtree(half, ignore_errors=True)


def load_optimizer(checkpoint: Path, optimizer: torch.optim.Optimizer, numbers: list[int]) -> None:
    """Put the saved moments back; learning rates and other options stay those of `optimizer`.

    `numbers`: the parameters that had moments when the checkpoint was saved (one that never got a gradient has none).
    Raises BadInput unless exactly these have them, in the shapes of their parameters.
    """
    file = checkpoint / "optimizer.safetensors"
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{file} cannot be read ({error}); {REMEDY}") from None
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    kept = dict(enumerate(zip(moments_of(optimizer), (p.shape for p in parameters), strict=True)))
    wanted = {
        f"{number}.{name}": shape if name != "step" else torch.Size()
        for number in numbers
        for names, shape in [kept.get(number, (ADAMW, None))]
        for name in names
    }
    found = {key: value.shape for key, value in tensors.items()}
    if found != wanted:
        wrong = min(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
        raise BadInput(
            f"{file} does not fit the model: {wrong} is missing, extra or of another shape; {REMEDY}"
        )
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = shard_like(value, parameters[int(number)])
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
