"""The paper's two SigLIP models: Aesthetic Predictor v2.5 and the SigLIP2 watermark classifier.

The predictor (https://github.com/discus0434/aesthetic-predictor-v2-5) is a stack of linear layers on the pooled,
l2-normalised embedding of google/siglip-so400m-patch14-384. The classifier
(https://huggingface.co/prithivMLmods/Watermark-Detection-SigLIP2) is transformers' SiglipForImageClassification.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from catalog.errors import BadInput
from lensdata.models import tensors
from lensdata.models.paper.checkpoint import Checkpoint, described
from lensdata.models.view import View

if TYPE_CHECKING:
    import torch

HEAD_WIDTHS = (1024, 128, 64, 16, 1)
HEAD = "scoring_head"
TOWER = "vision_model."
NO_TEXT = {
    "bos_token_id": None,
    "eos_token_id": None,
}  # the classifier has no text tower; its defaults draw warnings
WATERMARK, CLEAN = "watermark", "no watermark"
RESAMPLING = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers


class SiglipAesthetic:
    """Aesthetic Predictor v2.5: about 1 to 10. The folder holds a SigLIP; its text tower is not loaded."""

    CONFIGS = ("config.json", "preprocessor_config.json")
    WEIGHTS = ("model.safetensors", "pytorch_model.bin")

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._config, _ = _vision(checkpoint)
        if not self._config.get("vision_use_head", True):
            raise BadInput(f"{checkpoint.folder / 'config.json'} describes a SigLIP without the pooling head")
        self.name = "aesthetic-predictor-v2.5"
        self.view = _view(checkpoint, self._config)
        self.rule = "pooled, l2-normalised, linear head"

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Raises BadInput naming a tensor, of the tower or the head, that is missing, unexpected or misshapen."""
        from torch import nn
        from transformers import SiglipVisionConfig, SiglipVisionModel

        model = SiglipVisionModel(SiglipVisionConfig(**self._config))
        path = self._checkpoint.weights
        tensors.load(model, _tower(tensors.read(path)), path)
        layers: list[nn.Module] = []
        for a, b in pairwise((model.config.hidden_size, *HEAD_WIDTHS)):
            layers += [
                nn.Linear(a, b),
                nn.Identity(),
            ]  # the original has a dropout there, which counts in the names
        head = nn.ModuleDict({HEAD: nn.Sequential(*layers)})
        path = self._checkpoint.head_path()
        tensors.load(head, tensors.read(path), path)
        self._model = model.eval().to(device, dtype)
        self._head = head[HEAD].eval().to(device)  # in fp32: it is small, and its last steps decide the score

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """[N, 3, S, S] -> float32 [N]."""
        from torch.nn.functional import normalize

        pooled = self._model(pixel_values=pixels).pooler_output
        return self._head(normalize(pooled.float(), dim=1)).squeeze(1)


class SiglipWatermark:
    """Probability of a visible watermark, of the class that config.json calls `Watermark`.

    Raises BadInput when config.json is of another architecture, or of other classes than Watermark and No Watermark.
    """

    CONFIGS = ("config.json", "preprocessor_config.json")
    WEIGHTS = ("model.safetensors", "pytorch_model.bin")

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        vision, self._config = _vision(checkpoint)
        where = checkpoint.folder / "config.json"
        if "SiglipForImageClassification" not in (self._config.get("architectures") or ()):
            raise BadInput(f"{where} describes {described(self._config)}, not SiglipForImageClassification")
        labels = {int(n): str(label) for n, label in (self._config.get("id2label") or {}).items()}
        plain = {" ".join(label.lower().replace("_", " ").split()): n for n, label in labels.items()}
        if set(plain) != {WATERMARK, CLEAN} or set(labels) != {0, 1}:
            found = ", ".join(labels.values()) or "no names"
            raise BadInput(f"{where} has the classes {found}, not Watermark and No Watermark")
        self._class = plain[WATERMARK]
        self.name = "siglip-watermark"
        self.view = _view(checkpoint, vision)
        self.rule = f"softmax, P({labels[self._class]})"

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Raises BadInput naming a tensor that is missing, unexpected or misshapen."""
        from transformers import SiglipConfig, SiglipForImageClassification

        config = SiglipConfig(vision_config=self._config["vision_config"], text_config=NO_TEXT)
        config.num_labels = 2
        model = SiglipForImageClassification(config)
        path = self._checkpoint.weights
        tensors.load(model, _without_positions(tensors.read(path)), path)
        self._model = model.eval().to(device, dtype)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """[N, 3, S, S] -> float32 [N] in [0, 1]."""
        return self._model(pixel_values=pixels).logits.float().softmax(dim=1)[:, self._class]


def _vision(checkpoint: Checkpoint) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the vision tower's configuration, all of config.json), of a whole SigLIP or of a tower alone."""
    config = checkpoint.json("config.json")
    kind = config.get("model_type")
    if kind == "siglip" and isinstance(config.get("vision_config"), dict):
        return config["vision_config"], config
    if kind == "siglip_vision_model":
        return config, config
    raise BadInput(f"{checkpoint.folder / 'config.json'} describes {described(config)}, not a SigLIP model")


def _view(checkpoint: Checkpoint, vision: dict[str, Any]) -> View:
    """What SigLIP's image processor does with a picture."""
    name = "preprocessor_config.json"
    where, cfg = checkpoint.folder / name, checkpoint.json(name)
    off = [f"do_{step}" for step in ("resize", "rescale", "normalize") if not cfg.get(f"do_{step}", True)]
    if off or cfg.get("do_center_crop") or abs(cfg.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-6:
        raise BadInput(
            f"{where} asks for another treatment than resizing, rescaling by 1/255 and normalising"
        )
    try:
        side, other = cfg["size"]["height"], cfg["size"]["width"]
        mean, std = tuple(cfg["image_mean"]), tuple(cfg["image_std"])
        resampling = RESAMPLING[cfg.get("resample", 3)]
    except (KeyError, TypeError) as error:
        raise BadInput(
            f"{where}: size, image_mean, image_std or resample is missing or unknown ({error})"
        ) from None
    expected = vision.get("image_size", 224)
    if side != other or side != expected:
        raise BadInput(
            f"{where} makes pictures of {side} x {other}, but config.json is for {expected} x {expected}"
        )
    return View(side, side, True, resampling, mean, std)


def _tower(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The vision tower's tensors without their prefix; those of the text tower and the loss are left out."""
    other = ("text_model.", "logit_scale", "logit_bias")
    own = {name.removeprefix(TOWER): value for name, value in state.items() if not name.startswith(other)}
    return _without_positions(own)


def _without_positions(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Older checkpoints carry 0, 1, 2 ... as a tensor; it is no weight."""
    return {name: value for name, value in state.items() if not name.endswith("embeddings.position_ids")}
