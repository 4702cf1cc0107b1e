"""One process or several (torchrun): rank, device and the three collective operations that training needs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist

from catalog.errors import BadInput


@dataclass(frozen=True)
class Ranks:
    """This process among `world` processes, and the device it computes on."""

    rank: int
    world: int
    device: torch.device

    @property
    def main(self) -> bool:
        return self.rank == 0

    def barrier(self) -> None:
        if self.world > 1:
            dist.barrier()

    def sum(self, values: list[float]) -> list[float]:
        """Each value summed over the ranks."""
        if self.world == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return total.tolist()

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Add up every gradient over the ranks, as one flat message.

        Losses are divided by the token count of the whole step beforehand, so the sum is the gradient of the
        mean over all its tokens, whatever bucket each rank drew. A parameter without gradient has none on any
        rank.
        """
        if self.world == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        for gradient, piece in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(piece.view_as(gradient))


def start(device: str) -> Ranks:
    """Join the processes that torchrun started, or be the only one. `device`: "auto", "cpu", "cuda", ..."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    local = int(os.environ.get("LOCAL_RANK", 0))
    if device == "auto":
        device = f"cuda:{local}" if torch.cuda.is_available() else "cpu"
    try:
        where = torch.device(device)
        torch.zeros(1, device=where)
    except (RuntimeError, AssertionError) as error:
        raise BadInput(f"device={device} cannot be used here: {str(error).splitlines()[0]}") from None
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if where.type == "cuda" else "gloo")
    return Ranks(rank, world, where)


def stop() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
