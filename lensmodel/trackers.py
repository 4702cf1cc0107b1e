"""Trackers that draw a run's numbers as curves: TensorBoard and Weights & Biases, both optional.

RUN/log.jsonl holds every number without them. A tracker that fails is said once and left; it never ends a run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog import extras
from catalog.errors import BadInput
from catalog.notices import say

if TYPE_CHECKING:
    import numpy as np

KINDS = ("tensorboard", "wandb")
DRAWN = ("step", "validation")


def check(names: str) -> list[str]:
    """The trackers in a list such as "tensorboard,wandb". Raises BadInput for one unknown or not installed."""
    wanted = [name for name in names.split(",") if name]
    for name in wanted:
        if name not in KINDS:
            raise BadInput(f"trackers={names}: there is no tracker {name!r}; there are {', '.join(KINDS)}")
        extras.require("track", f"trackers={name}", name)
    return wanted


class Trackers:
    """The chosen trackers of one run, whose files go below `out`."""

    def __init__(self, names: str, out: Path, settings: dict[str, Any]) -> None:
        self._open = {name: _OPEN[name](out, settings) for name in check(names)}

    def add(self, kind: str, fields: dict[str, Any]) -> None:
        """Draw the numbers of an event that has a step."""
        if kind not in DRAWN or "step" not in fields:
            return
        numbers = dict(_flat(f"{kind}", {k: v for k, v in fields.items() if k != "step"}))
        self._each(lambda one: one.add(numbers, fields["step"]))

    def picture(self, name: str, picture: np.ndarray, step: int) -> None:
        """Show a picture, uint8 [H, W, 3]."""
        self._each(lambda one: one.picture(name, picture, step))

    def _each(self, work: Callable[[Any], None]) -> None:
        for name in list(self._open):
            try:
                work(self._open[name])
            except Exception as error:  # whatever a service far away answers
                say(f"warning: {name} takes no more numbers ({error}); log.jsonl still does")
                del self._open[name]

    def close(self) -> None:
        for name, one in self._open.items():
            try:
                one.close()
            except Exception as error:
                say(f"warning: {name} did not close ({error})")
        self._open = {}


class _TensorBoard:
    def __init__(self, out: Path, settings: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(out / "tensorboard"))

    def add(self, numbers: dict[str, float], step: int) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, name: str, picture: np.ndarray, step: int) -> None:
        self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """The run's folder gives its id, so that a resumed run goes on in the same curves."""

    def __init__(self, out: Path, settings: dict[str, Any]) -> None:
        import hashlib

        import wandb

        name = hashlib.sha256(str(out.absolute()).encode()).hexdigest()[:12]
        self._run = wandb.init(
            project="lens", id=name, name=out.name, resume="allow", dir=str(out), config=settings
        )

    def add(self, numbers: dict[str, float], step: int) -> None:
        self._run.log(numbers, step=step)

    def picture(self, name: str, picture: np.ndarray, step: int) -> None:
        import wandb

        self._run.log({name: wandb.Image(picture)}, step=step)

    def close(self) -> None:
        self._run.finish()


_OPEN: dict[str, Any] = {"tensorboard": _TensorBoard, "wandb": _Wandb}


def _flat(prefix: str, value: Any) -> list[tuple[str, float]]:
    """("validation/by_base/512", 0.3), ... of nested numbers; what is no number is left out."""
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in _flat(f"{prefix}/{key}", inner)]
    return [(prefix, float(value))] if isinstance(value, int | float) and not isinstance(value, bool) else []
