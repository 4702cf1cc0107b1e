"""Softmax attention, and its products by hand on a CPU."""

from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from lensmodel.nn.fused import upcast
from lensmodel.nn.linear import has_onednn, plain, product

_SCORES = 3 * 2**20  # bytes of scores at a time, about a cache
_WORTHWHILE = 2**16  # scores of one head; below it torch's own kernel is faster (66 tokens: 2x; 256: 0.8x)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Softmax attention over q, k, v [B, N, heads, d], all in one dtype -> [B, N, heads*d]; mask [B, 1, 1, keys],
    False hides a key, or None.

    On a CPU large problems are done head by head with oneDNN's products. torch's own kernel takes 1.7 times as long
    in float32, and in bfloat16 it is slower than in float32.
    """
    scores = q.shape[1] * k.shape[1]
    if (
        scores >= _WORTHWHILE
        and v.dtype in (torch.float32, torch.bfloat16)
        and plain(q, k, v, mask)
        and has_onednn()
    ):
        return _Attention.apply(q, k, v, mask).flatten(2)
    if v.device.type == "cpu":  # torch's kernel is several times slower in bfloat16 than in float32
        with torch.autocast("cpu", enabled=False):
            out = _sdpa(upcast(q), upcast(k), upcast(v), mask)
    else:
        out = _sdpa(q, k, v, mask)
    return out.transpose(1, 2).flatten(2).to(v.dtype)


def _sdpa(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    return F.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask
    )


class _Attention(torch.autograd.Function):
    """Keeps q, k and v alone and computes the weights again in the backward pass, as flash attention does.

    In bfloat16 the scores are rounded to it before the softmax, whose inside is float32.
    """

    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        out = torch.empty(q.shape, dtype=q.dtype)
        q, k, v = _by_head(q, q.shape[-1] ** -0.5), _by_head(k), _by_head(v)
        hidden = _hidden(mask, out.shape[0], out.shape[2])
        rows = _rows(q, k)
        for qh, kh, vh, hide, oh in zip(q, k, v, hidden, _heads(out), strict=True):
            for asked, answer in zip(qh.split(rows), oh.split(rows), strict=True):
                answer.copy_(product(_weights(asked, kh, hide), vh.t()))
        ctx.save_for_backward(q, k, v, mask)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, mask = ctx.saved_tensors
        batch, _, heads, size = grad.shape
        dq = torch.empty(grad.shape, dtype=q.dtype)
        dk, dv = (torch.empty(batch, k.shape[1], heads, size, dtype=q.dtype) for _ in range(2))
        hidden = _hidden(mask, batch, heads)
        rows, scale = _rows(q, k), size**-0.5
        for qh, kh, vh, hide, gh, *out in zip(
            q, k, v, hidden, _by_head(grad), _heads(dq), _heads(dk), _heads(dv), strict=True
        ):
            # Sums for k and v are transposed: the short side d first, the long one in the weights' own layout.
            sums: list[torch.Tensor] = []
            for asked, answer, to in zip(qh.split(rows), gh.split(rows), out[0].split(rows), strict=True):
                weights = _weights(asked, kh, hide)
                scores = torch._softmax_backward_data(product(answer, vh), weights, -1, weights.dtype)
                torch.mul(product(scores, kh.t()), scale, out=to)
                new = [product(asked.t(), scores.t()), product(answer.t(), weights.t())]
                sums = [a.add_(b) for a, b in zip(sums, new, strict=True)] if sums else new
            out[1].copy_(sums[0].t())
            out[2].copy_(sums[1].t())
        return dq, dk, dv, None


def _by_head(x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    """[B, N, heads, d] -> [B*heads, N, d], contiguous and scaled."""
    x = x.transpose(1, 2)
    if scale != 1:
        x = torch.mul(x, scale, out=torch.empty(x.shape, dtype=x.dtype))
    return x.contiguous().flatten(0, 1)


def _heads(x: torch.Tensor) -> list[torch.Tensor]:
    """Views [N, d] of x [B, N, heads, d], in the order of `_by_head`."""
    return [head for sample in x for head in sample.unbind(1)]


def _hidden(mask: torch.Tensor | None, batch: int, heads: int) -> list[torch.Tensor | None]:
    """The keys to hide [1, keys], or None, in the order of `_by_head`."""
    if mask is None:
        return [None] * (batch * heads)
    return [sample for sample in ~mask[:, 0] for _ in range(heads)]


def _rows(q: torch.Tensor, k: torch.Tensor) -> int:
    """Queries at a time: equal parts, none with scores of more than `_SCORES` bytes."""
    tokens, keys = q.shape[1], k.shape[1]
    parts = -(-tokens * keys * q.itemsize // _SCORES)
    return -(-tokens // min(parts, tokens))


def _weights(q: torch.Tensor, k: torch.Tensor, hidden: torch.Tensor | None) -> torch.Tensor:
    """softmax(q k^T), [queries, keys]; hidden [1, keys] or None."""
    scores = product(q, k)
    if hidden is not None:
        scores.masked_fill_(hidden, float("-inf"))
    return torch.softmax(scores, -1)
