"""Named presets of the settings, and their `key=value` overrides."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any

from catalog.errors import BadInput
from lensmodel.settings import Settings, check, names, parse

PRESETS: dict[str, Settings] = {
    "lens-3.8b": Settings(),
    "lens-toy-1.2b": Settings(
        preset="lens-toy-1.2b", num_layers=14, enc_hidden_dim=1024, encoder_layers=(27,)
    ),
    # Trains on a CPU in minutes. The released parameterisation (velocity, RoPE alone) learns nothing from raw
    # 8x8 patches in that time; these options make it learn.
    "mini": Settings(
        preset="mini",
        batch_512=8,
        batch_768=6,
        batch_1024=4,
        holdout=0.04,
        holdout_least=48,
        cache_mb=256,
        encoder="smollm2",
        encoder_layers=(3, 7, 11, 15),
        template_prefix="<|im_start|>user\n",
        template_suffix="<|im_end|>",
        max_length=64,
        latents="pixel",
        num_layers=4,
        num_attention_heads=6,
        attention_head_dim=32,
        axes_dims_rope=(4, 14, 14),
        enc_hidden_dim=576,
        prediction="x0",
        absolute_positions=True,
        mu=0.5,
        sample_mu=0.5,
        max_steps=3000,
        lr=1e-3,
        schedule="linear",
        warmup_steps=50,
        beta2=0.99,
        weight_decay=0.01,
        ema=0.99,
        precision="fp32",
        log_every=100,
        validate_every=250,
        checkpoint_every=250,
    ),
}


def build(preset: str, overrides: Iterable[str] = ()) -> Settings:
    """The settings of `preset` with `key=value` overrides.

    Raises BadInput for an unknown preset or key (naming the nearest), a value of the wrong type or out of
    range.
    """
    if preset not in PRESETS:
        ordered = sorted(PRESETS, key=lambda p: -difflib.SequenceMatcher(None, p, preset).ratio())
        raise BadInput(f"there is no preset {preset!r}; there are {', '.join(ordered)}")
    changes: dict[str, Any] = {}
    for item in overrides:
        key, equals, value = item.partition("=")
        if not equals:
            raise BadInput(f"{item!r} is not a setting; write key=value, for example max_steps=500")
        if key not in names():
            nearest = difflib.get_close_matches(key, names(), n=1, cutoff=0.0)[0]
            raise BadInput(f"there is no setting {key!r}; did you mean {nearest!r}?")
        changes[key] = parse(key, value)
    settings = dataclasses.replace(PRESETS[preset], **changes)
    check(settings)
    return settings


def require_parts(settings: Settings) -> None:
    """Raise BadInput if the preset needs weights that no setting names, or that this version cannot run."""
    missing = [
        f"{name}=PATH" for name in ("vae", "encoder") if not getattr(settings, name) and needs(settings, name)
    ]
    if missing:
        what = {"vae=PATH": "an AutoencoderKLFlux2 folder", "encoder=PATH": "a language model folder"}
        raise BadInput(
            f"preset {settings.preset} needs weights that are not part of Lens: "
            + ", ".join(f"{m} ({what[m]})" for m in missing)
            + "; without them use --preset mini"
        )
    if settings.latents == "vae":
        raise BadInput("training on VAE latents (latents=vae) is not part of this version; use --preset mini")


def needs(settings: Settings, name: str) -> bool:
    return name == "encoder" or settings.latents == "vae"
