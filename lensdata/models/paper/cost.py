"""What the paper's models cost an image: `python -m lensdata.models.paper.cost` prints parameters and operations.

Counted on the meta device (no weights, no memory) with the real architectures, by torch's FlopCounterMode: a
multiply and an add are two operations; attention's matrix products are counted, activations and norms are not.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from catalog import extras
from catalog.console import run_command
from lensdata.models.paper.siglip import HEAD_WIDTHS, NO_TEXT

if TYPE_CHECKING:
    import torch

SO400M: dict[str, Any] = {
    "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16,
    "image_size": 384, "patch_size": 14,
}  # fmt: skip
BASE: dict[str, Any] = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "image_size": 224, "patch_size": 16,
}  # fmt: skip


def networks() -> dict[str, tuple[torch.nn.Module, int]]:
    """metric -> (network on the meta device, side of its input in pixels)."""
    import open_clip
    import timm
    import torch
    from transformers import SiglipConfig, SiglipForImageClassification, SiglipVisionConfig, SiglipVisionModel

    with torch.device("meta"):
        clip: Any = open_clip.get_model_config("ViT-L-14")
        return {
            "nsfw": (timm.create_model("eva02_base_patch14_448", num_classes=4), 448),
            "aesthetic": (SiglipVisionModel(SiglipVisionConfig(**SO400M)), 384),
            "watermark": (
                SiglipForImageClassification(SiglipConfig(vision_config=BASE, text_config=NO_TEXT)),
                224,
            ),
            "embedding": (open_clip.CLIP(**clip).visual, 224),
        }


def count(network: torch.nn.Module, side: int) -> tuple[int, int]:
    """(parameters, operations for one image of side x side)."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    network.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, side, side, device="meta"))
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops()


def table() -> str:
    """One line a model and their sum."""
    lines, total = ["metric      side  parameters  GB bf16  GB fp32  GFLOP/image"], [0, 0]
    for metric, (network, side) in networks().items():
        parameters, operations = count(network, side)
        if metric == "aesthetic":  # the head: linear layers on one vector
            widths = (SO400M["hidden_size"], *HEAD_WIDTHS)
            parameters += sum((a + 1) * b for a, b in zip(widths, HEAD_WIDTHS, strict=False))
        total = [total[0] + parameters, total[1] + operations]
        lines.append(_line(metric, str(side), parameters, operations))
    return "\n".join([*lines, _line("all", "", total[0], total[1])])


def _line(metric: str, side: str, parameters: int, operations: int) -> str:
    sizes = f"{parameters * 2 / 1e9:8.2f} {parameters * 4 / 1e9:8.2f}"
    return f"{metric:10} {side:>5} {parameters / 1e6:9.1f} M {sizes} {operations / 1e9:12.1f}"


@click.command()
def main() -> None:
    """Print the parameters and operations of the paper's models."""
    extras.require("score", "counting the models' operations")
    click.echo(table())


if __name__ == "__main__":
    sys.exit(run_command(main, "lensdata.models.paper.cost"))
