"""Muon for the matrices inside the blocks, AdamW for all else: one optimiser with one state to save."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

ADAMW, MUON = ("step", "exp_avg", "exp_avg_sq"), ("momentum_buffer",)  # what each keeps of a parameter


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The weights that Muon is made for: of attention and MLP inside the blocks, [out, in].

    Not what reads or writes another space (tokens, features, time), nor modulation, whose input is a single vector a
    sample: its gradient has the rank of the batch at most, and equal singular values would blow up the noise in it.
    """
    return [
        p
        for name, p in model.named_parameters()
        if p.requires_grad and p.ndim == 2 and "transformer_blocks." in name and "_mod." not in name
    ]


class MuonAdamW(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) for `hidden` and torch's AdamW for `groups`, under one learning rate.

    Muon replaces a matrix's update by the nearest one with equal singular values, so that directions with small
    gradients are learnt as fast as those with large ones. Its update has an RMS of 0.2 `times` the learning rate, about
    AdamW's where `times` is 1 (Liu et al. 2025). Momentum 0.95, Nesterov, five Newton-Schulz steps in bfloat16.

    The first parameter group is Muon's; its rate must be set to `times` that of the others (`set_rate`). Its weight
    decay is divided by `times`, so a weight decays as under AdamW.
    """

    def __init__(
        self, hidden: Sequence[nn.Parameter], groups: list[dict[str, Any]], lr: float, times: float,
        weight_decay: float, betas: tuple[float, float], fused: bool,
    ) -> None:  # fmt: skip
        self._muon = torch.optim.Muon(
            hidden, lr=lr, weight_decay=weight_decay / times, momentum=0.95, adjust_lr_fn="match_rms_adamw"
        )
        self._adamw = torch.optim.AdamW(groups, lr=lr, betas=betas, fused=fused)
        super().__init__([{"params": list(hidden)}, *({"params": g["params"]} for g in groups)], {})
        self.param_groups = [*self._muon.param_groups, *self._adamw.param_groups]
        self.param_groups[0]["times"] = times
        self._share()

    def _share(self) -> None:
        """Both parts work on this optimiser's own groups and state."""
        self._muon.param_groups, self._adamw.param_groups = self.param_groups[:1], self.param_groups[1:]
        self._muon.state = self._adamw.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update all parameters that have gradients. Raises ValueError for a closure, which neither part needs."""
        if closure is not None:
            raise ValueError("MuonAdamW takes no closure")
        self._muon.step()
        self._adamw.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()


def moments_of(optimizer: torch.optim.Optimizer) -> list[tuple[str, ...]]:
    """What the optimiser keeps of each parameter, by name, in the order of its groups."""
    return [
        MUON if "ns_steps" in group else ADAMW for group in optimizer.param_groups for _ in group["params"]
    ]


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every group: `lr`, times the group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("times", 1.0)
