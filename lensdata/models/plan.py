"""The models of one job, of whichever tier: chosen by the job, loaded by its workers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from catalog import extras, metrics
from lensdata.models.choice import LIGHT, choices
from lensdata.models.light import models as light
from lensdata.models.paper.models import Found, PaperModel, resolve
from lensdata.models.scorer import ScorerId


@dataclass(frozen=True)
class Plan:
    """Which model measures which metric. A worker gets it with its task; equal plans mean equal models."""

    light: frozenset[str]
    others: tuple[Found, ...]

    @property
    def ids(self) -> dict[str, ScorerId]:
        """Every scorer's identity by metric."""
        ids = {metric: identity for metric, identity in light.light_ids().items() if metric in self.light}
        return ids | {found.identity.metric: found.identity for found in self.others}

    @property
    def side(self) -> int:
        """The short side, in pixels, that pictures should keep on their way to the models; 0: the light ones' own."""
        return max((found.side for found in self.others), default=0)

    @property
    def batch(self) -> int:
        """How many images are worth gathering before the models run."""
        return max((found.batch for found in self.others), default=light.BATCH)

    def require(self) -> None:
        """Raise Missing unless what the models are made of is installed."""
        if self.ids:
            cheap = " ".join(f"--only {name}" for name in metrics.names(learned=False))
            hint = f"without it: lensdata score {cheap}"
            extras.require("score", f"measuring {', '.join(self.ids)}", hint=hint)


def plan(models: str, wanted: set[str]) -> Plan:
    """Find the models of `--models` for the metrics `wanted` of them. Raises as `choices` and `resolve` do, and
    Missing for other models than light ones without the extra `score`."""
    chosen = {metric: choice for metric, choice in choices(models).items() if metric in wanted}
    if any(choice.model != LIGHT for choice in chosen.values()):
        extras.require("score", f"--models {models}")  # finding their files needs it already
    others = tuple(resolve(metric, choice) for metric, choice in chosen.items() if choice.model != LIGHT)
    return Plan(frozenset(metric for metric in chosen if chosen[metric].model == LIGHT), others)


class Models:
    """A plan's models, loaded on the first `run`, once in a worker process."""

    def __init__(self, plan: Plan) -> None:
        self._light = light.LightModels(set(plan.light))
        self._found = plan.others
        self._others: list[PaperModel] | None = None

    def run(self, rgb: list[np.ndarray], wanted: set[str]) -> dict[str, np.ndarray]:
        """N uint8 [H, W, 3] images -> by metric of `wanted` float32 [N], and [N, dim] of the embedding; NaN if not
        finite."""
        if self._others is None:
            if self._found:
                import torch

                torch.set_num_threads(1)  # processes are the parallelism here
            self._others = [PaperModel(found) for found in self._found]
        values = self._light.run(rgb, wanted)
        for found, model in zip(self._found, self._others, strict=True):
            if found.identity.metric in wanted:
                values[found.identity.metric] = model.run(rgb)
        return values
