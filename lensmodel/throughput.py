"""The speed a device could reach, which a run's own is held against (MFU: model FLOPs utilisation)."""

from __future__ import annotations

import time

import torch

from lensmodel.cost import GPUS

SIDE = 1024
SECONDS = 0.3


def peak(device: torch.device, bf16: bool) -> float | None:
    """FLOP/s of dense matrix products: a GPU's as its maker states them for bfloat16, a CPU's as measured now with the
    threads that torch uses; None for a device that is neither known nor measured."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device).lower().replace(" ", "")
        return next((gpu.peak for key, gpu in GPUS.items() if key in name), None)
    return _measured(torch.bfloat16 if bf16 else torch.float32) if device.type == "cpu" else None


def _measured(dtype: torch.dtype) -> float:
    a, b = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
    a @ b
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * SIDE**3 / best
