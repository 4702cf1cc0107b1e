"""The paper's NSFW model: an EVA-02 vision transformer (timm) that grades a picture in four levels.

The public checkpoint is Freepik's `nsfw_image_detector`: https://huggingface.co/Freepik/nsfw_image_detector. Its
package calls a picture NSFW when P(medium) + P(high) reaches 0.5; that sum is the score here.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from catalog.errors import BadInput
from lensdata.models import tensors
from lensdata.models.paper.checkpoint import Checkpoint, described
from lensdata.models.view import RESAMPLING, View

if TYPE_CHECKING:
    import torch

LEVELS = ("neutral", "low", "medium", "high")
UNSAFE = ("medium", "high")
PREFIX = "timm_model."  # what transformers' wrapper of timm puts before every name


class EvaNsfw:
    """NSFW probability by an EVA classifier whose architecture, view and labels the folder's config.json gives.

    Raises BadInput when config.json is of another architecture or of other classes than the four levels.
    """

    CONFIGS, WEIGHTS = ("config.json",), ("model.safetensors", "pytorch_model.bin")

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        where, config = checkpoint.folder / "config.json", checkpoint.json("config.json")
        architecture = config.get("architecture", "")
        if not isinstance(architecture, str) or not architecture.startswith("eva"):
            raise BadInput(f"{where} describes {described(config)}, not one of timm's EVA models")
        self.name = architecture
        self._arguments = _arguments(config.get("model_args") or {}, str(where))
        self._labels, known = _labels(config, str(where))
        self.view = _view(architecture, config.get("pretrained_cfg") or {}, str(where))
        given = "" if known else f" (classes unnamed: taken as {' '.join(LEVELS)})"
        self.rule = f"softmax, P({') + P('.join(UNSAFE)}){given}"

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Raises BadInput naming a tensor that is missing, unexpected or misshapen."""
        import timm

        if not timm.is_model(self.name):
            raise BadInput(f"{self._checkpoint.folder}/config.json: timm has no architecture {self.name!r}")
        model = timm.create_model(self.name, num_classes=len(LEVELS), **self._arguments)
        path = self._checkpoint.weights
        state = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.read(path).items()}
        tensors.load(model, state, path)
        self._model = model.eval().to(device, dtype)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """[N, 3, S, S] -> float32 [N] in [0, 1]."""
        chances = self._model(pixels).float().softmax(dim=1)
        return chances[:, [self._labels.index(level) for level in UNSAFE]].sum(dim=1)


def _arguments(given: dict[str, Any], where: str) -> dict[str, Any]:
    """Sizes of the network, and nothing that would fetch or load something else."""
    import timm

    loaders = set(inspect.signature(timm.create_model).parameters) - {"kwargs"} | {"num_classes"}
    bad = sorted(loaders & given.keys())
    if bad:
        raise BadInput(f"{where}: model_args may not set {bad[0]}")
    return given


def _labels(config: dict[str, Any], where: str) -> tuple[list[str], bool]:
    """The levels in the order of the outputs, and whether the file names them.

    Unnamed (or LABEL_0 and so on) they are in the order the model's card gives.
    """
    names = config.get("label_names")
    if names is None and config.get("id2label"):
        names = [label for _, label in sorted(config["id2label"].items(), key=lambda item: int(item[0]))]
    if names is None or all(str(name).startswith("LABEL_") for name in names):
        count = config.get("num_classes", len(names) if names else None)
        if count != len(LEVELS):
            raise BadInput(f"{where} is of {count} unnamed classes, not of {', '.join(LEVELS)}")
        return list(LEVELS), False
    names = [str(name).lower() for name in names]
    if sorted(names) != sorted(LEVELS):
        raise BadInput(f"{where} has the classes {', '.join(names)}, not {', '.join(LEVELS)}")
    return names, True


def _view(architecture: str, given: dict[str, Any], where: str) -> View:
    """timm's evaluation transform; what the file leaves out is as timm itself has it for the architecture."""
    import timm

    known = timm.get_pretrained_cfg(architecture)
    cfg = {**(known.to_dict() if known else {}), **given}
    try:
        side, other = cfg["input_size"][1:]
        mode, crop = cfg["crop_mode"], float(cfg["crop_pct"])
        view = View(
            int(side / crop),
            side,
            mode == "squash",
            cfg["interpolation"],
            tuple(cfg["mean"]),
            tuple(cfg["std"]),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise BadInput(f"{where}: pretrained_cfg is incomplete ({error})") from None
    if side != other or mode not in ("squash", "center") or view.resampling not in RESAMPLING or crop > 1:
        raise BadInput(f"{where}: pretrained_cfg is not square, or has an unknown crop or interpolation")
    return view
