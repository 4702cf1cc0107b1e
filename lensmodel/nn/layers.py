"""The small layers of the denoiser. Module and parameter names are those of the released checkpoint."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def upcast(x: torch.Tensor) -> torch.Tensor:
    """x in float32, or untouched when it is float64."""
    return x if x.dtype == torch.float64 else x.float()


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis, computed in float32 or wider, returned in x's
    dtype.

    The width matters: raw text features reach 10,700 and their squares overflow float16.
    """

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = upcast(x)
        return F.rms_norm(wide, self.weight.shape, self.weight.to(wide.dtype), self.eps).to(x.dtype)


class SwiGLU(nn.Module):
    """w2(silu(w1 x) * w3 x), no biases."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(dim, hidden, bias=False)
        self.w2 = nn.Linear(hidden, dim, bias=False)
        self.w3 = nn.Linear(dim, hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class _TimeMLP(nn.Module):
    def __init__(self, features: int, dim: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(features, dim)
        self.linear_2 = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear_2(F.silu(self.linear_1(x)))


class TimeEmbedding(nn.Module):
    """t [B] in [0, 1] -> [B, dim]: 256 features [cos, sin] of 1000 t * 10000^(-k/128), then an MLP."""

    def __init__(self, dim: int, features: int = 256) -> None:
        super().__init__()
        self.frequencies = features // 2
        self.timestep_embedder = _TimeMLP(features, dim)

    def forward(self, t: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        # 1000 t needs more digits than bfloat16 has, so the angles are float32 at least.
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        k = torch.arange(self.frequencies, device=t.device, dtype=wide)
        angle = 1000.0 * t.to(wide)[:, None] * torch.exp(-math.log(10000.0) * k / self.frequencies)
        return self.timestep_embedder(torch.cat((angle.cos(), angle.sin()), -1).to(dtype))


class OutputNorm(nn.Module):
    """LayerNorm without affine, modulated by SiLU(temb). Chunk order is (scale, shift), the reverse of the
    blocks.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, 2 * dim)

    def forward(self, x: torch.Tensor, temb: torch.Tensor) -> torch.Tensor:
        scale, shift = self.linear(F.silu(temb)).to(x.dtype).unsqueeze(1).chunk(2, -1)
        return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


class AbsolutePosition(nn.Module):
    """Ours, off by default: a learned map of sines and cosines of the token's place, relative to the image's
    sides.

    Coordinates run over (-1, 1) on both axes whatever the grid, so an unseen resolution meets no unseen
    position. RoPE alone tells a token where others are, but not where the image's edges are.
    """

    octaves = 6

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(4 * self.octaves, dim)

    def forward(self, grid: tuple[int, int], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """[rows*cols, dim]"""
        y, x = ((2 * torch.arange(n, device=device, dtype=torch.float64) + 1) / n - 1 for n in grid)
        place = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2, 1)
        angle = place * (math.pi / 2) * 2.0 ** torch.arange(self.octaves, device=device, dtype=torch.float64)
        return self.linear(torch.cat((angle.cos(), angle.sin()), -1).flatten(1).to(dtype))
