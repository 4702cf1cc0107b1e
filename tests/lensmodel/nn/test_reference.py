"""Outputs and gradients against a second implementation written from the facts: loops, einsum, complex
numbers.
"""

import cmath
import math

import pytest
import torch

from lensmodel.nn import LensTransformer

HEADS, HEAD_DIM, AXES = 2, 12, (2, 4, 6)
CONFIG = {
    "patch_size": 1,
    "in_channels": 5,
    "out_channels": 7,
    "num_layers": 2,
    "attention_head_dim": HEAD_DIM,
    "num_attention_heads": HEADS,
    "enc_hidden_dim": 6,
    "axes_dims_rope": AXES,
    "selected_layer_index": (1, 2),
}


def rms(x, weight, eps):
    return x * (x.pow(2).mean(-1, keepdim=True) + eps).pow(-0.5) * weight


def linear(p, name, x):
    y = torch.einsum("oi,...i->...o", p[name + ".weight"], x)
    return y + p[name + ".bias"] if name + ".bias" in p else y


def silu(x):
    return x / (1 + torch.exp(-x))


def phases(grid, text_tokens):
    """One unit complex number per token and channel pair."""
    rows, cols = grid
    places = [(0, r - (rows - rows // 2), c - (cols - cols // 2)) for r in range(rows) for c in range(cols)]
    places += [(max(rows // 2, cols // 2) + j,) * 3 for j in range(text_tokens)]
    return torch.tensor(
        [
            [cmath.exp(1j * place[a] * 10000 ** (-k / d)) for a, d in enumerate(AXES) for k in range(0, d, 2)]
            for place in places
        ],
        dtype=torch.complex128,
    )


def reference(p, tokens, features, mask, t, grid):
    """All text columns are computed, in every block; padded keys get weight zero."""
    k = torch.arange(128, dtype=torch.float64)
    angle = 1000 * t[:, None] * 10000 ** (-k / 128)
    time = "time_text_embed.timestep_embedder.linear_"
    temb = linear(p, time + "2", silu(linear(p, time + "1", torch.cat((angle.cos(), angle.sin()), 1))))
    img = linear(p, "img_in", tokens)
    normed = [rms(f, p[f"txt_norm.{n}.weight"], 1e-5) for n, f in enumerate(features)]
    txt = linear(p, "txt_in", torch.cat(normed, -1))
    batch, seen, written = img.shape[0], img.shape[1], txt.shape[1]
    visible = torch.cat((torch.ones(batch, seen, dtype=torch.bool), mask), 1)
    turn = phases(grid, written)[None, :, None]

    def rotated(x):
        z = torch.complex(x[..., 0::2], x[..., 1::2]) * turn
        return torch.stack((z.real, z.imag), -1).reshape(x.shape)

    for n in range(CONFIG["num_layers"]):
        b = f"transformer_blocks.{n}."
        im, tm = ((linear(p, f"{b}{s}_mod.1", silu(temb))[:, None]).chunk(6, -1) for s in ("img", "txt"))
        hi = rms(img, p[b + "img_norm1.weight"], 1e-6) * (1 + im[1]) + im[0]
        ht = rms(txt, p[b + "txt_norm1.weight"], 1e-6) * (1 + tm[1]) + tm[0]
        qi, ki, vi = linear(p, b + "attn.img_qkv", hi).reshape(batch, seen, 3, HEADS, HEAD_DIM).unbind(2)
        qt, kt, vt = linear(p, b + "attn.txt_qkv", ht).reshape(batch, written, 3, HEADS, HEAD_DIM).unbind(2)
        q = [rms(qi, p[b + "attn.norm_q.weight"], 1e-6), rms(qt, p[b + "attn.norm_added_q.weight"], 1e-6)]
        k = [rms(ki, p[b + "attn.norm_k.weight"], 1e-6), rms(kt, p[b + "attn.norm_added_k.weight"], 1e-6)]
        q, k, v = rotated(torch.cat(q, 1)), rotated(torch.cat(k, 1)), torch.cat((vi, vt), 1)
        weight = torch.exp(torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(HEAD_DIM))
        weight = weight * visible[:, None, None]
        weight = weight / weight.sum(-1, keepdim=True)
        out = torch.einsum("bhqk,bkhd->bqhd", weight, v).reshape(batch, seen + written, -1)
        img = img + im[2] * linear(p, b + "attn.to_out.0", out[:, :seen])
        txt = txt + tm[2] * linear(p, b + "attn.to_add_out", out[:, seen:])
        for s, m in (("img", im), ("txt", tm)):
            x = img if s == "img" else txt
            h = rms(x, p[f"{b}{s}_norm2.weight"], 1e-6) * (1 + m[4]) + m[3]
            up = silu(linear(p, f"{b}{s}_mlp.w1", h)) * linear(p, f"{b}{s}_mlp.w3", h)
            x = x + m[5] * linear(p, f"{b}{s}_mlp.w2", up)
            img, txt = (x, txt) if s == "img" else (img, x)
    scale, shift = linear(p, "norm_out.linear", silu(temb))[:, None].chunk(2, -1)
    centred = img - img.mean(-1, keepdim=True)
    h = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()
    return linear(p, "proj_out", h * (1 + scale) + shift)


def problem(grid, text_tokens, seed=0):
    g = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64)

    model = LensTransformer(**CONFIG).double()
    with torch.no_grad():  # nothing near zero, so that no wrong term hides
        for p in model.parameters():
            p.copy_(randn(*p.shape) * 0.3 + (1.0 if p.ndim == 1 else 0.0))
    tokens = randn(3, grid[0] * grid[1], 5).requires_grad_()
    features = [(100 * randn(3, text_tokens, 6)).requires_grad_() for _ in range(2)]
    mask = torch.arange(text_tokens) < torch.tensor([[text_tokens - 1], [max(text_tokens - 3, 0)], [0]])
    return model, tokens, features, mask, torch.tensor([0.0, 0.37, 1.0], dtype=torch.float64)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("text_tokens", [1, 4, 6])
@pytest.mark.parametrize("grid", [(1, 1), (3, 5), (4, 6)])
def test_outputs_and_gradients(grid, text_tokens, checkpointing):
    """Text of every length from none to some in one batch; text_tokens = 1 is no text in the whole batch."""
    model, tokens, features, mask, t = problem(grid, text_tokens)
    if checkpointing:
        model.enable_gradient_checkpointing()
    out = model(tokens, features, mask, t, grid)
    p = dict(model.named_parameters())
    want = reference(p, tokens, features, mask, t, grid)
    torch.testing.assert_close(out, want, atol=1e-9, rtol=1e-9)

    probe = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wrt = [tokens, *features, *p.values()]
    got = torch.autograd.grad((out * probe).sum(), wrt, allow_unused=True)
    expected = torch.autograd.grad((want * probe).sum(), wrt, allow_unused=True)
    names = ["tokens", "features.0", "features.1", *p]
    for name, a, b in zip(names, got, expected, strict=True):
        zero = torch.zeros(())
        a, b = (zero if g is None else g for g in (a, b))
        assert (a - b).abs().max() <= 1e-8 * (1 + b.abs().max()), name


def test_unused_parameters_are_exactly_those_without_gradient():
    model, tokens, features, mask, t = problem((3, 5), 6)
    model.train()(tokens, features, mask, t, (3, 5)).sum().backward()
    assert model.unused_parameters() == [n for n, p in model.named_parameters() if p.grad is None]


def test_training_rank_without_text_reduces_the_same_gradients():
    model, tokens, features, mask, t = problem((3, 5), 6)
    model.train()(tokens, features, mask & False, t, (3, 5)).sum().backward()
    assert model.unused_parameters() == [n for n, p in model.named_parameters() if p.grad is None]
    assert model.txt_in.weight.grad.abs().max() == 0


def test_no_text_in_all_its_forms():
    model, tokens, features, mask, t = problem((3, 5), 6)
    model.eval()
    with torch.no_grad():
        bare = model(tokens, [], None, t, (3, 5))
        empty = model(tokens, [f[:, :0] for f in features], mask[:, :0], t, (3, 5))
        masked = model(tokens, [torch.zeros_like(f) for f in features], mask & False, t, (3, 5))
        mixed = model(tokens, features, mask, t, (3, 5))
        training = model.train()(tokens, features, mask & False, t, (3, 5))
    for other in (empty, masked, training):
        torch.testing.assert_close(other, bare, atol=1e-12, rtol=0)
    torch.testing.assert_close(mixed[2], bare[2], atol=1e-12, rtol=0)
    assert (mixed[0] - bare[0]).abs().max() > 1e-3
