"""How long a training step of one batch takes on this device: what the cost model cannot know."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch

from lensmodel import build
from lensmodel.methods.pretrain import Pretrain
from lensmodel.settings import Settings

REPEATS = 3


def seconds_a_batch(
    settings: Settings, channels: int, sizes: Mapping[int, tuple[int, tuple[int, int]]], text: int,
    device: torch.device,
) -> dict[int, float]:  # fmt: skip
    """Seconds of forward and backward of one batch, by key of `sizes` (batch, grid of image tokens); the best of
    three after one to warm up.

    The model is a new one of these settings on random tokens, `text` text tokens a sample.
    """
    model = build.denoiser(settings, channels)
    torch.nn.Module.to(model, device).train()
    if settings.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    method = Pretrain(settings)
    found = {}
    for key, (batch, grid) in sizes.items():
        x0 = torch.randn(batch, grid[0] * grid[1], channels, device=device)
        features = [
            torch.randn(batch, text, settings.enc_hidden_dim, device=device) for _ in settings.encoder_layers
        ]
        mask = torch.ones(batch, text, dtype=torch.bool, device=device)
        times = []
        for number in range(REPEATS + 1):
            start = _now(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
                loss = method.loss(model, x0, (features, mask), grid, number)
            loss.mean().backward()
            times.append(_now(device) - start)
            model.zero_grad(set_to_none=True)
        found[key] = min(times[1:])
    return found


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
