"""Linear layers, and the float32 products of a CPU, which torch leaves to a slow library on some of them.

torch gives float32 products to MKL, which on AMD processors with AVX-512 runs at half their speed (Zen 5: 127
GFLOP/s a thread, `scripts/bench/train_step.py`). oneDNN, which torch ships for bfloat16, reaches 274, as accurately.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable
from torch.utils.flop_counter import register_flop_formula


def plain(*tensors: torch.Tensor | None) -> bool:
    """Whether hand-written CPU code may run on these: real CPU tensors (no fake, meta or distributed ones), outside
    the compiler and the transforms of torch.func, with oneDNN switched on (`torch.backends.mkldnn.flags(enabled=False)`
    turns it off).
    """
    if (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or not torch.backends.mkldnn.enabled
    ):
        return False
    return all(
        t is None or (t.device.type == "cpu" and type(t) in (torch.Tensor, nn.Parameter)) for t in tensors
    )


def has_onednn() -> bool:
    """Whether `product` works here and is worth it: it was measured with AVX-512 alone."""
    return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"


def product(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """a [..., K] times b [N, K] transposed, plus bias [N], by oneDNN, in float32 or bfloat16; no gradient.

    b may be a transposed view at no cost; a is copied when it is not contiguous.
    """
    return torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")


if hasattr(torch.ops.mkldnn, "_linear_pointwise"):

    @register_flop_formula(torch.ops.mkldnn._linear_pointwise)
    def _flops(a: torch.Size, b: torch.Size, *_: Any, out_shape: Any = None, **__: Any) -> int:
        return 2 * a.numel() * b[0]


class _Linear(torch.autograd.Function):
    """All three products of a float32 linear layer by oneDNN. A frozen weight keeps no input in memory."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        dx, dw, _ = ctx.needs_input_grad
        ctx.save_for_backward(x if dw else None, weight if dx else None)
        return product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        dx = dw = db = None
        if ctx.needs_input_grad[0]:
            dx = product(grad, weight.t())
        grad = grad.flatten(0, -2)
        if ctx.needs_input_grad[1]:
            dw = product(grad.t(), x.flatten(0, -2).t())
        if ctx.needs_input_grad[2]:
            db = grad.sum(0)
        return dx, dw, db


class Linear(nn.Linear):
    """`nn.Linear`, faster in float32 on a CPU; everywhere else, and under autocast, exactly that."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        float32 = x.dtype == self.weight.dtype == torch.float32
        if (
            float32
            and x.numel() > 0
            and x.ndim > 1
            and x.shape[-1] == self.weight.shape[1]  # torch says what does not fit more clearly
            and plain(x, self.weight, self.bias)
            and has_onednn()
            and not torch.is_autocast_enabled("cpu")
        ):
            return _Linear.apply(x, self.weight, self.bias)
        return F.linear(x, self.weight, self.bias)
