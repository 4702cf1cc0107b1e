"""One dual-stream block: image and text tokens keep their own weights and meet only in the attention."""

from contextlib import nullcontext

import torch
from torch import nn

from lensmodel.nn.attention import attend
from lensmodel.nn.layers import ModulatedNorm, RotaryNorm, SwiGLU
from lensmodel.nn.linear import Linear


class JointAttention(nn.Module):
    """Attention over [image, text]: fused QKV as [3, heads, d], RMS-normalised q and k, RoPE on both streams.

    With `last`, text tokens offer keys and values but ask nothing, because nothing reads their answer.
    """

    def __init__(self, dim: int, heads: int, last: bool) -> None:
        super().__init__()
        self.heads, self.last = heads, last
        head_dim = dim // heads
        self.norm_q = RotaryNorm(head_dim, 1e-6)
        self.norm_k = RotaryNorm(head_dim, 1e-6)
        self.norm_added_q = RotaryNorm(head_dim, 1e-6)
        self.norm_added_k = RotaryNorm(head_dim, 1e-6)
        self.img_qkv = Linear(dim, 3 * dim)
        self.txt_qkv = Linear(dim, 3 * dim)
        self.to_out = nn.Sequential(Linear(dim, dim))
        self.to_add_out = Linear(dim, dim)

    def forward(
        self, img: torch.Tensor, txt: torch.Tensor | None, table: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        tokens = img.shape[1]
        here, there = table[:tokens], table[tokens:]
        q, k, v = self.img_qkv(img).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k = self.norm_q(q, here), self.norm_k(k, here)
        if txt is not None:
            # The last block's text queries come for free with the fused product and are dropped here.
            tq, tk, tv = self.txt_qkv(txt).unflatten(-1, (3, self.heads, -1)).unbind(2)
            if not self.last:
                q = torch.cat((q, self.norm_added_q(tq, there)), 1)
            k = torch.cat((k, self.norm_added_k(tk, there)), 1)
            v = torch.cat((v, tv), 1)
        out = attend(q, k, v, mask)
        answer = None if txt is None or self.last else self.to_add_out(out[:, tokens:])
        return self.to_out(out[:, :tokens]), answer


def _modulation(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.SiLU(), Linear(dim, 6 * dim))


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
        self.img_norm1 = ModulatedNorm(dim, 1e-6)
        self.img_norm2 = ModulatedNorm(dim, 1e-6)
        self.txt_norm1 = ModulatedNorm(dim, 1e-6)
        self.txt_norm2 = ModulatedNorm(dim, 1e-6)
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
        h = self.img_norm1(img, scale1, shift1)
        if txt is None:
            out, _ = self.attn(h, None, table, mask)
        else:
            tshift1, tscale1, tgate1, tshift2, tscale2, tgate2 = _six(self.txt_mod, temb, txt)
            out, tout = self.attn(h, self.txt_norm1(txt, tscale1, tshift1), table, mask)
            if self.last:
                txt = None
            else:
                txt = torch.addcmul(txt, tgate1, tout)
                txt = torch.addcmul(txt, tgate2, self.txt_mlp(self.txt_norm2(txt, tscale2, tshift2)))
        img = torch.addcmul(img, gate1, out)
        img = torch.addcmul(img, gate2, self.img_mlp(self.img_norm2(img, scale2, shift2)))
        return img, txt


def _six(mod: nn.Sequential, temb: torch.Tensor, stream: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Six times [B, 1, dim], in the stream's dtype.

    Not under autocast: casting the matrix would cost more than its product with a few rows, and precision besides.
    """
    exact = mod[1].weight.dtype == stream.dtype and not temb.is_meta
    with torch.autocast(temb.device.type, enabled=False) if exact else nullcontext():
        six = mod(temb.to(stream.dtype) if exact else temb)
    return six.to(stream.dtype).unsqueeze(1).chunk(6, -1)
