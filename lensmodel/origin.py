"""What a run starts from: new weights, or those of a checkpoint that `init_from` names."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from catalog.errors import BadInput
from lensmodel import checkpoint, lora, nn
from lensmodel.nn.load import check, folder_of
from lensmodel.settings import Settings, from_plain

# Settings of the denoiser -> what config.json calls them.
ARCHITECTURE = {
    "num_layers": "num_layers",
    "num_attention_heads": "num_attention_heads",
    "attention_head_dim": "attention_head_dim",
    "axes_dims_rope": "axes_dims_rope",
    "enc_hidden_dim": "enc_hidden_dim",
    "encoder_layers": "selected_layer_index",
    "prediction": "prediction",
    "absolute_positions": "absolute_positions",
    "gate_init": "gate_init",
}


@dataclass(frozen=True)
class Origin:
    """A model's folder and the sha256 of its files ("" where nobody asked)."""

    path: str
    sha256: str


def weights_of(path: Path) -> Path:
    """The model's folder that `path` means: the average of a run's newest checkpoint or of a checkpoint, a model's
    folder itself, or the `transformer` of a pipeline. Raises BadInput for anything else."""
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise BadInput(f"{path} {what}; give a run, one of its checkpoints, or a model's folder")
    if (path / "state.json").is_file() or checkpoint.numbered(path):
        path = checkpoint.find(path) / "ema"
    if (path / lora.CONFIG).is_file():
        raise BadInput(f"{path} is an adapter, not a whole model; `lensmodel merge` makes one of it")
    folder = folder_of(path)
    if not (folder / "config.json").is_file():
        raise BadInput(f"{path} has no checkpoint in it and is no model's folder (there is no config.json)")
    return folder.resolve()


def fingerprint(folder: Path) -> str:
    """sha256 over the names and contents of config.json and the weights.

    Raises BadInput if the folder is part of a checkpoint and not what was saved.
    """
    files = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    found = {}
    for file in files:
        with file.open("rb") as f:
            found[file.name] = hashlib.file_digest(f, "sha256").hexdigest()
    if (folder.parent / "state.json").is_file():
        saved = checkpoint.read_state(folder.parent)["files"]
        for name, digest in found.items():
            if saved.get(f"{folder.name}/{name}", digest) != digest:
                raise BadInput(f"{folder / name} is damaged: it is not what was saved")
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def adopt(settings: Settings, explicit: Collection[str], run: Path | None = None) -> Settings:
    """The settings with the architecture of the model they start from, or that of the run in `run` if it has begun.

    Raises BadInput for a model that is not there or damaged, and for a setting among `explicit` that contradicts it.
    """
    begun = checkpoint.numbered(run) if run else []
    if begun:
        state = checkpoint.read_state(begun[-1][1])
        if not known(state):
            return settings
        stored = from_plain(state["settings"])
        kept = [key for key in (*ARCHITECTURE, "init_from") if key not in explicit]
        return dataclasses.replace(settings, **{key: getattr(stored, key) for key in kept})
    if not settings.init_from:
        return settings
    config = check(weights_of(Path(settings.init_from)))
    theirs: dict[str, Any] = {key: config[name] for key, name in ARCHITECTURE.items()}
    theirs["axes_dims_rope"] = tuple(theirs["axes_dims_rope"])
    layers = tuple(theirs["encoder_layers"])
    theirs["encoder_layers"] = layers if config["multi_layer_encoder_feature"] else layers[:1]
    for key in explicit:
        if key in theirs and getattr(settings, key) != theirs[key]:
            told = [
                ",".join(map(str, v)) if isinstance(v, tuple) else v
                for v in (getattr(settings, key), theirs[key])
            ]
            raise BadInput(
                f"{key}={told[0]}: the model of init_from={settings.init_from} has {key}={told[1]}; leave {key} out"
            )
    return dataclasses.replace(settings, **theirs)


def known(state: dict[str, Any]) -> Origin | None:
    """What the run with this state.json started from."""
    found = state.get("origin")
    return Origin(found["path"], found["sha256"]) if found else None


def find(settings: Settings, channels: int, state: dict[str, Any] | None, hashing: bool) -> Origin | None:
    """What a new run starts from, or (with the `state` of its checkpoint) a resumed run has started from.

    A run of LoRA needs it each time; another one only to start, so then it is not looked for, unless init_from has
    changed. Raises BadInput if it is missing, has changed, or does not take tokens of width `channels`. Digests are
    compared where `hashing`.
    """
    s = settings
    if state is None:
        if not s.init_from:
            if s.lora_rank:
                raise BadInput(f"lora_rank={s.lora_rank} needs init_from=, the model that the adapter is for")
            return None
        adopt(s, ARCHITECTURE)
        folder = weights_of(Path(s.init_from))
        config = check(folder)
        takes, gives = config["in_channels"], config["patch_size"] ** 2 * config["out_channels"]
        if (takes, gives) != (channels, channels):
            raise BadInput(
                f"init_from={s.init_from} takes tokens of {takes} channels and gives {gives}; "
                f"these latents have {channels}"
            )
        return Origin(str(folder), fingerprint(folder) if hashing else "")
    before = known(state)
    if before is None:
        if s.init_from:
            raise BadInput(f"init_from={s.init_from}: this run has started from nothing; leave it out")
        return None
    moved = s.init_from not in ("", state["settings"].get("init_from"))
    if not moved and not s.lora_rank:
        return before
    return Origin(
        str(base(before, Path(s.init_from) if moved else None, "init_from=", hashing)), before.sha256
    )


def base(origin: Origin, now: Path | None, option: str, hashing: bool = True) -> Path:
    """Where the model of `origin` is: in `now`, or where it was.

    Raises BadInput, which tells of `option`, if it is not there or is another one.
    """
    if now is None and not Path(origin.path).is_dir():
        raise BadInput(f"{origin.path}, which this run started from, is gone; say where it is with {option}")
    folder = weights_of(now or Path(origin.path))
    if hashing and fingerprint(folder) != origin.sha256:
        raise BadInput(
            f"{folder} is not the model that this run started from ({origin.path}, sha256 "
            f"{origin.sha256[:12]}); say where that is with {option}"
        )
    return folder


def whole(folder: Path, state: dict[str, Any], now: Path | None, device: Any = "cpu") -> nn.LensTransformer:
    """The model in a checkpoint's `folder` (model or ema); an adapter comes folded into its base, which may be `now`.

    Raises BadInput as `base` does, and for a base given to a checkpoint that needs none.
    """
    before = known(state)
    if not state["settings"].get("lora_rank") or before is None:
        if now is not None:
            raise BadInput(f"--base {now}: {folder} is a whole model, not an adapter; leave it out")
        return nn.load(folder, device=device)
    model = nn.load(
        base(before, now, "--base"), torch.float32, device
    )  # bfloat16 would swallow small changes
    return lora.merge(model, lora.read(folder, model))


def contradictions(origin: Origin, encoder: dict[str, Any], latents: dict[str, Any]) -> list[str]:
    """What a Lens checkpoint was trained with that a run starting from it has otherwise, which a model feels."""
    if not (Path(origin.path).parent / "state.json").is_file():
        return []
    state = checkpoint.read_state(Path(origin.path).parent)
    pairs = ((state["encoder"], encoder, "encoder's "), (state["latents"], latents, "latents' "))
    plain = json.loads(json.dumps([encoder, latents]))
    return [
        f"{label}{key}"
        for (theirs, _, label), mine in zip(pairs, plain, strict=True)
        for key in mine
        if key != "source" and theirs.get(key) != mine[key]
    ]
