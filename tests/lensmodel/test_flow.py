"""Sign conventions, time distributions, guidance and patches."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import BadInput
from lensmodel import flow


def test_noise_velocity_and_their_inverses():
    x0, eps = torch.randn(3, 4, 5, dtype=torch.float64), torch.randn(3, 4, 5, dtype=torch.float64)
    t = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    x_t, v, lifted = flow.add_noise(x0, eps, t), flow.velocity(x0, eps), t[:, None, None]
    torch.testing.assert_close(x_t - lifted * v, x0)
    torch.testing.assert_close(x_t + (1 - lifted) * v, eps)
    assert torch.equal(x_t[0], x0[0])
    assert torch.equal(x_t[2], eps[2])
    assert torch.equal(flow.add_noise(x0, eps, 0.3)[1], x_t[1])


def test_training_mu():
    for tokens, mu in ((256, 1.0), (1024, 1.06), (2304, 1.16), (4096, 1.30)):
        assert flow.training_mu(tokens) == pytest.approx(mu, abs=1e-12)


def test_sample_t_is_logit_normal_and_seeded():
    t = flow.sample_t(40_000, 4096, torch.Generator().manual_seed(3))
    assert t.dtype == torch.float32
    assert t.min() > 0 and t.max() < 1
    logits = torch.logit(t.double())
    assert logits.mean() == pytest.approx(1.3, abs=0.02)
    assert logits.std() == pytest.approx(1.0, abs=0.02)
    assert torch.equal(t, flow.sample_t(40_000, 4096, torch.Generator().manual_seed(3)))
    narrow = flow.sample_t(40_000, 256, torch.Generator().manual_seed(3), std=0.5)
    assert torch.logit(narrow.double()).std() == pytest.approx(0.5, abs=0.02)


def test_mean_mu_logit_normal_is_the_time_shift():
    g = torch.Generator().manual_seed(1)
    t = flow.sample_t(100, 1024, g).double()
    z = torch.randn(100, generator=torch.Generator().manual_seed(1)).double()
    s, shift = torch.sigmoid(z), math.exp(flow.training_mu(1024))
    torch.testing.assert_close(t, shift / (shift + 1 / s - 1), atol=1e-6, rtol=0)


@given(st.integers(1, 9000), st.integers(1, 60))
def test_sigmas_fall_from_one_to_zero(tokens, steps):
    sigmas = flow.inference_sigmas(tokens, steps)
    assert sigmas.shape == (steps + 1,)
    assert sigmas[0] == 1 and sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()


def test_sigmas_refuse_no_steps():
    with pytest.raises(BadInput, match="at least one step"):
        flow.inference_sigmas(4096, 0)


def test_guidance():
    cond, uncond = torch.randn(2, 6, 8), torch.randn(2, 6, 8)
    plain = flow.guide(cond, uncond, 5.0, rescale=False)
    torch.testing.assert_close(plain, uncond + 5 * (cond - uncond))
    scaled = flow.guide(cond, uncond, 5.0)
    torch.testing.assert_close(scaled.norm(dim=-1), cond.norm(dim=-1))
    torch.testing.assert_close(torch.cosine_similarity(scaled, plain, -1), torch.ones(2, 6))
    torch.testing.assert_close(flow.guide(cond, uncond, 1.0), cond)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_guidance_of_a_zero_token(dtype):
    cond, uncond = torch.ones(1, 2, 4, dtype=dtype), torch.ones(1, 2, 4, dtype=dtype)
    uncond[0, 0] = 2.0
    cond[0, 0] = 1.0
    out = flow.guide(cond, uncond, 2.0)  # 2 + 2 (1 - 2) = 0
    assert out.dtype == dtype
    assert (out[0, 0] == 0).all()
    assert (out[0, 1] == 1).all()


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4))
def test_patches_round_trip(batch, channels, rows, cols, patch):
    x = torch.randn(batch, channels, rows * patch, cols * patch)
    tokens = flow.patchify(x, patch)
    assert tokens.shape == (batch, rows * cols, channels * patch * patch)
    assert torch.equal(flow.unpatchify(tokens, (rows, cols), patch), x)


def test_pack_index():
    x = torch.arange(2 * 4 * 6.0).reshape(1, 2, 4, 6)
    tokens = flow.pack(x)
    for row, col, c, p1, p2 in ((0, 0, 0, 0, 0), (1, 2, 1, 0, 1), (0, 1, 1, 1, 0)):
        assert tokens[0, row * 3 + col, c * 4 + p1 * 2 + p2] == x[0, c, 2 * row + p1, 2 * col + p2]


def test_patches_that_do_not_fit():
    with pytest.raises(BadInput, match="5 x 4 are not divisible"):
        flow.pack(torch.zeros(1, 2, 5, 4))
    with pytest.raises(BadInput, match="do not form a grid"):
        flow.unpack(torch.zeros(1, 6, 8), (2, 2))
