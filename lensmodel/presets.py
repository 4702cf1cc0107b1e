"""Settings of a run: one flat dataclass, named presets of it, and typed `key=value` overrides."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from catalog.errors import BadInput


@dataclass(frozen=True)
class Settings:
    """Every setting of `lensmodel train`; the defaults are the paper's where it gives one (lens-3.8b, stage
    2).

    Ours, because the paper is silent: ema, caption_dropout, brief_fraction, warmup_steps, weight_decay,
    holdout.
    """

    preset: str = "lens-3.8b"
    # the data
    seed: int = 0
    batch_512: int = 24  # samples a batch and rank in buckets of base 512
    batch_768: int = 10
    batch_1024: int = 6
    accumulate: int = 1  # batches a rank takes before each optimiser step
    holdout: float = 0.01  # share of the images that validate and never train
    holdout_least: int = 32  # ... but at least so many (and at most a quarter of the data)
    brief_fraction: float = 0.0  # how often the brief caption stands in for the dense one, where there is one
    caption_dropout: float = 0.1  # how often an image trains without its caption, which CFG needs
    workers: int = 2  # decoding threads
    prefetch: int = 4  # batches decoded ahead
    cache_mb: int = 0  # memory for decoded and scaled images, so that later epochs do not decode again
    features: str = ""  # folder of cached text features; default OUT/text-features
    # the language encoder
    encoder: str = ""  # "smollm2", a .gguf file or a folder
    encoder_layers: tuple[int, ...] = (5, 11, 17, 23)
    template_prefix: str = ""
    template_suffix: str = ""
    max_length: int = 512  # tokens, the template's included
    # the latents
    latents: str = "vae"  # "vae" or "pixel" (space-to-depth of a 16 times smaller picture)
    vae: str = ""
    pixel_keep: int | None = (
        None  # of "pixel": DCT components kept a patch and colour; none: all pixels as they are
    )
    # the denoiser
    num_layers: int = 48
    num_attention_heads: int = 24
    attention_head_dim: int = 64
    axes_dims_rope: tuple[int, ...] = (8, 28, 28)
    enc_hidden_dim: int = 2880
    prediction: str = (
        "velocity"  # what the last layer means: "velocity" or "x0" (the loss is on velocity either way)
    )
    absolute_positions: bool = False
    gate_init: float = 0.0
    # the flow
    mu: float | None = None  # shift of training times; none: the paper's function of the token count
    sample_mu: float | None = None  # shift of sampling times; none: the FLUX.2 function of tokens and steps
    # the optimiser
    max_steps: int = 400_000
    max_minutes: float = 0.0  # stop (with a checkpoint) after so long; 0: never
    lr: float = 1e-4
    schedule: str = "constant"  # "constant" or "linear" (down to 0 at max_steps)
    warmup_steps: int = 1000
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    clip: float = 1.0
    ema: float = 0.9999
    precision: str = "bf16"  # "fp32" or "bf16" (autocast; weights and optimiser stay fp32)
    device: str = "auto"
    # what the run tells and keeps
    log_every: int = 10
    validate_every: int = 1000
    validation_samples: int = 64
    checkpoint_every: int = 1000
    keep_checkpoints: int = 3

    def batch_sizes(self) -> dict[int, int]:
        return {512: self.batch_512, 768: self.batch_768, 1024: self.batch_1024}


# What may differ between a checkpoint and the run that resumes it: none of it changes what is being trained.
FREE_ON_RESUME = frozenset(
    [
        "max_steps",
        "max_minutes",
        "workers",
        "prefetch",
        "cache_mb",
        "features",
        "encoder",
        "log_every",
        "validate_every",
        "validation_samples",
        "checkpoint_every",
        "keep_checkpoints",
        "device",
        "sample_mu",
    ]
)

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
        gate_init=0.3,
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
CHOICES = {
    "prediction": ("velocity", "x0"),
    "schedule": ("constant", "linear"),
    "precision": ("fp32", "bf16"),
    "latents": ("vae", "pixel"),
}
POSITIVE = [
    "batch_512",
    "batch_768",
    "batch_1024",
    "accumulate",
    "workers",
    "prefetch",
    "max_length",
    "num_layers",
    "num_attention_heads",
    "attention_head_dim",
    "enc_hidden_dim",
    "max_steps",
    "log_every",
    "validate_every",
    "validation_samples",
    "checkpoint_every",
    "keep_checkpoints",
    "lr",
    "clip",
]
FRACTIONS = ("holdout", "brief_fraction", "caption_dropout", "ema", "beta1", "beta2")
_TYPES = typing.get_type_hints(Settings)


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
        if key not in _TYPES or key == "preset":
            nearest = difflib.get_close_matches(key, [k for k in _TYPES if k != "preset"], n=1, cutoff=0.0)[0]
            raise BadInput(f"there is no setting {key!r}; did you mean {nearest!r}?")
        changes[key] = _parse(key, value)
    settings = dataclasses.replace(PRESETS[preset], **changes)
    check(settings)
    return settings


def _parse(key: str, text: str) -> Any:
    kind = _TYPES[key]
    if isinstance(kind, types.UnionType):
        if text.lower() == "none":
            return None
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    try:
        if kind is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[
                text.lower()
            ]
        if kind is int:
            return int(text.replace("_", ""))
        if kind is float:
            if not math.isfinite(float(text)):
                raise ValueError
            return float(text)
        if typing.get_origin(kind) is tuple:
            return tuple(int(part) for part in text.split(","))
    except (ValueError, KeyError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}.get(
            kind, "whole numbers like 3,7,11"
        )
        raise BadInput(f"{key}={text}: {key} takes {wanted}") from None
    return text


def check(settings: Settings) -> None:
    """Raise BadInput for a value that cannot work, naming the setting."""
    for key, allowed in CHOICES.items():
        if getattr(settings, key) not in allowed:
            raise BadInput(f"{key}={getattr(settings, key)}: {key} is one of {', '.join(allowed)}")
    for key in POSITIVE:
        if not getattr(settings, key) > 0:
            raise BadInput(f"{key}={getattr(settings, key)}: {key} must be above 0")
    for key in FRACTIONS:
        if not 0 <= getattr(settings, key) < 1:
            raise BadInput(f"{key}={getattr(settings, key)}: {key} must be at least 0 and below 1")
    if sum(settings.axes_dims_rope) != settings.attention_head_dim or any(
        d % 2 for d in settings.axes_dims_rope
    ):
        raise BadInput(
            f"axes_dims_rope must be even and add up to attention_head_dim={settings.attention_head_dim}"
        )


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


def plain(settings: Settings) -> dict[str, Any]:
    """The settings as JSON holds them (tuples become lists)."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(settings).items()}


def differences(mine: dict[str, Any], stored: dict[str, Any]) -> list[str]:
    """What keeps a checkpoint from being resumed, as 'lr was 0.001 and is 0.002'."""
    return [
        f"{key} was {stored.get(key)} and is {value}"
        for key, value in mine.items()
        if key not in FREE_ON_RESUME and stored.get(key) != value
    ]


def from_plain(fields: dict[str, Any]) -> Settings:
    """The settings that `plain` wrote; those of another version that are unknown here are left out."""
    known: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in fields.items() if k in _TYPES
    }
    return Settings(**known)
