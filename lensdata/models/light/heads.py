"""The two small heads on EfficientNet-lite0's features: the aesthetic stand-in and the watermark detector.

They are trained by `scripts/train-light-heads`; docs/light-models.md says on what and how well they do.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from catalog.errors import LensError
from lensdata.models.light.efficientnet import FEATURE_DIM
from lensdata.models.tensors import faults

HEADS_PATH = Path(__file__).with_name("light_heads.safetensors")
HIDDEN = 12
NAMES = ("aesthetic", "watermark")
LAYERS = {
    "hidden.weight": (HIDDEN, FEATURE_DIM),
    "hidden.bias": (HIDDEN,),
    "out.weight": (HIDDEN,),
    "out.bias": (1,),
}
SHAPES = {f"{head}.{layer}": shape for head in NAMES for layer, shape in LAYERS.items()}


@dataclass(frozen=True)
class Head:
    """features [N, FEATURE_DIM] -> one number an image: relu(features @ hidden) @ out."""

    hidden_weight: np.ndarray
    hidden_bias: np.ndarray
    out_weight: np.ndarray
    out_bias: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """float32 [N]; NaN where a feature is not finite, which the relu could otherwise hide."""
        fine = np.isfinite(features).all(axis=1)
        hidden = np.maximum(features[fine] @ self.hidden_weight.T + self.hidden_bias, 0)
        out = np.full(len(features), np.nan, np.float32)
        out[fine] = hidden @ self.out_weight + self.out_bias[0]
        return out


def load_heads(path: Path = HEADS_PATH) -> dict[str, Head]:
    """{"aesthetic": Head, "watermark": Head}.

    Raises LensError when the file is absent or unreadable, or naming a missing, extra or misshapen tensor.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise LensError(f"cannot read the light heads {path} ({error}): reinstall lens-t2i") from error
    wrong = faults(SHAPES, tensors)
    if wrong:
        raise LensError(f"{path}: {wrong}; make the file with scripts/train-light-heads")
    wide = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
    return {head: Head(*(wide[f"{head}.{layer}"] for layer in LAYERS)) for head in NAMES}


def save_heads(path: Path, heads: dict[str, Head]) -> None:
    """Write `heads` in half precision, which keeps the file small and costs the scores nothing that shows."""
    from safetensors.numpy import save

    tensors = {}
    for name, head in heads.items():
        arrays = (head.hidden_weight, head.hidden_bias, head.out_weight, head.out_bias)
        for layer, array in zip(LAYERS, arrays, strict=True):
            tensors[f"{name}.{layer}"] = np.ascontiguousarray(array, np.float16)
    path.write_bytes(save(tensors))


@cache
def revision(prefix: str, path: Path = HEADS_PATH) -> str:
    """First 8 hex digits of the sha256 of the tensors called `prefix.*`, read without any library.

    Each head has its own, so that retraining one does not put the other's scores out of date.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LensError(
            f"cannot read the light heads {path} ({error.strerror}): reinstall lens-t2i"
        ) from error
    # safetensors: 8 bytes of little-endian header length, a JSON header, then the tensors' bytes
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    digest = hashlib.sha256()
    for name in sorted(header):
        if name.startswith(prefix + "."):
            first, last = header[name]["data_offsets"]
            digest.update(name.encode() + data[start + first : start + last])
    return digest.hexdigest()[:8]
