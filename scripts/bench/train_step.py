"""A training step (forward and backward) against the rate of matrix products and diffusers' nearest model.

    OMP_NUM_THREADS=1 python scripts/bench/train_step.py [--precision fp32|bf16] [--shape large|mini] [--compiled]

One thread, CPU time, contenders in turn: Lens and QwenImageTransformer2DModel of one shape (6 blocks of width 768, one
picture of 1,024 image and 128 text tokens; `--shape mini`: 4 blocks of width 192, 32 pictures of 16 and 50), and matrix
products of that shape. Three peaks are printed, because in float32 torch's own product is no peak on every processor:

- torch: its own linear layer, as large as all tokens through the SwiGLU. In float32 that is MKL.
- oneDNN: the same product by the library that torch ships for bfloat16. The strictest.
- shapes: the three products (forward and both gradients) of each image linear layer of a block, by oneDNN.

A model is credited with the operations of its formula, attention included; what attention computes again in the
backward pass is time lost. Then the peak memory of a step, in a process of its own, and the optimiser step and the
moving average against torch's fused AdamW alone. `--compiled` adds Lens with each block compiled.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run from a checkout without installing

import torch
from torch.utils.flop_counter import FlopCounterMode

from lensmodel.nn import LensTransformer

CHANNELS, TEXT_WIDTH = 64, 1024
Step = Callable[[], torch.Tensor]


@dataclass(frozen=True)
class Shape:
    heads: int  # of 64
    layers: int
    batch: int
    side: int  # of the square of image tokens
    text: int

    @property
    def width(self) -> int:
        return 64 * self.heads

    def inputs(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return (
            torch.randn(self.batch, self.side**2, CHANNELS),
            torch.randn(self.batch, self.text, TEXT_WIDTH),
            torch.full((self.batch,), 0.5),
        )


SHAPES = {"large": Shape(12, 6, 1, 32, 128), "mini": Shape(3, 4, 32, 4, 50)}


def lens(shape: Shape, bf16: bool) -> tuple[torch.nn.Module, Step]:
    """The denoiser with one text layer; bf16 is autocast over float32 weights, as the trainer does it."""
    model = LensTransformer(
        patch_size=2, in_channels=CHANNELS, out_channels=CHANNELS // 4, num_layers=shape.layers,
        num_attention_heads=shape.heads, attention_head_dim=64, axes_dims_rope=(8, 28, 28),
        enc_hidden_dim=TEXT_WIDTH, multi_layer_encoder_feature=False, selected_layer_index=(0,),
    ).train()  # fmt: skip
    x, text, t = shape.inputs()

    def step() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = model(x, [text], None, t, (shape.side, shape.side))
        return out.float().square().mean()

    return model, step


def qwen(shape: Shape, bf16: bool) -> tuple[torch.nn.Module, Step]:
    """diffusers' QwenImage transformer: the same dual-stream block with a GELU MLP of as many operations."""
    from diffusers import QwenImageTransformer2DModel

    model: Any = QwenImageTransformer2DModel(
        patch_size=2, in_channels=CHANNELS, out_channels=CHANNELS // 4, num_layers=shape.layers, attention_head_dim=64,
        num_attention_heads=shape.heads, joint_attention_dim=TEXT_WIDTH, axes_dims_rope=(8, 28, 28),
    )  # fmt: skip
    model.train()
    x, text, t = shape.inputs()

    def step() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = model(x, text, None, t, img_shapes=[(1, shape.side, shape.side)], return_dict=False)[0]
        return out.float().square().mean()

    return model, step


def compiled(shape: Shape, bf16: bool) -> tuple[torch.nn.Module, Step]:
    """`lens` with each block compiled, as the setting `compile` does it."""
    model, step = lens(shape, bf16)
    if not next(model.parameters()).is_meta:
        for block in model.get_submodule("transformer_blocks").children():
            block.compile()
    return model, step


MODELS = {"lens": lens, "qwen": qwen}


def flops(name: str, shape: Shape) -> float:
    """Of forward and backward, as counted on the meta device, attention included and nothing twice. (On the CPU the
    counter does not see torch's attention, and would count what ours computes again in its backward pass.)
    """
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        MODELS[name](shape, False)[1]().backward()
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


