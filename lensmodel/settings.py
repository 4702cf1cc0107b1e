"""Settings of a run: one flat dataclass, its typed `key=value` overrides, and what a resumed run may change."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from dataclasses import dataclass
from typing import Any

from catalog.errors import BadInput

ATTENTION = "img_qkv,txt_qkv,to_out.0,to_add_out"  # of both streams; where the paper's RL has its adapters


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
    batches: str = (
        "paper"  # "paper": the batch_* above; "balanced": sizes that take equally long, timed at the start
    )
    accumulate: int = 1  # batches a rank takes before each optimiser step
    length_window: int = (
        1  # batches of a bucket among which captions are sorted by length: less is padded; 1: not
    )
    holdout: float = 0.01  # share of the images that validate and never train
    holdout_least: int = 32  # ... but at least so many (and at most a quarter of the data)
    brief_fraction: float = 0.0  # how often the brief caption stands in for the dense one, where there is one
    caption_dropout: float = 0.1  # how often an image trains without its caption, which CFG needs
    workers: int = 2  # decoding threads
    prefetch: int = 4  # batches decoded ahead
    cache_mb: int = 0  # memory for decoded and scaled images, so that later epochs do not decode again
    encode: str = (
        "ahead"  # captions: "ahead" into a cache (3.7 MB each for lens-3.8b) or "online" in every step
    )
    features: str = ""  # folder of cached text features; default OUT/text-features
    # the language encoder
    encoder: str = ""  # "smollm2", a .gguf file or a folder
    encoder_layers: tuple[int, ...] = (5, 11, 17, 23)
    template_prefix: str = ""
    template_suffix: str = ""
    template_offset: int | None = (
        None  # first tokens without features; none: the template's before the caption
    )
    max_length: int = 512  # tokens, the template's included
    # the latents
    latents: str = "vae"  # "vae" or "pixel" (space-to-depth of a 16 times smaller picture)
    vae: str = ""
    pixel_keep: int | None = (
        None  # of "pixel": DCT components kept a patch and colour; none: all pixels as they are
    )
    # what the run starts from, and whether it trains all of it
    init_from: str = (
        ""  # a run, a checkpoint or a model's folder, whose architecture then holds; "": new weights
    )
    lora_rank: int = 0  # 0: every weight trains; else only an adapter (LoRA) beside the frozen weights
    lora_alpha: float | None = None  # its strength, alpha / rank; none: twice the rank
    lora_targets: str = ATTENTION  # the linear layers with an adapter, by the ends of their names
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
    gate_init: float = 0.3
    # the flow
    mu: float | None = None  # shift of training times; none: the paper's function of the token count
    sample_mu: float | None = None  # shift of sampling times; none: the FLUX.2 function of tokens and steps
    # the optimiser
    max_steps: int = 400_000
    max_minutes: float = 0.0  # stop (with a checkpoint) after so long; 0: never
    optimizer: str = (
        "adamw"  # or "muon": for the matrices inside the blocks (lensmodel.optim), beside AdamW for the rest
    )
    lr: float = 1e-4
    muon_times: float = 1.0  # learning rate of "muon" over that of AdamW
    schedule: str = "constant"  # "constant" or "linear": down to 0 at max_steps, so max_steps shapes the run
    warmup_steps: int = 1000
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    clip: float = 1.0
    ema: float = 0.9999
    precision: str = (
        "bf16"  # "fp32", "bf16" (autocast; weights and optimiser stay fp32) or "auto": what is faster
    )
    gradient_checkpointing: bool = (
        False  # compute each block again in the backward pass instead of keeping it
    )
    compile: bool = False  # compile the blocks, for a GPU; the first steps take minutes
    sharding: str = "full"  # of several processes, each holds a shard ("full": FSDP2) or a copy ("none": DDP)
    averaging: str = "token"  # "token" weighs an image by its tokens, "image" every image alike
    device: str = "auto"
    # what the run tells and keeps
    log_every: int = 10
    validate_every: int = 1000
    validation_samples: int = 64
    sample_every: int = 0  # steps between the sheets of pictures in OUT/samples; 0: none
    sample_prompts: str = ""  # a text file with one prompt a line; "": captions of the first held-out images
    sample_steps: int = 20
    sample_guidance: float = 5.0  # 1 is off
    checkpoint_every: int = 1000
    keep_checkpoints: int = 3
    trackers: str = ""  # "tensorboard", "wandb" or both with a comma, besides log.jsonl

    def batch_sizes(self) -> dict[int, int]:
        return {512: self.batch_512, 768: self.batch_768, 1024: self.batch_1024}


# What may differ between a checkpoint and the run that resumes it. None of it changes what is trained or measured
# beyond rounding, except max_steps under a linear schedule, which is then said (`events.stretched`).
FREE_ON_RESUME = frozenset([
    "max_steps", "max_minutes", "workers", "prefetch", "cache_mb", "features", "encoder", "log_every", "validate_every",
    "checkpoint_every", "keep_checkpoints", "device", "sample_mu", "gradient_checkpointing", "compile", "sharding",
    "vae", "trackers", "encode", "init_from", "sample_every", "sample_prompts", "sample_steps", "sample_guidance",
])  # fmt: skip
CHOICES = {
    "prediction": ("velocity", "x0"),
    "schedule": ("constant", "linear"),
    "precision": ("fp32", "bf16", "auto"),
    "optimizer": ("adamw", "muon"),
    "latents": ("vae", "pixel"),
    "sharding": ("full", "none"),
    "averaging": ("token", "image"),
    "encode": ("ahead", "online"),
    "batches": ("paper", "balanced"),
}
POSITIVE = (
    "batch_512", "batch_768", "batch_1024", "accumulate", "workers", "prefetch", "max_length", "num_layers",
    "num_attention_heads", "attention_head_dim", "enc_hidden_dim", "max_steps", "log_every", "validate_every",
    "validation_samples", "checkpoint_every", "keep_checkpoints", "lr", "clip", "sample_steps", "length_window",
    "muon_times",
)  # fmt: skip
NOT_NEGATIVE = (
    "seed",
    "lora_rank",
    "sample_every",
    "sample_guidance",
    "holdout_least",
    "cache_mb",
    "max_minutes",
    "warmup_steps",
    "weight_decay",
)
FRACTIONS = ("holdout", "caption_dropout", "ema", "beta1", "beta2")
LARGEST = {"workers": 1024, "sample_steps": 1000, "prefetch": 4096, "seed": 2**63 - 1}
LARGEST_INT = 2**31 - 1
LARGEST_SHIFT = 10.0  # |mu|: sigmoid(mu + z) is 0 or 1 for any use beyond it
_TYPES = typing.get_type_hints(Settings)


def names() -> list[str]:
    """The settings that `key=value` may name."""
    return [name for name in _TYPES if name != "preset"]


def check(settings: Settings) -> None:
    """Raise BadInput for a value that cannot work, naming the setting."""

    def require(key: str, good: bool, rule: str) -> None:
        if not good:
            value = getattr(settings, key)
            raise BadInput(
                f"{key}={','.join(map(str, value)) if isinstance(value, tuple) else value}: {key} {rule}"
            )

    s = settings
    for key, allowed in CHOICES.items():
        require(key, getattr(s, key) in allowed, f"is one of {', '.join(allowed)}")
    for key in POSITIVE:
        require(key, getattr(s, key) > 0, "must be above 0")
    for key in NOT_NEGATIVE:
        require(key, getattr(s, key) >= 0, "must not be below 0")
    for key in FRACTIONS:
        require(key, 0 <= getattr(s, key) < 1, "must be at least 0 and below 1")
    require("brief_fraction", 0 <= s.brief_fraction <= 1, "must lie between 0 and 1")
    for key in ("mu", "sample_mu"):
        value = getattr(s, key)
        require(key, value is None or abs(value) <= LARGEST_SHIFT, f"must lie within +-{LARGEST_SHIFT:g}")
    for key in names():
        if _TYPES[key] is int:
            most = LARGEST.get(key, LARGEST_INT)
            require(key, getattr(s, key) <= most, f"must be at most {most}")
    axes = s.axes_dims_rope
    require(
        "axes_dims_rope",
        len(axes) == 3 and all(a > 0 and a % 2 == 0 for a in axes) and sum(axes) == s.attention_head_dim,
        f"must be three positive even numbers that add up to attention_head_dim={s.attention_head_dim}",
    )
    ascending = s.encoder_layers and list(s.encoder_layers) == sorted({max(n, 0) for n in s.encoder_layers})
    require("encoder_layers", bool(ascending), "must ascend from 0")
    require(
        "pixel_keep",
        s.pixel_keep is None or s.latents == "pixel",
        "means nothing with latents=vae; set pixel_keep=none",
    )
    require(
        "lora_alpha",
        s.lora_alpha is None or (s.lora_rank > 0 and s.lora_alpha > 0),
        "must be above 0 and means nothing without lora_rank",
    )
    require(
        "lora_targets",
        s.lora_targets == ATTENTION or s.lora_rank > 0,
        "means nothing without lora_rank; leave it out",
    )
    require(
        "muon_times",
        s.muon_times == 1 or s.optimizer == "muon",
        "means nothing with optimizer=adamw; set muon_times=1",
    )
    require(
        "optimizer",
        s.optimizer == "adamw" or not s.lora_rank,
        "goes with training all weights; an adapter's (lora_rank) are trained with adamw",
    )
    require(
        "sample_prompts",
        not s.sample_prompts or s.sample_every > 0,
        "are drawn every sample_every= steps; set that, too",
    )
    require("vae", not s.vae or s.latents == "vae", "means nothing with latents=pixel; leave it out")


_PATHS = ("features", "encoder", "vae", "init_from", "sample_prompts")


def parse(key: str, text: str) -> Any:
    """The value that `text` gives the setting `key`, of its type. Raises BadInput if it is not of that type, or a URL
    where a path is needed."""
    if key in _PATHS and "://" in text:
        raise BadInput(f"{key}={text}: {key} takes a path on this machine, not a URL")
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


def plain(settings: Settings) -> dict[str, Any]:
    """The settings as JSON holds them (tuples become lists)."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(settings).items()}


def differences(mine: dict[str, Any], stored: dict[str, Any]) -> list[str]:
    """What keeps a checkpoint from being resumed, as 'lr was 0.001 and is 0.002'.

    A setting that the checkpoint does not know came later than it; the run had what is now the default.
    """
    had = {**plain(Settings()), **stored}
    return [
        f"{key} was {had[key]} and is {value}"
        for key, value in mine.items()
        if key not in FREE_ON_RESUME and had[key] != value
    ]


def from_plain(fields: dict[str, Any]) -> Settings:
    """The settings that `plain` wrote; those of another version that are unknown here are left out.

    Raises BadInput for a value of the wrong type or out of range.
    """
    known: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in fields.items() if k in _TYPES
    }
    for key, value in known.items():
        if not _is_of(value, _TYPES[key]):
            raise BadInput(f"the setting {key} is {value!r}, which is not of its type")
    settings = Settings(**known)
    check(settings)
    return settings


def _is_of(value: Any, kind: Any) -> bool:
    if isinstance(kind, types.UnionType):
        return any(_is_of(value, one) for one in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is_of(v, int) for v in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
