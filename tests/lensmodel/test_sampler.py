"""The samplers against diffusers' schedulers, an ODE with a known solution, and straight flows."""

import math
from itertools import pairwise

import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
)

from catalog.errors import BadInput
from lensmodel import flow
from lensmodel.sampler import METHODS, sample

SPREAD = 0.4  # standard deviation of the data in the Gaussian problem


def gaussian(x, sigma):
    """The exact velocity when x0 ~ N(0, SPREAD^2): the ODE's solution is x(1) sqrt(sigma^2 + (1-sigma)^2
    SPREAD^2).
    """
    s2 = SPREAD**2
    return (sigma - (1 - sigma) * s2) / (sigma**2 + (1 - sigma) ** 2 * s2) * x


def scale(sigma):
    return math.sqrt(sigma**2 + (1 - sigma) ** 2 * SPREAD**2)


def curved(x, sigma):
    return torch.tanh(x) * (1 + sigma) - 0.5 * x


def noise(dtype=torch.float32):
    return torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_straight_flow_is_exact(method, steps):
    x0, eps = noise(torch.float64) - 3, noise(torch.float64)
    out = sample(lambda x, s: eps - x0, eps, flow.inference_sigmas(1024, steps), method)
    torch.testing.assert_close(out, x0, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2), ("dpmpp2m", 2)])
def test_order_of_convergence(method, order):
    """Between 0.9 and 0.1, where no step falls back: doubling the steps divides the error by 2^order."""
    start = noise(torch.float64) * scale(0.9)
    want = start / scale(0.9) * scale(0.1)
    errors = []
    for steps in (40, 80, 160):
        sigmas = torch.linspace(0.9, 0.1, steps + 1, dtype=torch.float64)
        errors.append((sample(gaussian, start, sigmas, method) - want).abs().max())
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("method", ["heun", "dpmpp2m"])
def test_second_order_beats_euler_from_noise_to_data(method):
    """On even levels: the shifted ones end in a long first-order step that dominates all three errors."""
    eps = noise(torch.float64)
    sigmas = torch.linspace(1, 0, 41, dtype=torch.float64)
    want = eps * SPREAD
    error = {m: (sample(gaussian, eps, sigmas, m) - want).abs().max() for m in ("euler", method)}
    assert error[method] < error["euler"] / 2


def through(scheduler, denoise, x, timesteps, sigmas):
    for t, sigma in zip(timesteps, sigmas, strict=True):
        x = scheduler.step(denoise(x, sigma), t, x, return_dict=False)[0]
    return x


@pytest.mark.parametrize("steps", [1, 4, 20])
def test_euler_equals_diffusers(steps):
    """Fed with the unshifted levels and our mu, diffusers' dynamic shifting gives our levels, and then our
    steps.
    """
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    plain = torch.linspace(1, 1 / steps, steps, dtype=torch.float64).tolist()
    scheduler.set_timesteps(sigmas=plain, mu=flow.inference_mu(4096, steps))
    sigmas = flow.inference_sigmas(4096, steps)
    torch.testing.assert_close(scheduler.sigmas, sigmas, atol=2e-7, rtol=0)
    want = through(scheduler, curved, noise(), scheduler.timesteps, sigmas[:-1])
    torch.testing.assert_close(sample(curved, noise(), sigmas, "euler"), want, atol=2e-6, rtol=0)


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 20])
@pytest.mark.parametrize("start", [1.0, 0.7])
def test_dpmpp2m_equals_diffusers(steps, start):
    """The levels are ours. From sigma = 1 diffusers divides by an infinite lambda, which its float32 survives
    here.

    It makes the last step first-order below 15 steps, and above because the final sigma is zero: always, as
    we do.
    """
    sigmas = flow.inference_sigmas(4096, steps) * start
    scheduler = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction")
    scheduler.set_timesteps(steps)
    scheduler.sigmas = sigmas
    scheduler.set_begin_index(0)
    want = through(scheduler, curved, noise(), scheduler.timesteps, sigmas[:-1])
    assert want.isfinite().all()
    torch.testing.assert_close(sample(curved, noise(), sigmas, "dpmpp2m"), want, atol=5e-6, rtol=0)


@pytest.mark.parametrize("steps", [1, 2, 6])
def test_heun_equals_diffusers(steps):
    """The levels are ours; diffusers stores every inner level twice, once for each evaluation."""
    sigmas = flow.inference_sigmas(4096, steps)
    scheduler = FlowMatchHeunDiscreteScheduler()
    scheduler.set_timesteps(steps)
    doubled = torch.cat((sigmas[:1], sigmas[1:-1].repeat_interleave(2)))
    scheduler.sigmas = torch.cat((doubled, sigmas[-1:]))
    scheduler.timesteps = doubled * 1000
    scheduler.set_begin_index(0)
    want = through(scheduler, curved, noise(), scheduler.timesteps, doubled)
    torch.testing.assert_close(sample(curved, noise(), sigmas, "heun"), want, atol=5e-6, rtol=0)


@pytest.mark.parametrize(("method", "calls"), [("euler", 5), ("dpmpp2m", 5), ("heun", 9)])
def test_evaluations_and_their_sigmas(method, calls):
    seen = []

    def denoise(x, sigma):
        assert sigma.shape == () and x.dtype == torch.float32
        seen.append(float(sigma))
        return x.bfloat16()

    sigmas = flow.inference_sigmas(1024, 5)
    out = sample(denoise, noise().bfloat16(), sigmas, method)
    assert out.dtype == torch.float32
    assert len(seen) == calls
    assert set(seen) == {float(s) for s in sigmas[:-1]}


def test_first_two_and_last_steps_of_dpmpp2m_are_euler():
    """From 1, lambda is infinite at the first level, so up to two steps nothing is left to extrapolate."""
    for steps in (1, 2):
        sigmas = flow.inference_sigmas(1024, steps)
        got, want = (sample(curved, noise(), sigmas, m) for m in ("dpmpp2m", "euler"))
        torch.testing.assert_close(got, want, atol=1e-6, rtol=0)


def test_a_prefix_and_its_rest_are_the_whole_run():
    sigmas = flow.inference_sigmas(1024, 4)
    half = sample(curved, noise(), sigmas[:3])
    assert torch.equal(sample(curved, half, sigmas[2:]), sample(curved, noise(), sigmas))


def test_gradients_flow_through_every_step():
    x = noise().requires_grad_()
    sample(curved, x, flow.inference_sigmas(1024, 3), "dpmpp2m").sum().backward()
    assert x.grad.abs().min() > 0


@pytest.mark.parametrize(
    "sigmas", [[1.0], [0.5, 0.5], [0.2, 0.8], [1.5, 0.0], [0.5, -0.1], [float("nan"), 0.0]]
)
def test_levels_that_do_not_fall(sigmas):
    with pytest.raises(BadInput, match="fall strictly"):
        sample(curved, noise(), torch.tensor(sigmas))


def test_unknown_method():
    with pytest.raises(BadInput, match="euler, dpmpp2m, heun"):
        sample(curved, noise(), torch.tensor([1.0, 0.0]), "ddim")