def products(shape: Shape, bf16: bool) -> dict[str, tuple[Callable[[], object], float]]:
    """The three peaks: a function and its FLOPs."""
    from lensmodel.nn.linear import product

    dtype = torch.bfloat16 if bf16 else torch.float32
    width, hidden, rows = shape.width, shape.width * 8 // 3, shape.batch * shape.side**2
    tokens = rows + shape.batch * shape.text
    a, weight = torch.randn(tokens, width).to(dtype), torch.randn(hidden, width).to(dtype)
    layers = [(width, 3 * width), (width, width), (width, hidden), (width, hidden), (hidden, width)]
    made = [[torch.randn(size).to(dtype) for size in ((rows, i), (o, i), (rows, o))] for i, o in layers]

    def all_three() -> None:
        for x, w, g in made:
            product(x, w)
            product(g, w.t())
            product(g.t(), x.t())

    def again(multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[[], None]:
        def twenty() -> None:
            for _ in range(20):
                multiply(a, weight)  # let go at once: fresh memory for each costs up to a tenth of the rate

        return twenty

    single = 20 * 2.0 * tokens * width * hidden
    return {
        "torch": (again(torch.nn.functional.linear), single),
        "oneDNN": (again(product), single),
        "shapes": (all_three, sum(3 * 2.0 * rows * i * o for i, o in layers)),
    }


def speeds(shape: Shape, bf16: bool, rounds: int) -> None:
    """Print each model's share of the products' rates, and Lens over QwenImage."""
    torch.manual_seed(0)
    work: dict[str, Callable[[], object]] = {}
    operations = {}
    for name, make in MODELS.items():
        model, step = make(shape, bf16)
        operations[name] = flops(name, shape)

        def train(model: torch.nn.Module = model, step: Step = step) -> None:
            step().backward()
            model.zero_grad(set_to_none=True)

        work[name] = train
    known = products(shape, bf16)
    for name, (one, count) in known.items():
        work[name], operations[name] = one, count
    rate = {name: operations[name] / seconds for name, seconds in medians(work, rounds).items()}
    print(f"{'bf16' if bf16 else 'fp32'}, one thread, median of {rounds} rounds")
    print("products, GFLOP/s: " + ", ".join(f"{name} {rate[name] / 1e9:.0f}" for name in known))
    for name in MODELS:
        shares = ", ".join(f"{rate[name] / rate[one]:.3f} of {one}" for one in known)
        print(f"{name}: {operations[name] / 1e9:.0f} GFLOP a step, {shares}")
    for name in MODELS:
        if name != "qwen":
            print(f"{name} / qwen = {rate[name] / rate['qwen']:.3f}")


def optimiser(rounds: int) -> None:
    """Print the update and the average apart, in units of torch's fused AdamW on the same weights."""
    from lensmodel import presets
    from lensmodel.methods.pretrain import Pretrain

    model, step = lens(SHAPES["large"], False)
    average = [p.detach().clone() for p in model.parameters()]
    step().backward()
    ours = Pretrain(presets.build("mini")).optimizer(model)
    theirs = torch.optim.AdamW(model.parameters(), fused=True)
    mine = [p.detach() for p in model.parameters()]
    work: dict[str, Callable[[], object]] = {
        "fused AdamW": theirs.step,
        "lens optimiser": ours.step,
        "lens EMA": lambda: torch._foreach_lerp_(average, mine, 1e-4),
    }
    seconds = medians(work, rounds)
    for name, value in seconds.items():
        print(f"{name}: {value / seconds['fused AdamW']:.2f} x fused AdamW")


def peak_memory(name: str, shape: Shape, bf16: bool) -> None:
    """For a process of its own: print the peak of a second step, weights and gradients included, in bytes."""
    model, step = MODELS[name](shape, bf16)
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
    parser.add_argument("--shape", choices=list(SHAPES), default="large")
    parser.add_argument(
        "--compiled", action="store_true", help="Lens with compiled blocks, too (needs a C++ compiler)"
    )
    parser.add_argument("--memory-of", choices=list(MODELS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    shape = SHAPES[options.shape]
    if options.compiled:
        MODELS["compiled"] = compiled
    wanted = [options.precision] if options.precision else ["fp32", "bf16"]
    if options.memory_of:
        peak_memory(options.memory_of, shape, wanted[0] == "bf16")
        return
    for precision in wanted:
        speeds(shape, precision == "bf16", options.rounds)
        grown = {}
        for name in ("lens", "qwen"):
            command = [sys.executable, __file__, "--precision", precision, "--shape", options.shape]
            command += ["--memory-of", name]
            grown[name] = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(
            f"peak memory of a step: lens {grown['lens'] / 2**20:.0f} MiB, qwen {grown['qwen'] / 2**20:.0f} MiB"
        )
    optimiser(options.rounds)


if __name__ == "__main__":
    main()
