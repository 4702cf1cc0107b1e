"""Strict loading: every tensor of the model comes from the checkpoint, and every tensor of the checkpoint is
used.
"""

import inspect
import json
import logging
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from catalog.errors import BadInput
from lensmodel.nn.transformer import LensTransformer

_INDEX = "diffusion_pytorch_model.safetensors.index.json"


def load(
    path: str | Path, dtype: torch.dtype | None = None, device: str | torch.device = "cpu"
) -> LensTransformer:
    """The model in a diffusers-style folder (config.json and safetensors, sharded or not), in evaluation
    mode.

    A pipeline's folder works too: its `transformer` subfolder is taken. dtype None keeps the stored dtypes.
    Names and shapes are compared before any weight is read.

    Raises BadInput, one line, for a missing or damaged file and for a missing, extra or misshapen tensor.
    """
    model, where = _fitting(Path(path))
    state: dict[str, torch.Tensor] = {}
    for file in sorted({file for file, _ in where.values()}):
        with safe_open(file, framework="pt", device=str(device)) as shard:
            for name in shard.keys():  # noqa: SIM118 - the handle is not a dict
                tensor = shard.get_tensor(name)
                state[name] = tensor if dtype is None else tensor.to(dtype)
    model.load_state_dict(state, assign=True)
    return model.eval()


def check(path: Path) -> dict[str, Any]:
    """The whole configuration of the model in a folder. Raises BadInput as `load` does; no weight is read."""
    return dict(_fitting(path)[0].config)


def folder_of(path: Path) -> Path:
    """The folder of the model that `path` means: itself, or its `transformer` if that is a pipeline's folder."""
    pipeline = not (path / "config.json").is_file() and (path / "transformer" / "config.json").is_file()
    return path / "transformer" if pipeline else path


def _fitting(path: Path) -> tuple[LensTransformer, dict[str, tuple[Path, tuple[int, ...]]]]:
    """The model on the meta device, and where each of its tensors is."""
    folder = folder_of(path)
    config = json_object(folder / "config.json")
    known = {
        k: p.default for k, p in inspect.signature(LensTransformer.__init__).parameters.items() if k != "self"
    }
    unknown = sorted(k for k in config if not k.startswith("_") and k not in known)
    if unknown:
        logging.getLogger(__name__).warning("%s: settings unknown to Lens: %s", folder, ", ".join(unknown))
    config = {k: v for k, v in config.items() if k in known}
    for key, value in config.items():
        if not _is_like(value, known[key]):
            raise BadInput(f"{folder / 'config.json'}: {key} is {value!r}, which is not of its type")
    with torch.device("meta"):
        model = LensTransformer(**config)

    where = _locate(folder)
    want = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    compare(folder, want, {name: shape for name, (_, shape) in where.items()})
    return model, where


def _is_like(value: Any, default: Any) -> bool:
    """Whether a setting's value is of the type of its default. Sizes are positive; only inner_dim may be None."""
    if isinstance(default, tuple):
        return isinstance(value, list | tuple) and all(type(v) is int for v in value)
    if isinstance(default, float):
        return type(value) in (int, float) and math.isfinite(value)
    if default is None or type(default) is int:
        return (type(value) is int and 0 < value < 2**31) or (value is None and default is None)
    return type(value) is type(default)


def json_object(file: Path) -> dict[str, Any]:
    """The object in a JSON file of a model's folder. Raises BadInput if there is none."""
    if not file.is_file():
        raise BadInput(f"{file} does not exist: not a diffusers-style model folder")
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{file} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadInput(f"{file} must hold a JSON object")
    return value


def _locate(folder: Path) -> dict[str, tuple[Path, tuple[int, ...]]]:
    """Tensor name -> (file, shape), from the files' headers alone."""
    if (folder / _INDEX).is_file():
        index = json_object(folder / _INDEX).get("weight_map")
        if not isinstance(index, dict):
            raise BadInput(f"{folder / _INDEX} has no weight_map")
        files = sorted({folder / str(file) for file in index.values()})
    else:
        files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BadInput(f"{folder} holds no .safetensors file")
    found: dict[str, tuple[Path, tuple[int, ...]]] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as shard:
                for name in shard.keys():  # noqa: SIM118
                    if name in found:
                        raise BadInput(
                            f"tensor {name} is in both {found[name][0].name} and {file.name} of {folder}"
                        )
                    found[name] = (file, tuple(shard.get_slice(name).get_shape()))
        except (SafetensorError, OSError) as error:
            raise BadInput(f"{file} cannot be read: {error}") from error
    return found


def compare(where: Path, want: dict[str, tuple], got: dict[str, tuple]) -> None:
    """Raise BadInput that names the first tensor which is missing, extra or of another shape than wanted."""
    problems = [f"tensor {name} is missing" for name in want if name not in got]
    problems += [f"tensor {name} is not part of the model" for name in got if name not in want]
    problems += [
        f"tensor {name} has shape {got[name]}, expected {shape}"
        for name, shape in want.items()
        if name in got and got[name] != shape
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise BadInput(f"{where}: {problems[0]}{more}")
