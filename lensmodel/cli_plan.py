"""`lensmodel plan` and `lineage`: what a configuration will cost, and what a past step was made of."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from catalog import extras
from catalog.console import LOCAL_PATH, emit_json
from catalog.errors import BadInput

PAPER_GPU_HOURS = 192_000  # A100s, both stages of pre-training (paper, table 1 of the introduction)
GPT_OSS_WIDTH = 2880
PAPER_STEPS, PAPER_GPUS, PAPER_BATCH = 400_000, 128, 3072


@click.command("plan")
@click.option(
    "--preset", default="pretrain-mixed", show_default=True, help="Whose model and batches to cost."
)
@click.option(
    "--gpus", default=128, show_default=True, type=click.IntRange(1), help="How many train together."
)
@click.option(
    "--gpu", "gpu_name", default="a100", show_default=True, help="a100, h100, h200, b200, l40s or rtx4090."
)
@click.option(
    "--mfu", default=0.4, show_default=True, type=click.FloatRange(0.0, 1.0, min_open=True),
    help="Share of the GPU's peak that training reaches.",
)  # fmt: skip
@click.option(
    "--text-tokens",
    type=click.IntRange(0),
    help="Of one caption.  [default: 160, or max_length if that is less]",
)
@click.option("--measure", is_flag=True, help="Time a batch of each base on this machine's device, too.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def plan(
    preset: str, gpus: int, gpu_name: str, mfu: float, text_tokens: int | None, measure: bool, as_json: bool,
    overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """Print parameters, FLOPs per bucket, memory per GPU and GPU-hours of a configuration.

    Nothing is trained or loaded. Bases are costed at their square bucket.

    \b
    Example:
      lensmodel plan --gpu h100 --gpus 64 batch_512=28 batch_768=12
    """
    extras.require("train", "lensmodel plan")
    from lensmodel import cost, presets

    if not math.isfinite(mfu):
        raise BadInput(f"--mfu {mfu} is no finite number")
    settings = presets.settled(presets.build(preset, overrides))
    if settings.lora_rank:
        raise BadInput("plan costs the training of all weights; leave lora_rank out")
    if text_tokens is None:
        text_tokens = min(cost.TEXT_TOKENS, settings.max_length)
    found = costs(settings, gpus, cost.gpu(gpu_name), mfu, text_tokens, measure)
    if as_json:
        emit_json(found)
    else:
        click.echo("\n".join(lines(found)))


def costs(
    settings: Any, gpus: int, gpu: Any, mfu: float, text_tokens: int, measure: bool = False
) -> dict[str, Any]:
    """Everything that `lensmodel plan` prints, as plain numbers: FLOPs, bytes, hours."""
    import torch

    from lensmodel import build, cost
    from lensmodel import measure as timing
    from lensmodel.latents import PixelLatents

    channels = build.latent_channels(settings)
    with torch.device("meta"):
        parameters = sum(p.numel() for p in build.denoiser(settings, channels).parameters())
    shape = cost.Shape.of(settings, channels)
    unit = PixelLatents(keep=settings.pixel_keep).multiple if settings.latents == "pixel" else 16
    recompute, batch, bf16 = (
        settings.gradient_checkpointing,
        settings.batch_sizes(),
        settings.precision == "bf16",
    )
    shards = gpus if settings.sharding == "full" else 1
    bases = {}
    for base, size in batch.items():
        image = cost.tokens_of_base(base, unit)
        each = shape.training(image, text_tokens)
        memory = cost.memory(
            shape, parameters, image, size, shards, recompute, text_tokens, bf16, settings.optimizer == "muon"
        )
        bases[base] = {
            "image_tokens": image, "forward_flops": shape.forward(image, text_tokens), "training_flops": each,
            "batch": size, "batch_flops": each * size, "gpu_bytes": memory.total,
            "activation_bytes": memory.activations,
            "state_bytes": memory.total - memory.activations,
        }  # fmt: skip
    work = {base: row["batch_flops"] for base, row in bases.items()}
    shares = cost.buckets_shares()
    seconds = work
    if measure:
        device = build.device(settings)
        sizes = {base: (batch[base], (round(base / unit), round(base / unit))) for base in batch}
        seconds = timing.seconds_a_batch(settings, channels, sizes, text_tokens, device)
        for base, value in seconds.items():
            bases[base]["measured_seconds"] = value
    tokens = {base: row["image_tokens"] + text_tokens for base, row in bases.items()}
    proposal = cost.balanced({base: seconds[base] / batch[base] for base in batch}, batch, tokens)
    after = {base: seconds[base] / batch[base] * size for base, size in proposal.items()}
    stage1 = PAPER_STEPS * PAPER_BATCH * bases[512]["training_flops"]
    stage2 = PAPER_STEPS * PAPER_GPUS * sum(work[base] * shares[base] for base in work)
    step = sum(work[base] * shares[base] for base in work)
    return {
        "preset": settings.preset, "parameters": parameters, "gpu": gpu.name, "gpus": gpus, "mfu": mfu,
        "gpu_bytes": gpu.memory, "text_tokens": text_tokens, "gradient_checkpointing": recompute, "bases": bases,
        "waiting": cost.straggling(seconds), "lost_to_stragglers": cost.loss_to_stragglers(seconds, gpus, shares),
        "balanced_batches": proposal, "lost_when_balanced": cost.loss_to_stragglers(after, gpus, shares),
        "measured": measure,
        "recipe": {
            "pretrain-512": cost.gpu_hours(stage1, gpu), "pretrain-mixed": cost.gpu_hours(stage2, gpu),
            "total": cost.gpu_hours(stage1 + stage2, gpu),
            "total_at_mfu": cost.gpu_hours(stage1 + stage2, gpu, mfu) * (4 / 3 if recompute else 1),
            "paper_utilisation": cost.gpu_hours(stage1 + stage2, cost.GPUS["a100"]) / PAPER_GPU_HOURS,
        },
        "run": {
            "steps": settings.max_steps,
            "hours": settings.max_steps * step * (4 / 3 if recompute else 1) / (gpu.peak * mfu) / 3600,
        },
        "sampling_flops": shape.sampling(cost.tokens_of_base(1024, unit), text_tokens),
        "turbo_flops": shape.sampling(cost.tokens_of_base(1024, unit), text_tokens, steps=4, guided=False),
        "text_width": shape.text_width, "feature_bytes": text_tokens * shape.text_layers * shape.text_width * 2,
    }  # fmt: skip


def digits(value: float, after: int = 0) -> str:
    """`value` with so many digits after the point, and with two at least that are not leading zeros."""
    return f"{value:,.{after}f}" if value >= 10 ** (1 - after) else f"{value:.2g}"


def lines(found: dict[str, Any]) -> list[str]:
    """`costs` for a person."""
    from lensmodel import cost

    tera, giga = 1e12, 1e9
    out = [
        f"{found['preset']}: {found['parameters']:,} parameters; {found['text_tokens']} text tokens a caption; "
        f"{found['gpus']} x {found['gpu']}",
        "",
        "base   tokens   forward   training a batch of    a batch   waits for   memory a GPU",
        "                 TFLOP      TFLOP                  TFLOP  the slowest   state + activations",
    ]
    for base, row in found["bases"].items():
        fits = "" if row["gpu_bytes"] < found["gpu_bytes"] else "  does not fit"
        timed = f"  {row['measured_seconds']:.2f} s measured" if found["measured"] else ""
        out.append(
            f"{base:<5}{row['image_tokens']:>8}{digits(row['forward_flops'] / tera, 2):>10}"
            f"{digits(row['training_flops'] / tera, 1):>11}{row['batch']:>11}"
            f"{digits(row['batch_flops'] / tera):>11}"
            f"{found['waiting'][base]:>12.1%}   {row['state_bytes'] / giga:.1f} + "
            f"{row['activation_bytes'] / giga:.1f} GB{fits}{timed}"
        )
    kept = ", ".join(f"batch_{base}={size}" for base, size in found["balanced_batches"].items())
    recipe = found["recipe"]
    again = " and what recomputing adds" if found["gradient_checkpointing"] else ""
    papers = encoder = ""
    if found["text_width"] == GPT_OSS_WIDTH:  # the paper's model, or one of other depth
        papers = f"; the paper's 192K A100-hours are {recipe['paper_utilisation']:.0%} of peak"
        encoder = f"; GPT-OSS-20B takes about {cost.CAPTION_ENCODER_FLOPS / tera:.1f} TFLOP to make them"
    return [
        *out,
        "",
        f"stragglers: {found['lost_to_stragglers']:.1%} of all GPU time is waiting, if every bucket is drawn as often; "
        f"{kept} would leave {found['lost_when_balanced']:.1%} "
        + ("(timed here)" if found["measured"] else "(by FLOPs; --measure times them)")
        + " with no more tokens in a batch; batches=balanced makes a run time them and take such sizes",
        f"the paper's recipe: {digits(recipe['pretrain-512'])} + {digits(recipe['pretrain-mixed'])} = "
        f"{digits(recipe['total'])} {found['gpu']}-hours at full peak, {digits(recipe['total_at_mfu'])} at "
        f"{found['mfu']:.0%}{again}" + papers,
        f"this run: {found['run']['steps']:,} steps are {digits(found['run']['hours'])} hours on {found['gpus']} GPUs "
        f"at {found['mfu']:.0%}",
        f"captions: features are {found['feature_bytes'] / 1e6:.2f} MB an image in bfloat16 if they are cached"
        + encoder,
        f"drawing 1024 x 1024: {digits(found['sampling_flops'] / tera)} TFLOP (20 steps, guided), "
        f"{digits(found['turbo_flops'] / tera)} (4 steps, unguided)",
    ]


@click.command("lineage")
@click.argument("run", type=LOCAL_PATH)
@click.argument("step", type=click.IntRange(1))
@click.option("--shards", help="Where the run's shards or manifest are now: a folder or URL.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def lineage(run: Path, step: int, shards: str | None, as_json: bool) -> None:
    """List the image ids that a step of a run trained on, in order: id, batch, bucket.

    Any step that a checkpoint of the run has reached can be asked for, whatever the number of processes was. Look an
    id up with `lensdata why ID`.

    \b
    Example:
      lensmodel lineage run 250
    """
    extras.require("train", "lensmodel lineage")
    from dataclasses import asdict

    from lensmodel.lineage import images_of

    found = images_of(run, step, shards)
    if as_json:
        emit_json([asdict(image) for image in found])
        return
    for image in found:
        told = "" if image.instead_of is None else f"  instead of {image.instead_of}, which could not be read"
        click.echo(f"{image.image_id}  batch {image.batch}  {image.bucket}{told}")
