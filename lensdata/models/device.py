"""On what a paper model runs, and in which precision."""

from __future__ import annotations

import multiprocessing
import re
from typing import TYPE_CHECKING

from catalog.errors import BadInput

if TYPE_CHECKING:
    import torch


def place(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """The device and precision that the settings `device` and `dtype` (see choice.py) come to in this process.

    `auto` is a CUDA card if there is one, each worker process taking the next; and bfloat16 where it is native (a
    card of Ampere or later, a CPU with AVX-512 BF16 or AMX), else float32. Raises BadInput for a card that is not
    there.
    """
    import torch

    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device == "auto" and not cards):
        where = torch.device("cpu")
    elif device in ("auto", "cuda"):
        if not cards:
            raise BadInput("device is cuda, but torch finds no CUDA card here; use auto or cpu")
        where = torch.device("cuda", _worker() % cards)
    else:
        where = torch.device(device)
        if (where.index or 0) >= cards:
            raise BadInput(f"device is {device}, but torch finds {cards} CUDA cards here; use auto or cpu")
    if dtype != "auto":
        return where, getattr(torch, dtype)
    return where, torch.bfloat16 if _native_bfloat16(where) else torch.float32


def _native_bfloat16(device: torch.device) -> bool:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    ask = getattr(torch.cpu, "get_capabilities", None)  # older versions of torch cannot say
    capabilities = ask() if ask else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _worker() -> int:
    """0-based number of this worker process among its siblings; 0 in a process of another kind."""
    number = re.search(r"Process-(\d+)$", multiprocessing.current_process().name)
    return int(number[1]) - 1 if number else 0
