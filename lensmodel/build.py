"""From settings to parts: the denoiser, the latents and the encoder's configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lensmodel.latents import PixelLatents
from lensmodel.nn import LensTransformer
from lensmodel.text import EncoderConfig

if TYPE_CHECKING:
    from lensmodel.settings import Settings


def latents(settings: Settings) -> PixelLatents:
    """Pixels as latents, the only kind that needs no weights."""
    return PixelLatents(keep=settings.pixel_keep)


def denoiser(settings: Settings, channels: int) -> LensTransformer:
    """A new model for tokens of width `channels`, the same for the same seed on any device."""
    s = settings
    torch.manual_seed(s.seed)
    return LensTransformer(
        patch_size=1,
        in_channels=channels,
        out_channels=channels,
        num_layers=s.num_layers,
        num_attention_heads=s.num_attention_heads,
        attention_head_dim=s.attention_head_dim,
        axes_dims_rope=s.axes_dims_rope,
        enc_hidden_dim=s.enc_hidden_dim,
        multi_layer_encoder_feature=len(s.encoder_layers) > 1,
        selected_layer_index=s.encoder_layers,
        prediction=s.prediction,
        absolute_positions=s.absolute_positions,
        gate_init=s.gate_init,
    )


def encoder_config(settings: Settings, weights: str) -> EncoderConfig:
    """What the run's text features are made with; `weights` is the sha256 of the encoder's files."""
    s = settings
    return EncoderConfig(
        s.encoder, s.encoder_layers, s.template_prefix, s.template_suffix, s.max_length, weights
    )
