"""A training step (forward and backward) against the peak of matrix products and diffusers' nearest model.

    OMP_NUM_THREADS=1 python scripts/bench/train_step.py [--precision fp32|bf16] [--rounds 5]

One thread, CPU time, contenders in turn: Lens and QwenImageTransformer2DModel of one shape (6 blocks of width 768, one
picture of 1,024 image and 128 text tokens), and a matrix product of the step's own shape. Each model is credited with
the operations that a counter sees in it. Then the optimiser step and the moving average, against torch's fused AdamW
alone, and the peak memory of a step in a process of its own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run from a checkout without installing

import torch
from torch.utils.flop_counter import FlopCounterMode

from lensmodel.nn import LensTransformer

WIDTH, HEADS, LAYERS, IMAGE, TEXT, CHANNELS, TEXT_WIDTH = 768, 12, 6, 1024, 128, 64, 1024
Step = Callable[[], torch.Tensor]


def lens(bf16: bool) -> tuple[torch.nn.Module, Step]:
    """The denoiser with one text layer; bf16 is autocast over float32 weights, as the trainer does it."""
    model = LensTransformer(
        patch_size=2, in_channels=CHANNELS, out_channels=CHANNELS // 4, num_layers=LAYERS, num_attention_heads=HEADS,
        attention_head_dim=64, axes_dims_rope=(8, 28, 28), enc_hidden_dim=TEXT_WIDTH, multi_layer_encoder_feature=False,
        selected_layer_index=(0,),
    ).train()  # fmt: skip
    x, text, t = torch.randn(1, IMAGE, CHANNELS), torch.randn(1, TEXT, TEXT_WIDTH), torch.tensor([0.5])

    def step() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = model(x, [text], None, t, (32, 32))
        return out.float().square().mean()

    return model, step


def qwen(bf16: bool) -> tuple[torch.nn.Module, Step]:
    """diffusers' QwenImage transformer: the same dual-stream block with a GELU MLP of as many operations."""
    from diffusers import QwenImageTransformer2DModel

    model = QwenImageTransformer2DModel(
        patch_size=2, in_channels=CHANNELS, out_channels=CHANNELS // 4, num_layers=LAYERS, attention_head_dim=64,
        num_attention_heads=HEADS, joint_attention_dim=TEXT_WIDTH, axes_dims_rope=(8, 28, 28),
    ).train()  # fmt: skip
    x, text, t = torch.randn(1, IMAGE, CHANNELS), torch.randn(1, TEXT, TEXT_WIDTH), torch.tensor([0.5])

    def step() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = model(x, text, None, t, img_shapes=[(1, 32, 32)], return_dict=False)[0]
        return out.float().square().mean()

    return model, step


MODELS = {"lens": lens, "qwen": qwen}


def flops(model: torch.nn.Module, step: Step) -> float:
    """Of forward and backward, as counted."""
    with FlopCounterMode(display=False) as counter:
        step().backward()
    model.zero_grad(set_to_none=True)
    return float(counter.get_total_flops())


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def medians(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """CPU seconds of each, which take turns; one uncounted turn before."""
    taken: dict[str, list[float]] = {name: [] for name in work}
    for counted in range(-1, rounds):
        for name, one in work.items():
            seconds = cpu_seconds(one)
            if counted >= 0:
                taken[name].append(seconds)
    return {name: statistics.median(values) for name, values in taken.items()}


def product(bf16: bool) -> tuple[Callable[[], object], float]:
    """A matrix product as large as the block's: 1,152 tokens through the SwiGLU. Returns it and its FLOPs."""
    dtype = torch.bfloat16 if bf16 else torch.float32
    a, b = torch.randn(IMAGE + TEXT, WIDTH).to(dtype), torch.randn(WIDTH, 2048).to(dtype)
    return lambda: [a @ b for _ in range(20)], 20 * 2.0 * (IMAGE + TEXT) * WIDTH * 2048


def speeds(bf16: bool, rounds: int) -> None:
    """Print each model's share of the peak, and Lens over QwenImage."""
    torch.manual_seed(0)
    built = {name: make(bf16) for name, make in MODELS.items()}
    work: dict[str, Callable[[], object]] = {}
    operations = {}
    for name, (model, step) in built.items():
        operations[name] = flops(model, step)

        def train(model: torch.nn.Module = model, step: Step = step) -> None:
            step().backward()
            model.zero_grad(set_to_none=True)

        work[name] = train
    work["product"], operations["product"] = product(bf16)
    rate = {name: operations[name] / seconds for name, seconds in medians(work, rounds).items()}
    print(f"{'bf16' if bf16 else 'fp32'}, one thread, median of {rounds} rounds")
    for name in MODELS:
        print(
            f"{name}: {operations[name] / 1e9:.0f} GFLOP a step, {rate[name] / rate['product']:.3f} of the peak"
        )
    print(f"lens / qwen = {rate['lens'] / rate['qwen']:.3f}")


def optimiser(rounds: int) -> None:
    """Print the update and the average apart, in units of torch's fused AdamW on the same weights."""
    from lensmodel import presets
    from lensmodel.methods.pretrain import Pretrain

    model, step = lens(False)
    average = [p.detach().clone() for p in model.parameters()]
    step().backward()
    ours = Pretrain(presets.build("mini")).optimizer(model)
    theirs = torch.optim.AdamW(model.parameters(), fused=True)
    mine = [p.detach() for p in model.parameters()]
    work = {
        "fused AdamW": theirs.step,
        "lens optimiser": ours.step,
        "lens EMA": lambda: torch._foreach_lerp_(average, mine, 1e-4),
    }
    seconds = medians(work, rounds)
    for name, value in seconds.items():
        print(f"{name}: {value / seconds['fused AdamW']:.2f} x fused AdamW")


def peak_memory(name: str, bf16: bool) -> None:
    """For a process of its own: print the peak of a second step, weights and gradients included, in bytes."""
    model, step = MODELS[name](bf16)
    step().backward()
    model.zero_grad(set_to_none=True)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    step().backward()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) * 1024)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--precision", choices=["fp32", "bf16"], help="only this one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-of", choices=list(MODELS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    wanted = [options.precision] if options.precision else ["fp32", "bf16"]
    if options.memory_of:
        peak_memory(options.memory_of, wanted[0] == "bf16")
        return
    for precision in wanted:
        speeds(precision == "bf16", options.rounds)
        grown = {}
        for name in MODELS:
            command = [sys.executable, __file__, "--precision", precision, "--memory-of", name]
            grown[name] = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(
            f"peak memory of a step: lens {grown['lens'] / 2**20:.0f} MiB, qwen {grown['qwen'] / 2**20:.0f} MiB"
        )
    optimiser(options.rounds)


if __name__ == "__main__":
    main()
