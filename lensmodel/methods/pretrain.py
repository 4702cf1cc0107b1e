"""Pre-training: flow matching on noised latents (paper, "Pre-training"; signs as in lensmodel.flow).

x_t = (1 - t) x0 + t eps, the target is v = eps - x0, t = sigmoid(mu + z) with z ~ N(0, 1), weight 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lensmodel import flow
from lensmodel.data.plan import key_of
from lensmodel.optim import MuonAdamW, hidden_matrices

if TYPE_CHECKING:
    from lensmodel.settings import Settings

Text = tuple[list[torch.Tensor], torch.Tensor]


def training_mu(settings: Settings, tokens: int) -> float:
    """The shift of training times: the setting `mu`, else the paper's function of the token count."""
    return flow.training_mu(tokens) if settings.mu is None else settings.mu


def squared_error(
    model: torch.nn.Module,
    x0: torch.Tensor,
    eps: torch.Tensor,
    t: torch.Tensor,
    text: Text,
    grid: tuple[int, int],
) -> torch.Tensor:
    """Squared velocity error averaged over channels, float32 [B, S]; x0 and eps [B, S, C], t [B]."""
    features, mask = text
    v = model(flow.add_noise(x0, eps, t), features, mask, t, grid)
    return (v.float() - flow.velocity(x0, eps)).square().mean(dim=-1)


class Pretrain:
    """Flow-matching loss, and AdamW or Muon with it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        """As the settings say; weight decay on matrices only (biases and norm gains have no reason to shrink)."""
        s = self.settings
        hidden = hidden_matrices(model) if s.optimizer == "muon" else []
        muons = {id(p) for p in hidden}
        trained = [p for p in model.parameters() if p.requires_grad and id(p) not in muons]
        matrices = [p for p in trained if p.ndim >= 2]
        vectors = [p for p in trained if p.ndim < 2]
        groups = [
            {"params": matrices, "weight_decay": s.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        # One kernel instead of a dozen: on a CPU a third of the time (8.0 to 2.5 ms for mini).
        fused = {p.device.type for p in model.parameters()} <= {"cpu", "cuda"}
        if hidden:
            return MuonAdamW(hidden, groups, s.lr, s.muon_times, s.weight_decay, (s.beta1, s.beta2), fused)
        return torch.optim.AdamW(groups, lr=s.lr, betas=(s.beta1, s.beta2), fused=fused)

    def learning_rate(self, step: int) -> float:
        """Of step `step` (from 0): linear warm-up, then constant or linear to 0 at max_steps."""
        s = self.settings
        lr = s.lr * min(1.0, (step + 1) / max(s.warmup_steps, 1))
        return lr * max(0.0, 1 - step / s.max_steps) if s.schedule == "linear" else lr

    def loss(
        self, model: torch.nn.Module, x0: torch.Tensor, text: Text, grid: tuple[int, int], number: int
    ) -> torch.Tensor:
        """The loss of each sample of batch `number`, averaged over its tokens: float32 [B]; x0 [B, S, C].

        Noise and times are a function of (seed, number) alone: the same on any rank, before and after a
        resume.
        """
        generator = torch.Generator().manual_seed(key_of("noise", self.settings.seed, number))
        eps = torch.randn(x0.shape, generator=generator)
        t = torch.sigmoid(training_mu(self.settings, x0.shape[1]) + torch.randn(len(x0), generator=generator))
        return squared_error(model, x0, eps.to(x0.device), t.to(x0.device), text, grid).mean(1)
