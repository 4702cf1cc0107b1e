"""From settings to parts: the denoiser, the latents and the encoder's configuration."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lensmodel import distributed, lora, nn
from lensmodel.latents import Latents, PixelLatents, load_vae
from lensmodel.nn import LensTransformer
from lensmodel.text import EncoderConfig

if TYPE_CHECKING:
    from lensmodel.origin import Origin
    from lensmodel.settings import Settings


FLUX2_CHANNELS = 128  # of a token of the released model


def latents(settings: Settings, device: torch.device | str = "cpu", weights: str = "") -> Latents:
    """Pixels as latents, or the autoencoder that `vae` names (of the sha256 `weights`, if given)."""
    if settings.latents == "pixel":
        return PixelLatents(keep=settings.pixel_keep)
    return load_vae(settings.vae, device, weights)


def latent_channels(settings: Settings) -> int:
    """Width of a token, without loading weights: FLUX.2's if no autoencoder is named."""
    if settings.latents == "pixel":
        return PixelLatents(keep=settings.pixel_keep).channels
    return load_vae(settings.vae).channels if settings.vae else FLUX2_CHANNELS


def device(settings: Settings) -> torch.device:
    """Where the settings say to compute. Raises BadInput if that is not there."""
    return distributed.device(settings.device)


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


def models(
    settings: Settings, channels: int, origin: Origin | None, saved: Path | None
) -> tuple[LensTransformer, LensTransformer]:
    """What trains and its average, on the CPU in float32: those of the checkpoint `saved`, else new ones from `origin`.

    With LoRA the two share the weights that are frozen. Raises BadInput for files that are missing or do not fit.
    """
    if settings.lora_rank:
        assert origin is not None
        base = nn.load(origin.path, torch.float32)
        held = [lora.read(saved / name, base) for name in ("model", "ema")] if saved else []
        model = lora.attach(base, lora.configure(base, settings), settings.seed)
        average = lora.twin(model)
        for adapter, module in zip(held, (model, average), strict=False):
            lora.put(adapter, module)
        return model, average
    if saved:
        return nn.load(saved / "model"), nn.load(saved / "ema")
    model = nn.load(origin.path, torch.float32) if origin else denoiser(settings, channels)
    return model, copy.deepcopy(model)


def encoder_config(settings: Settings, weights: str) -> EncoderConfig:
    """What the run's text features are made with; `weights` is the sha256 of the encoder's files."""
    s = settings
    return EncoderConfig(
        s.encoder,
        s.encoder_layers,
        s.template_prefix,
        s.template_suffix,
        s.max_length,
        weights,
        s.template_offset,
    )
