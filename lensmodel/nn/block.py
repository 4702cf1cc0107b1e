"""One dual-stream block: image and text tokens keep their own weights and meet only in the attention."""

import torch
import torch.nn.functional as F
from torch import nn

from lensmodel.nn.layers import RMSNorm, SwiGLU, upcast
from lensmodel.nn.rope import rotate


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Softmax attention over q, k, v [B, N, heads, d] -> [B, N, heads*d] in v's dtype; mask [B, 1, 1, keys]
    or None.
    """
    dtype = v.dtype
    if v.device.type == "cpu":  # bfloat16 attention is several times slower than float32 there
        with torch.autocast("cpu", enabled=False):
            out = _sdpa(upcast(q), upcast(k), upcast(v), mask)
    else:
        out = _sdpa(q.to(dtype), k.to(dtype), v, mask)
    return out.transpose(1, 2).flatten(2).to(dtype)


def _sdpa(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    return F.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask
    )


class JointAttention(nn.Module):
    """Attention over [image, text]: fused QKV as [3, heads, d], RMS-normalised q and k, RoPE on both streams.

    With `last`, text tokens offer keys and values but ask nothing, because nothing reads their answer.
    """

    def __init__(self, dim: int, heads: int, last: bool) -> None:
        super().__init__()
        self.heads, self.last = heads, last
        head_dim = dim // heads
        self.norm_q = RMSNorm(head_dim, 1e-6)
        self.norm_k = RMSNorm(head_dim, 1e-6)
        self.norm_added_q = RMSNorm(head_dim, 1e-6)
        self.norm_added_k = RMSNorm(head_dim, 1e-6)
        self.img_qkv = nn.Linear(dim, 3 * dim)
        self.txt_qkv = nn.Linear(dim, 3 * dim)
        self.to_out = nn.Sequential(nn.Linear(dim, dim))
        self.to_add_out = nn.Linear(dim, dim)

    def forward(
        self, img: torch.Tensor, txt: torch.Tensor | None, table: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        tokens = img.shape[1]
        q, k, v = self.img_qkv(img).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k = self.norm_q(upcast(q)), self.norm_k(upcast(k))
        if txt is not None:
            # The last block's text queries come for free with the fused product and are dropped here.
            tq, tk, tv = self.txt_qkv(txt).unflatten(-1, (3, self.heads, -1)).unbind(2)
            if not self.last:
                q = torch.cat((q, self.norm_added_q(upcast(tq))), 1)
            k = torch.cat((k, self.norm_added_k(upcast(tk))), 1)
            v = torch.cat((v, tv), 1)
        out = attend(rotate(q, table[: q.shape[1]]), rotate(k, table), v, mask)
        answer = None if txt is None or self.last else self.to_add_out(out[:, tokens:])
        return self.to_out(out[:, :tokens]), answer


def _modulation(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))


class LensBlock(nn.Module):
    """img [B, S, dim], txt [B, T, dim] or None, temb [B, dim] -> the two streams; with `last` the text is
    spent.

    Gates are raw (no tanh). Modulation is taken to the stream's dtype, so a float32 residual stream under
    autocast keeps its precision: 1 + scale and the gated sum are never rounded to bfloat16.
    """

    def __init__(self, dim: int, heads: int, hidden: int, last: bool) -> None:
        super().__init__()
        self.last = last
        self.img_mod = _modulation(dim)
        self.txt_mod = _modulation(dim)
        self.img_norm1 = RMSNorm(dim, 1e-6)
        self.img_norm2 = RMSNorm(dim, 1e-6)
        self.txt_norm1 = RMSNorm(dim, 1e-6)
        self.txt_norm2 = RMSNorm(dim, 1e-6)
        self.attn = JointAttention(dim, heads, last)
        self.img_mlp = SwiGLU(dim, hidden)
        self.txt_mlp = SwiGLU(dim, hidden)

    def forward(
        self,
        img: torch.Tensor,
        txt: torch.Tensor | None,
        temb: torch.Tensor,
        table: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        shift1, scale1, gate1, shift2, scale2, gate2 = _six(self.img_mod, temb, img)
        h = self.img_norm1(img) * (1 + scale1) + shift1
        if txt is None:
            out, _ = self.attn(h, None, table, mask)
        else:
            tshift1, tscale1, tgate1, tshift2, tscale2, tgate2 = _six(self.txt_mod, temb, txt)
            out, tout = self.attn(h, self.txt_norm1(txt) * (1 + tscale1) + tshift1, table, mask)
            if self.last:
                txt = None
            else:
                txt = txt + tgate1 * tout
                txt = txt + tgate2 * self.txt_mlp(self.txt_norm2(txt) * (1 + tscale2) + tshift2)
        img = img + gate1 * out
        img = img + gate2 * self.img_mlp(self.img_norm2(img) * (1 + scale2) + shift2)
        return img, txt


def _six(mod: nn.Sequential, temb: torch.Tensor, stream: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return mod(temb).to(stream.dtype).unsqueeze(1).chunk(6, -1)
