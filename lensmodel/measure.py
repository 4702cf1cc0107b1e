"""What the cost model cannot know: how long a batch takes on this device, and what a forward pass keeps of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from lensmodel import build, cost
from lensmodel.latents import Latents
from lensmodel.methods.pretrain import Pretrain
from lensmodel.settings import Settings

REPEATS = 3
LAYERS = 8  # of a model that is timed for its batches: so few fit beside what will train


def seconds_a_batch(
    settings: Settings, channels: int, sizes: Mapping[int, tuple[int, tuple[int, int]]], text: int,
    device: torch.device,
) -> dict[int, float]:  # fmt: skip
    """Seconds of forward and backward of one batch, by key of `sizes` (batch, grid of image tokens); the best of
    three after one to warm up.

    The model is a new one of these settings, on noise and `text` text tokens a sample. No random state changes.
    """
    with torch.random.fork_rng(devices=[]):
        model = build.denoiser(settings, channels)
    torch.nn.Module.to(model, device).train()
    if settings.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    method = Pretrain(settings)
    found = {}
    for key, (batch, grid) in sizes.items():
        x0 = torch.zeros(batch, grid[0] * grid[1], channels, device=device)
        features = [
            torch.ones(batch, text, settings.enc_hidden_dim, device=device) for _ in settings.encoder_layers
        ]
        mask = torch.ones(batch, text, dtype=torch.bool, device=device)
        times = []
        for number in range(REPEATS + 1):
            start = _now(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
                loss = method.loss(model, x0, (features, mask), grid, number)
            loss.mean().backward()
            times.append(_now(device) - start)
            model.zero_grad(set_to_none=True)
        found[key] = min(times[1:])
    return found


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@dataclass(frozen=True)
class Balance:
    """Batch sizes by base as given and as found; seconds of a batch of each; the share of all ranks' time that is lost
    to waiting for the slowest with either."""

    given: dict[int, int]
    sizes: dict[int, int]
    seconds: dict[int, float]
    lost_given: float
    lost: float
    ranks: int
    layers: int  # of the model that was timed


def balance(
    settings: Settings,
    latents: Latents,
    samples: Mapping[int, Sequence[int]],
    ranks: int,
    device: torch.device,
) -> Balance:
    """Sizes at which `ranks` ranks (at least 2) wait least for data with so many `samples` in each bucket that trains,
    by base; each of these buckets still fills a batch.

    Timed with a model of at most 8 of the blocks, all alike. What is found is timed, too, and kept only if it is
    better.
    """
    given = {base: settings.batch_sizes()[base] for base in samples}
    text = min(cost.TEXT_TOKENS, settings.max_length)
    grids = {base: latents.grid(*latents.pixel_size(base, base)) for base in samples}
    tokens = {base: rows * columns + text for base, (rows, columns) in grids.items()}
    few = dataclasses.replace(settings, num_layers=min(settings.num_layers, LAYERS))
    ranks = max(ranks, 2)

    def timed(sizes: Mapping[int, int]) -> tuple[dict[int, float], float]:
        shapes = {base: (size, grids[base]) for base, size in sizes.items()}
        seconds = seconds_a_batch(few, latents.channels, shapes, text, device)
        batches = {base: sum(samples[base]) / size for base, size in sizes.items()}
        shares = {base: count / sum(batches.values()) for base, count in batches.items()}
        return seconds, cost.loss_to_stragglers(seconds, ranks, shares)

    seconds, before = timed(given)
    sizes = cost.balanced({base: seconds[base] / given[base] for base in given}, given, tokens)
    sizes = {base: min(size, *samples[base]) for base, size in sizes.items()}
    if sizes == given:
        return Balance(given, given, seconds, before, before, ranks, few.num_layers)
    found, after = timed(sizes)
    if after >= before:
        return Balance(given, given, seconds, before, before, ranks, few.num_layers)
    return Balance(given, sizes, found, before, after, ranks, few.num_layers)


def kept_for_backward(
    settings: Settings, channels: int, batch: int, grid: tuple[int, int], text: int, device: torch.device | str = "cpu"
) -> int:  # fmt: skip
    """Bytes that autograd keeps of a forward pass until the backward one, each piece of memory once, weights apart."""
    device = torch.device(device)
    with torch.random.fork_rng(devices=[]):
        model = torch.nn.Module.to(build.denoiser(settings, channels), device).train()
    if settings.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}  # holds them, or an address might be used again

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    x = torch.zeros(batch, grid[0] * grid[1], channels, device=device)
    features = [
        torch.ones(batch, text, settings.enc_hidden_dim, device=device) for _ in settings.encoder_layers
    ]
    mask = torch.ones(batch, text, dtype=torch.bool, device=device)
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"),
    ):
        model(x, features, mask, torch.full((batch,), 0.5, device=device), grid)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
