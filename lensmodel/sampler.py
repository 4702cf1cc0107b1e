"""Samplers of the probability-flow ODE dx/dsigma = v(x, sigma), from noise at sigma = 1 down to 0."""

import math
from collections.abc import Callable
from itertools import pairwise

import torch

from catalog.errors import BadInput

Denoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def sample(denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, method: str = "euler") -> torch.Tensor:
    """Carries x [B, S, C] from sigmas[0] to sigmas[-1]; returns it in float32 (float64 if x is).

    `denoise(x, sigma) -> velocity` gets the float32 sample and sigma as a 0-d tensor on x's device. `sigmas`
    [steps + 1] falls strictly within [0, 1] and need not reach 1 (image-to-image) or 0 (a prefix of a run).

    - euler: x += (sigma_next - sigma) v; one evaluation a step. What Lens-Turbo ships with.
    - dpmpp2m: DPM-Solver++(2M) (Lu et al. 2022, algorithm 2) on x0 = x - sigma v; one evaluation a step.
    - heun: two evaluations a step, except a last step to 0, which is Euler's.

    Gradients are left as the caller set them. Raises BadInput for an unknown method or sigmas that do not
    fall.
    """
    if method not in METHODS:
        raise BadInput(f"unknown sampling method {method!r}; choose one of {', '.join(METHODS)}")
    levels = [float(s) for s in sigmas]
    falling = all(a > b for a, b in pairwise(levels))
    if len(levels) < 2 or not falling or levels[0] > 1 or levels[-1] < 0:
        raise BadInput(f"sigmas must fall strictly within [0, 1] and be at least two, got {levels}")
    x = x if x.dtype == torch.float64 else x.float()
    times = torch.as_tensor(sigmas).to(x.device)

    def at(x: torch.Tensor, step: int) -> torch.Tensor:
        return denoise(x, times[step]).to(x.dtype)

    return METHODS[method](at, x, levels)


_At = Callable[[torch.Tensor, int], torch.Tensor]


def _euler(at: _At, x: torch.Tensor, levels: list[float]) -> torch.Tensor:
    for i, (sigma, after) in enumerate(pairwise(levels)):
        x = x + (after - sigma) * at(x, i)
    return x


def _heun(at: _At, x: torch.Tensor, levels: list[float]) -> torch.Tensor:
    for i, (sigma, after) in enumerate(pairwise(levels)):
        v = at(x, i)
        if after > 0:
            v = 0.5 * (v + at(x + (after - sigma) * v, i + 1))
        x = x + (after - sigma) * v
    return x


def _dpmpp2m(at: _At, x: torch.Tensor, levels: list[float]) -> torch.Tensor:
    """Second order in lambda = log((1-sigma)/sigma) where lambda is finite at the previous, this and the next
    level.

    From sigma = 1 to 0 that makes the first, second and last steps first-order. Coefficients are float64
    numbers; alpha_next (1 - e^-h) is written as alpha_next - alpha sigma_next / sigma, which has no infinity
    at either end.
    """
    previous, h_previous = None, math.inf
    for i, (sigma, after) in enumerate(pairwise(levels)):
        x0 = x - sigma * at(x, i)
        h = _log_snr(after) - _log_snr(sigma)
        target = x0
        if previous is not None and math.isfinite(h) and math.isfinite(h_previous):
            target = x0 + 0.5 * (h / h_previous) * (x0 - previous)
        x = (after / sigma) * x + ((1 - after) - (1 - sigma) * after / sigma) * target
        previous, h_previous = x0, h
    return x


def _log_snr(sigma: float) -> float:
    if sigma <= 0:
        return math.inf
    return math.log((1 - sigma) / sigma) if sigma < 1 else -math.inf


METHODS: dict[str, Callable[[_At, torch.Tensor, list[float]], torch.Tensor]] = {
    "euler": _euler,
    "dpmpp2m": _dpmpp2m,
    "heun": _heun,
}
