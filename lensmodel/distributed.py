"""One process or several (torchrun): rank, device and the collective operations that training needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from catalog.errors import BadInput, LensError, one_line
from lensmodel.signals import held_back

WAIT = timedelta(days=7)  # encoding the captions of millions of images takes one rank hours


@dataclass(frozen=True)
class Ranks:
    """This process among `world` processes, and the device it computes on."""

    rank: int
    world: int
    device: torch.device
    waiting: Any = None  # the process group of waits that may be long

    @property
    def main(self) -> bool:
        return self.rank == 0

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Rank 0 runs the block while the others wait, then they do.

        If it fails on rank 0, which says why, the others leave without a word (SystemExit). A signal that comes while
        the outcome is told waits until every rank has it. Raises LensError if rank 0 is gone.
        """
        if self.world == 1:
            yield
            return
        outcome: list[int | None] = [None]
        if self.main:
            try:
                yield
            except BaseException as error:
                outcome = [error.exit_code if isinstance(error, LensError) else 1]
                raise
            finally:
                with held_back():
                    dist.broadcast_object_list(outcome, 0, self.waiting)
        else:
            try:
                with held_back():
                    dist.broadcast_object_list(outcome, 0, self.waiting)
            except RuntimeError:  # its connection closed: killed, or a second Ctrl-C
                raise LensError(f"rank {self.rank} lost rank 0, which has ended") from None
            if outcome[0] is not None:
                raise SystemExit(outcome[0])
            yield

    def tell(self, value: Any) -> Any:
        """What rank 0 gives, on every rank."""
        if self.world == 1:
            return value
        told = [value]
        dist.broadcast_object_list(told, 0, self.waiting)
        return told[0]

    def gather(self, value: Any) -> list[Any] | None:
        """What every rank gives, in the order of the ranks, on rank 0; elsewhere None."""
        if self.world == 1:
            return [value]
        found: list[Any] | None = [None] * self.world if self.main else None
        dist.gather_object(value, found, 0, self.waiting)
        return found

    def sum(self, values: list[float]) -> list[float]:
        """Each value summed over the ranks."""
        if self.world == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return total.tolist()


def device(name: str, local: int = 0) -> torch.device:
    """The device called `name`; "auto" is the GPU number `local` or, without any, the CPU. Raises BadInput."""
    if name == "auto":
        name = f"cuda:{local}" if torch.cuda.is_available() else "cpu"
    try:
        where = torch.device(name)
        torch.zeros(1, device=where).item()  # the meta device has no numbers to give
    except Exception as error:  # unknown names raise whatever their backend's import or dispatch does
        raise BadInput(f"device={name} cannot be used here: {str(error).splitlines()[0]}") from None
    return where


def start(name: str) -> Ranks:
    """Join the processes that torchrun started, or be the only one. `name`: "auto", "cpu", "cuda", ...

    Raises LensError if they do not come together: one has ended, or their addresses are wrong.
    """
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    where = device(name, int(os.environ.get("LOCAL_RANK", 0)))
    waiting = None
    if world > 1:
        try:
            if not dist.is_initialized():
                dist.init_process_group("nccl" if where.type == "cuda" else "gloo")
            waiting = dist.new_group(backend="gloo", timeout=WAIT)
        except (RuntimeError, ValueError) as error:
            raise LensError(f"rank {rank} of {world} could not join the others ({one_line(error)})") from None
    return Ranks(rank, world, where, waiting)


def stop() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
