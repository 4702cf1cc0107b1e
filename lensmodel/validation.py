"""The held-out flow loss: the same samples, noise and times at every call, so small differences count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import torch

from catalog.buckets import BY_NAME
from lensmodel.data.plan import key_of
from lensmodel.methods.pretrain import Text, squared_error, training_mu
from lensmodel.settings import Settings

TIMES = 4
Encode = Callable[[torch.Tensor], tuple[torch.Tensor, tuple[int, int]]]


@dataclass(frozen=True)
class HeldOut:
    """Validation pictures of one bucket: pixels [N, 3, H, W], their text, image ids that fix the noise."""

    bucket: str
    pixels: torch.Tensor
    text: Text
    image_ids: list[int]


@dataclass(frozen=True)
class Losses:
    """Mean squared velocity error per token and channel: over all, by base, by bucket, by time."""

    total: float
    by_base: dict[str, float]
    by_bucket: dict[str, float]
    by_time: dict[str, float]


def quantile_times(mu: float) -> list[float]:
    """TIMES training times at the middles of equally likely intervals: their mean stands for training's."""
    z = [NormalDist().inv_cdf((k + 0.5) / TIMES) for k in range(TIMES)]
    return torch.sigmoid(mu + torch.tensor(z)).tolist()


@torch.no_grad()
def validate(
    model: torch.nn.Module, sets: list[HeldOut], encode: Encode, settings: Settings, device: torch.device
) -> Losses:
    """The held-out loss of `model` with every caption present, in batches no larger than those of training."""
    sums: dict[str, dict[str, list[float]]] = {
        k: defaultdict(lambda: [0.0, 0.0]) for k in ("base", "bucket", "time")
    }
    was_training = model.training
    model.eval()
    for held in sets:
        base, count = BY_NAME[held.bucket].base, len(held.image_ids)
        size = settings.batch_sizes()[base]
        for chunk in (slice(i, i + size) for i in range(0, count, size)):
            x0, grid = encode(held.pixels[chunk].to(device))
            text = [f[chunk].to(device) for f in held.text[0]], held.text[1][chunk].to(device)
            for k, time in enumerate(quantile_times(training_mu(settings, x0.shape[1]))):
                keys = [key_of("validation", i, k) for i in held.image_ids[chunk]]
                noise = [torch.Generator().manual_seed(key) for key in keys]
                eps = torch.stack([torch.randn(x0.shape[1:], generator=g) for g in noise]).to(device)
                t = torch.full((len(x0),), time, device=device)
                error = squared_error(model, x0, eps, t, text, grid)
                for kind, key in (("base", str(base)), ("bucket", held.bucket), ("time", f"q{k + 1}")):
                    sums[kind][key][0] += error.sum().item()
                    sums[kind][key][1] += error.numel()
    model.train(was_training)
    means = {kind: {key: s / n for key, (s, n) in sorted(parts.items())} for kind, parts in sums.items()}
    every = sums["time"].values()
    total = sum(s for s, _ in every) / sum(n for _, n in every)
    return Losses(total, means["base"], means["bucket"], means["time"])
