"""Checkpoints into networks: every tensor under its name and with its shape, or a line that says which is not."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.errors import BadInput, one_line

if TYPE_CHECKING:
    import torch

NAMED = 3  # of each kind of fault; the line must stay a line


def faults(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Missing, unexpected and misshapen tensors (name -> tensor or shape) as one phrase; "" if there are none."""
    wanted, found = (
        {name: tuple(getattr(value, "shape", value)) for name, value in side.items()}
        for side in (wanted, found)
    )
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    shapes = [
        f"{name} has shape {found[name]}, expected {wanted[name]}"
        for name in wanted
        if name in found and found[name] != wanted[name]
    ]
    phrases = []
    if missing:
        phrases.append(f"{_names(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    if extra:
        phrases.append(f"unexpected {_names(extra)}")
    if shapes:
        phrases.append(_names(shapes))
    return "; ".join(phrases)


def _names(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"tensor{'s' * (len(names) > 1)} {', '.join(sorted(names)[:NAMED])}{more}"


def read(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors file, or of a PyTorch file, from which nothing but tensors is unpickled.

    Raises BadInput if the file cannot be read as one or holds anything else.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # its text would recommend to unpickle everything
        raise BadInput(
            f"{path} cannot be read as a checkpoint: it is no PyTorch file, or holds more than tensors, which is "
            "not unpickled"
        ) from None
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as a checkpoint: {one_line(error)[:200]}") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise BadInput(f"{path} holds something other than named tensors")
    return state


def load(model: torch.nn.Module, state: dict[str, torch.Tensor], where: Path) -> None:
    """Load all of `state` into `model`, or raise BadInput naming what is missing, unexpected or misshapen."""
    wrong = faults(model.state_dict(), state)
    if wrong:
        raise BadInput(f"{where} does not fit its configuration: {wrong}")
    model.load_state_dict(state)
