"""The held-out flow loss: the same samples, noise and times at every call, so small differences count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import torch

from catalog.buckets import BY_NAME
from lensmodel.data.plan import key_of
from lensmodel.distributed import Ranks
from lensmodel.methods.pretrain import Text, squared_error, training_mu
from lensmodel.settings import Settings

TIMES = 4
PARTS = TIMES + 1  # of a batch: the sum of errors at each time, and of how many tokens
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
    model: torch.nn.Module, sets: list[HeldOut], encode: Encode, settings: Settings, ranks: Ranks, alike: bool = False
) -> Losses:  # fmt: skip
    """The held-out loss of `model` with every caption present, in batches no larger than those of training.

    Each rank takes its share of the batches; their sums meet and are added in an order that does not depend on the
    ranks, so that any number of them finds the same loss. With `alike`, ranks with nothing left repeat a batch that
    does not count: shards of a model meet in each forward pass.
    """
    chunks = []
    for held in sets:
        size = settings.batch_sizes()[BY_NAME[held.bucket].base]
        chunks += [(held, slice(i, i + size)) for i in range(0, len(held.image_ids), size)]
    found = [0.0] * (len(chunks) * PARTS)
    was_training = model.training
    model.eval()
    for start in range(0, len(chunks), ranks.world):
        number = start + ranks.rank
        if number < len(chunks):
            parts = _errors(model, *chunks[number], encode, settings, ranks.device)
            found[number * PARTS : (number + 1) * PARTS] = parts
        elif alike:
            _errors(model, *chunks[0], encode, settings, ranks.device)
    model.train(was_training)
    found = ranks.sum(found)
    sums: dict[str, dict[str, list[float]]] = {
        k: defaultdict(lambda: [0.0, 0.0]) for k in ("base", "bucket", "time")
    }
    for n, (held, _) in enumerate(chunks):
        base, (*errors, tokens) = BY_NAME[held.bucket].base, found[n * PARTS : (n + 1) * PARTS]
        for k, error in enumerate(errors):
            for kind, key in (("base", str(base)), ("bucket", held.bucket), ("time", f"q{k + 1}")):
                sums[kind][key][0] += error
                sums[kind][key][1] += tokens
    means = {kind: {key: s / n for key, (s, n) in sorted(parts.items())} for kind, parts in sums.items()}
    every = sums["time"].values()
    total = sum(s for s, _ in every) / sum(n for _, n in every)
    return Losses(total, means["base"], means["bucket"], means["time"])


def _errors(
    model: torch.nn.Module, held: HeldOut, chunk: slice, encode: Encode, settings: Settings, device: torch.device
) -> list[float]:  # fmt: skip
    """The PARTS of one batch."""
    x0, grid = encode(held.pixels[chunk].to(device))
    text = [f[chunk].to(device) for f in held.text[0]], held.text[1][chunk].to(device)
    found = []
    for k, time in enumerate(quantile_times(training_mu(settings, x0.shape[1]))):
        keys = [key_of("validation", i, k) for i in held.image_ids[chunk]]
        noise = [torch.Generator().manual_seed(key) for key in keys]
        eps = torch.stack([torch.randn(x0.shape[1:], generator=g) for g in noise]).to(device)
        t = torch.full((len(x0),), time, device=device)
        found.append(squared_error(model, x0, eps, t, text, grid).sum().item())
    return [*found, float(x0.shape[0] * x0.shape[1])]
