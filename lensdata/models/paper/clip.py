"""The paper's near-duplicate embedding: CLIP ViT-L/14 (open_clip), 768 numbers of length 1.

OpenAI's weights in open_clip's form: https://huggingface.co/timm/vit_large_patch14_clip_224.openai.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.errors import BadInput
from lensdata.models import tensors
from lensdata.models.paper.checkpoint import Checkpoint
from lensdata.models.view import RESAMPLING, View

if TYPE_CHECKING:
    import torch

PLAIN = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}
TOWER = "visual."
# The library builds an image tower from its configuration only together with a text tower, which is not wanted.
NO_TEXT = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}


class ClipEmbedding:
    """The image tower of a plain CLIP, as the folder's open_clip_config.json describes it; no text tower is kept."""

    CONFIGS = ("open_clip_config.json",)
    WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        where, config = checkpoint.folder / self.CONFIGS[0], checkpoint.json(self.CONFIGS[0])
        model, cfg = config.get("model_cfg"), config.get("preprocess_cfg")
        if not isinstance(model, dict) or not isinstance(cfg, dict):
            raise BadInput(f"{where} has no model_cfg and preprocess_cfg")
        extra = sorted(model.keys() - PLAIN)
        if (
            extra
            or "timm_model_name" in model.get("vision_cfg", {})
            or not {"embed_dim", "vision_cfg"} <= set(model)
        ):
            raise BadInput(
                f"{where} describes no plain CLIP vision transformer{f' ({extra[0]})' if extra else ''}"
            )
        self._model_cfg = model
        self.name = "open-clip"
        self.dim = int(model["embed_dim"])
        try:
            size = cfg.get("size", 224)
            side, other = size if isinstance(size, list) else (size, size)
            mode, resampling = cfg.get("resize_mode", "shortest"), cfg.get("interpolation", "bicubic")
            self.view = View(side, side, mode == "squash", resampling, tuple(cfg["mean"]), tuple(cfg["std"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"{where}: preprocess_cfg is incomplete ({error})") from None
        if side != other or mode not in ("shortest", "squash") or resampling not in RESAMPLING:
            raise BadInput(f"{where}: preprocess_cfg is not square, or has an unknown mode or interpolation")
        self.rule = "l2-normalised"

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Raises BadInput naming a tensor of the image tower that is missing, unexpected or misshapen."""
        import open_clip

        tower = open_clip.CLIP(**{**self._model_cfg, "text_cfg": NO_TEXT}).visual
        path = self._checkpoint.weights
        state = {k.removeprefix(TOWER): v for k, v in tensors.read(path).items() if k.startswith(TOWER)}
        tensors.load(tower, state, path)
        self._tower = tower.eval().to(device, dtype)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """[N, 3, S, S] -> float32 [N, dim], rows of length 1."""
        from torch.nn.functional import normalize

        return normalize(self._tower(pixels).float(), dim=1)
