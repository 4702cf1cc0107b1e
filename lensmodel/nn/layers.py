"""The small layers of the denoiser. Module and parameter names are those of the released checkpoint."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from lensmodel.nn.fused import modulated_norm, norm_rotate, silu_product, upcast
from lensmodel.nn.linear import Linear


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


class ModulatedNorm(RMSNorm):
    """RMSNorm(x) * (1 + scale) + shift of a stream [B, N, dim], in the dtype that linear layers compute in.

    scale and shift [B, 1, dim].
    """

    def forward(self, x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        gain = upcast(self.weight) * (1 + upcast(scale))
        return modulated_norm(x, gain, shift, self.eps, _linear_dtype(x))


class RotaryNorm(RMSNorm):
    """RMSNorm over each head of x [B, N, heads, d], turned by `table` [N, d/2]."""

    def forward(self, x: torch.Tensor, table: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return norm_rotate(x, self.weight, table, self.eps, x.dtype)


def _linear_dtype(x: torch.Tensor) -> torch.dtype:
    """The dtype in which a linear layer would take x: cast once here, not by each of the layers that read it."""
    kind = x.device.type
    if kind != "meta" and torch.is_autocast_enabled(kind) and x.dtype != torch.float64:
        return torch.get_autocast_dtype(kind)
    return x.dtype


class SwiGLU(nn.Module):
    """w2(silu(w1 x) * w3 x), no biases."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.w1 = Linear(dim, hidden, bias=False)
        self.w2 = Linear(hidden, dim, bias=False)
        self.w3 = Linear(dim, hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w2(silu_product(self.w1(x), self.w3(x)))


class _TimeMLP(nn.Module):
    def __init__(self, features: int, dim: int) -> None:
        super().__init__()
        self.linear_1 = Linear(features, dim)
        self.linear_2 = Linear(dim, dim)

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
        self.linear = Linear(dim, 2 * dim)

    def forward(self, x: torch.Tensor, temb: torch.Tensor) -> torch.Tensor:
        scale, shift = self.linear(F.silu(temb)).to(x.dtype).unsqueeze(1).chunk(2, -1)
        return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


class AbsolutePosition(nn.Module):
    """Ours, off by default: a learned map of sines and cosines of the token's place, relative to the image's
    sides.

    Coordinates run over (-1, 1) on both axes whatever the grid: RoPE alone tells a token where others are, but not
    where the image's edges are. The fast octaves still take values on a grid that never trained which no trained grid
    has: at such sizes a model with this fails (docs/miniature.md).
    """

    octaves = 6

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = Linear(4 * self.octaves, dim)

    def forward(self, grid: tuple[int, int], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """[rows*cols, dim]"""
        y, x = ((2 * torch.arange(n, device=device, dtype=torch.float64) + 1) / n - 1 for n in grid)
        place = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2, 1)
        angle = place * (math.pi / 2) * 2.0 ** torch.arange(self.octaves, device=device, dtype=torch.float64)
        return self.linear(torch.cat((angle.cos(), angle.sin()), -1).flatten(1).to(dtype))
