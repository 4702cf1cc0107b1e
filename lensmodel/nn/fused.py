"""The elementwise parts of a block with their backward passes by hand: fewer passes over memory, less of it kept.

Each function has a plain formula, which runs off the CPU and under the compiler (which fuses better), and one
autograd function with the same result. Nothing is differentiable twice.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from lensmodel.nn.linear import plain
from lensmodel.nn.rope import rotate


def upcast(x: torch.Tensor) -> torch.Tensor:
    """x in float32, or untouched when it is float64."""
    return x if x.dtype == torch.float64 else x.float()


def modulated_norm(
    x: torch.Tensor, gain: torch.Tensor, shift: torch.Tensor, eps: float, dtype: torch.dtype
) -> torch.Tensor:
    """x / sqrt(mean(x^2) + eps) * gain + shift over the last axis of x [B, N, d]; gain and shift [B, 1, d].

    Computed in float32 or wider, returned in `dtype`.
    """
    gain, shift = upcast(gain), upcast(shift)
    if plain(x, gain, shift):
        return _ModulatedNorm.apply(x, gain, shift, eps, dtype)
    return torch.addcmul(shift, F.rms_norm(upcast(x), x.shape[-1:], eps=eps), gain).to(dtype)


class _ModulatedNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, gain: torch.Tensor, shift: torch.Tensor, eps: float, dtype: torch.dtype
    ) -> torch.Tensor:
        wide = upcast(x)
        r = _reciprocal_rms(wide, eps)
        ctx.save_for_backward(x, gain, r)
        return (wide * r).mul_(gain).add_(shift).to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, gain, r = ctx.saved_tensors
        grad = upcast(grad)
        unit = upcast(x) * r
        product = grad * unit
        gain_grad, shift_grad = product.sum(1, keepdim=True), grad.sum(1, keepdim=True)
        along = product @ gain.transpose(1, 2)
        dx = _norm_backward(torch.mul(grad, gain, out=product), unit, along, r)
        return dx.to(x.dtype), gain_grad, shift_grad, None, None


def _reciprocal_rms(x: torch.Tensor, eps: float) -> torch.Tensor:
    """1 / sqrt(mean(x^2) + eps) over the last axis, which stays with size 1."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return (norm * norm / x.shape[-1] + eps).rsqrt_()


def _norm_backward(
    grad: torch.Tensor, unit: torch.Tensor, along: torch.Tensor, r: torch.Tensor
) -> torch.Tensor:
    """The gradient before x -> unit = x * r from the one after it, which is overwritten; along is the sum of grad *
    unit over the last axis.
    """
    return grad.addcmul_(unit, along, value=-1 / grad.shape[-1]).mul_(r)


def norm_rotate(
    x: torch.Tensor, weight: torch.Tensor, table: torch.Tensor, eps: float, dtype: torch.dtype
) -> torch.Tensor:
    """RMSNorm over the last axis of x [B, N, heads, d], then each adjacent channel pair turned by its angle in table
    [N, d/2], complex. Computed in float32 or wider, returned in `dtype`.
    """
    if plain(x, weight, table):
        return _NormRotate.apply(x, weight, table, eps, dtype)
    wide = upcast(x)
    return rotate(F.rms_norm(wide, weight.shape, weight.to(wide.dtype), eps), table).to(dtype)


class _NormRotate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, table: torch.Tensor, eps: float, dtype: torch.dtype
    ) -> torch.Tensor:
        wide = upcast(x)
        r = _reciprocal_rms(wide, eps)
        ctx.save_for_backward(x, weight, table, r)
        return rotate((wide * r).mul_(weight), table).to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, table, r = ctx.saved_tensors
        # Complex numbers need adjacent pairs, which not every attention's gradient has.
        grad = rotate(upcast(grad).contiguous(), table.conj())
        unit = upcast(x) * r
        product = grad * unit
        weight_grad = product.flatten(0, 2).sum(0)
        along = (product @ weight.to(r.dtype)).unsqueeze(-1)
        dx = _norm_backward(grad.mul_(weight), unit, along, r)
        return dx.to(x.dtype), weight_grad.to(weight.dtype), None, None, None


def silu_product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """silu(a) * b."""
    return _SiluProduct.apply(a, b) if plain(a, b) else F.silu(a) * b


class _SiluProduct(torch.autograd.Function):
    """Keeps a and b, but not silu(a)."""

    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(a, b)
        return F.silu(a).mul_(b)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a, b = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grad * b, a), F.silu(a).mul_(grad)
