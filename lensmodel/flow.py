"""Rectified-flow conventions of Lens: x_t = (1 - t) x0 + t eps, t = 1 is noise, velocity v = eps - x0."""

import math

import torch

from catalog.errors import BadInput


def _per_sample(t: torch.Tensor | float, like: torch.Tensor) -> torch.Tensor | float:
    """t as something that broadcasts over `like`: a number, or [B] lifted to [B, 1, ...]."""
    if not isinstance(t, torch.Tensor) or t.ndim == 0:
        return t
    return t.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def add_noise(x0: torch.Tensor, eps: torch.Tensor, t: torch.Tensor | float) -> torch.Tensor:
    """x_t for x0 and eps [B, ...] and t in [0, 1], one number or [B]."""
    t = _per_sample(t, x0)
    return (1 - t) * x0 + t * eps


def velocity(x0: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """dx_t/dt, the training target."""
    return eps - x0


def training_mu(tokens: int) -> float:
    """Location of the logit-normal of training times: 1 at 256 image tokens, 1.3 at 4096, linear in between
    and beyond.
    """
    return 1.0 + 0.3 * (tokens - 256) / 3840


def sample_t(n: int, tokens: int, generator: torch.Generator | None = None, std: float = 1.0) -> torch.Tensor:
    """n training times, float32 in (0, 1), t = sigmoid(training_mu(tokens) + std z), on the generator's
    device.

    At std 1 this equals t ~ logit-normal(0, 1) followed by the exponential time shift by mu. The paper does
    not state std; 1 is the convention.
    """
    device = generator.device if generator is not None else torch.device("cpu")
    z = torch.randn(n, generator=generator, device=device, dtype=torch.float32)
    return torch.sigmoid(training_mu(tokens) + std * z)


def inference_mu(tokens: int, steps: int) -> float:
    """The empirical time shift of FLUX.2 for a number of image tokens and sampling steps.

    Above 4,300 tokens it no longer depends on the steps, and it jumps there: (4300, 20) gives 2.217, (4301,
    20) 1.185.
    """
    at_200 = 0.00016927 * tokens + 0.45666666
    if tokens > 4300:
        return at_200
    at_10 = 8.73809524e-05 * tokens + 1.89833333
    slope = (at_200 - at_10) / 190
    return slope * steps + at_200 - 200 * slope


def inference_sigmas(tokens: int, steps: int) -> torch.Tensor:
    """Noise levels of a sampling run, float32 [steps + 1]: from 1 down to 1/steps, shifted by inference_mu,
    then 0.
    """
    if steps < 1 or tokens < 1:
        raise BadInput(
            f"sampling needs at least one step and one token, got {steps} steps and {tokens} tokens"
        )
    shift = math.exp(inference_mu(tokens, steps))
    s = torch.linspace(1.0, 1.0 / steps, steps, dtype=torch.float64)
    return torch.cat((shift / (shift + 1 / s - 1), s.new_zeros(1))).float()


def guide(cond: torch.Tensor, uncond: torch.Tensor, scale: float, rescale: bool = True) -> torch.Tensor:
    """Classifier-free guidance on velocities [B, S, C]: uncond + scale (cond - uncond).

    `rescale` gives each token back the norm (over channels) of its conditional prediction; without it users
    see over-saturated "plastic" surfaces. A token whose guided norm is zero stays zero.
    """
    guided = uncond + scale * (cond - uncond)
    if not rescale:
        return guided
    wide = torch.promote_types(guided.dtype, torch.float32)
    norm = torch.linalg.vector_norm(guided, dim=-1, keepdim=True, dtype=wide)
    wanted = torch.linalg.vector_norm(cond, dim=-1, keepdim=True, dtype=wide)
    return (guided * (wanted / norm.clamp(min=1e-12))).to(guided.dtype)


def pack(latents: torch.Tensor) -> torch.Tensor:
    """Latents [B, C, H, W] with even sides -> tokens [B, H/2 * W/2, 4C], channel c*4 + p1*2 + p2."""
    return patchify(latents, 2)


def unpack(tokens: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """The inverse of `pack`: tokens [B, rows*cols, 4C] -> [B, C, 2 rows, 2 cols]."""
    return unpatchify(tokens, grid, 2)


def patchify(images: torch.Tensor, patch: int) -> torch.Tensor:
    """[B, C, H, W] -> [B, H/p * W/p, C*p*p], channel c*p*p + p1*p + p2. Raises BadInput unless p divides the
    sides.
    """
    batch, channels, height, width = images.shape
    if height % patch or width % patch:
        raise BadInput(f"sides {height} x {width} are not divisible by the patch size {patch}")
    x = images.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * patch * patch)


def unpatchify(tokens: torch.Tensor, grid: tuple[int, int], patch: int) -> torch.Tensor:
    """The inverse of `patchify`. Raises BadInput when the tokens do not fill the grid."""
    batch, count, width = tokens.shape
    rows, cols = grid
    if rows * cols != count or width % (patch * patch):
        raise BadInput(
            f"{count} tokens of width {width} do not form a grid of {rows} x {cols} patches of side {patch}"
        )
    x = tokens.reshape(batch, rows, cols, width // (patch * patch), patch, patch)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(batch, -1, rows * patch, cols * patch)
