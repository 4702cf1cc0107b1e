"""Named presets of the settings, and their `key=value` overrides."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from catalog.errors import BadInput
from lensmodel import text, trackers
from lensmodel.settings import Settings, check, names, parse

# GPT-OSS's chat format around the caption: system, developer, user, and a reasoning that is always the same. Its date
# is frozen, or the features would drift from day to day. The words are ours; for a released checkpoint give its own
# with template_prefix=, template_suffix= and template_offset=.
HARMONY_PREFIX = (
    "<|start|>system<|message|>You turn descriptions into pictures.\nKnowledge cutoff: 2024-06\n"
    "Current date: 2025-06-01\n\nReasoning: low\n\n# Valid channels: analysis, commentary, final. Channel must be "
    "included for every message.<|end|><|start|>developer<|message|># Instructions\n\nThe user describes a picture. "
    "Note every object with its number, colour, material, size and place, every action and relation, all text to be "
    "shown, and the style, light and background.<|end|><|start|>user<|message|>"
)
HARMONY_SUFFIX = (
    "<|end|><|start|>assistant<|channel|>analysis<|message|>I picture the scene as described.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>"
)
_PAPER = Settings(template_prefix=HARMONY_PREFIX, template_suffix=HARMONY_SUFFIX)

PRESETS: dict[str, Settings] = {
    "lens-3.8b": _PAPER,
    # The paper's two stages of pre-training (section 2.2) with every constant it gives. 24 samples a rank on 128 GPUs
    # are the global batch of 3,072; mu 1.06 is that of 1,024 tokens. The second starts from the first (init_from=).
    "pretrain-512": dataclasses.replace(
        _PAPER, preset="pretrain-512", lr=2e-4, mu=1.06, gradient_checkpointing=True, encode="online"
    ),
    "pretrain-mixed": dataclasses.replace(
        _PAPER, preset="pretrain-mixed", lr=1e-4, gradient_checkpointing=True, encode="online"
    ),
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
        precision="auto",
        sharding="none",
        log_every=100,
        validate_every=250,
        sample_every=1000,
        checkpoint_every=250,
    ),
}


# The paper in miniature, on the world of shapes (docs/miniature.md): many pictures a bucket, so batches large enough
# for what Muon costs. Of each patch and colour 16 frequencies of 64 are kept, which stands in for an autoencoder: the
# released parameterisation (velocity) then learns faster than x0 does from plain pixels.
PRESETS["miniature"] = dataclasses.replace(
    PRESETS["mini"], preset="miniature", batch_512=64, batch_768=48, batch_1024=32, length_window=16, optimizer="muon",
    muon_times=7.0, pixel_keep=16, prediction="velocity", brief_fraction=0.5, sample_every=0,
)  # fmt: skip

# What scripts/quickstart trains: the world of shapes and a few hundred drawings at once, in minutes on two cores.
# Narrower than miniature, because at equal CPU time more steps are worth more there than width, and with one early
# layer of the language encoder, a quarter of the time to encode, which serves shapes no worse (docs/miniature.md).
PRESETS["quickstart"] = dataclasses.replace(
    PRESETS["miniature"], preset="quickstart", encoder_layers=(3,), num_attention_heads=4, brief_fraction=0.0,
    max_steps=1000, validate_every=500,
)  # fmt: skip


def build(preset: str, overrides: Iterable[str] = (), run: Path | None = None) -> Settings:
    """The settings of `preset` with `key=value` overrides, for a run that may go on in the folder `run`.

    What init_from names decides the architecture.

    Raises BadInput for an unknown preset or key (naming the nearest), a value of the wrong type or out of
    range, one that contradicts init_from.
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
    if settings.init_from or (run and run.is_dir()):
        from lensmodel import origin

        settings = origin.adopt(settings, changes, run)
    check(settings)
    return settings


def settled(settings: Settings, run: Path | None = None) -> Settings:
    """The settings with a precision instead of "auto": bf16 where the device multiplies it natively, else fp32.

    A run that has begun in the folder `run` goes on with what it had, whatever this machine can do.
    """
    if settings.precision != "auto":
        return settings
    import torch

    from lensmodel import checkpoint, distributed

    begun = checkpoint.numbered(run) if run else []
    if begun:
        stored = checkpoint.read_state(begun[-1][1])["settings"].get("precision")
        return dataclasses.replace(settings, precision=stored if stored in ("fp32", "bf16") else "fp32")
    able, native = torch.cpu.get_capabilities(), True
    kind = distributed.device(settings.device).type
    if kind == "cpu":
        native = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    elif kind == "cuda":  # before Ampere it is emulated
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    return dataclasses.replace(settings, precision="bf16" if native else "fp32")


def require_parts(settings: Settings) -> None:
    """Raise BadInput for weights that must be named and are not, Missing if SmolLM2 or a tracker is not installed."""
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
    if settings.encoder == text.SMOLLM2:
        text.find_smollm2()
    trackers.check(settings.trackers)


def needs(settings: Settings, name: str) -> bool:
    return name == "encoder" or settings.latents == "vae"
