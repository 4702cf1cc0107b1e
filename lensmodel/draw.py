"""From noise to pictures with any denoiser: what `lensmodel sample` and the samples of a run share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from catalog.errors import LensError
from lensmodel import flow, text
from lensmodel.data.plan import key_of
from lensmodel.latents import Latents
from lensmodel.sampler import sample

if TYPE_CHECKING:
    from lensmodel.settings import Settings

GRID_CELL = 256  # pixels: small pictures are enlarged to about this in a contact sheet, pixel by pixel


def noise(prompt: str, number: int, seed: int, tokens: int, channels: int) -> torch.Tensor:
    """Where picture `number` of a prompt starts, float32 [tokens, channels]: a function of these alone."""
    generator = torch.Generator().manual_seed(key_of("sample", seed, prompt, number))
    return torch.randn(tokens, channels, generator=generator)


def sigmas(settings: Settings, config: Mapping[str, Any], tokens: int, steps: int) -> torch.Tensor:
    """The sampling times, shifted by the setting sample_mu, else as FLUX.2 does; `config` is the model's.

    Below x0_min_t a network that predicts x0 gives too small a velocity, which would leave noise in the picture:
    the last step starts above it.
    """
    if settings.sample_mu is None:
        levels = flow.inference_sigmas(tokens, steps)
    else:
        s = torch.linspace(1, 1 / steps, steps, dtype=torch.float64)
        shift = math.exp(settings.sample_mu)
        levels = torch.cat([shift / (shift + 1 / s - 1), torch.zeros(1, dtype=torch.float64)]).float()
    if config["prediction"] == "x0":
        levels = levels[(levels >= config["x0_min_t"]) | (levels == 0)]
    return levels


@torch.no_grad()
def denoised(
    model: Any, features: Sequence[torch.Tensor], x: torch.Tensor, grid: tuple[int, int], levels: torch.Tensor,
    guidance: float, method: str = "euler",
) -> torch.Tensor:  # fmt: skip
    """Clean tokens [B, S, C] from the noise `x` [B, S, C], on its device; features [T, layers, width] a picture.

    With guidance 1 the branch without text is not computed; otherwise both are one batch of 2 B.
    """
    n, guided = len(features), guidance != 1
    _, layers, width = features[0].shape
    padded, mask = text.pad([*features, *([None] * n if guided else [])], layers, width)
    padded, mask = [f.to(x.device) for f in padded], mask.to(x.device)

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        if not guided:
            return model(x, padded, mask, sigma.expand(n), grid)
        v = model(torch.cat([x, x]), padded, mask, sigma.expand(2 * n), grid)
        return flow.guide(v[:n], v[n:], guidance)

    return sample(denoise, x, levels, method)


@torch.no_grad()
def pictures(latents: Latents, x0: torch.Tensor, grid: tuple[int, int]) -> list[np.ndarray]:
    """Tokens [B, S, C] as uint8 [H, W, 3] pictures. Raises LensError if a value is not finite."""
    rgb = latents.decode(x0, grid)
    if not bool(rgb.isfinite().all()):
        raise LensError("it draws values that are not finite")
    return list(((rgb.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy())


def contact_sheet(pictures: Sequence[np.ndarray], columns: int) -> Image.Image:
    """The pictures (all of one size) in rows of `columns`; small ones enlarged by a whole factor."""
    height, width = pictures[0].shape[:2]
    factor = max(1, GRID_CELL // max(height, width))
    gap = 8
    cell_w, cell_h = width * factor + gap, height * factor + gap
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell_w + gap, rows * cell_h + gap), "white")
    for i, picture in enumerate(pictures):
        image = Image.fromarray(picture).resize((width * factor, height * factor), Image.Resampling.NEAREST)
        sheet.paste(image, (gap + i % columns * cell_w, gap + i // columns * cell_h))
    return sheet
