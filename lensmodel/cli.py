"""The command `lensmodel`."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import click

from catalog import extras
from catalog.console import LOCAL_PATH, emit_json, run_command
from catalog.errors import BadInput
from catalog.notices import say
from lensmodel import cli_evaluate, cli_merge, cli_plan

# Threads of OpenMP that spin while they wait make training 15 times slower once anything else wants a core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(context_settings=SETTINGS)
@click.option(
    "--catalog",
    type=LOCAL_PATH,
    envvar="LENS_CATALOG",
    default=Path("lens-catalog"),
    show_default=True,
    help="The catalog that --manifest looks in (or set LENS_CATALOG).",
)
@click.pass_context
def cli(context: click.Context, catalog: Path) -> None:
    """Train Lens, a text-to-image model, on what `lensdata` selected, and draw with it.

    \b
    lensmodel train --shards shards --preset mini --out run
    lensmodel sample --checkpoint run --prompt "a red balloon over a green hill"
    """
    context.obj = catalog


@cli.command()
@click.option(
    "--shards",
    help="Folder written by `lensdata build-shards --out`, or the URL of a copy: s3://bucket/folder.",
)
@click.option("--manifest", "manifest_name", help="Name of a manifest in the catalog, instead of --shards.")
@click.option(
    "--preset", default="mini", show_default=True, help="Settings to start from; see `lensmodel presets`."
)
@click.option(
    "--method",
    default="pretrain",
    show_default=True,
    type=click.Choice(["pretrain"]),
    help="What to optimise.",
)
@click.option(
    "--out",
    type=LOCAL_PATH,
    required=True,
    help="The run's folder: checkpoints and log.jsonl.",
)
@click.option(
    "--resume", is_flag=True, help="Go on from the newest checkpoint in --out; start anew if there is none."
)
@click.option("--json", "as_json", is_flag=True, help="Print a summary of the run as JSON on stdout.")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.pass_obj
def train(
    catalog: Path, shards: str | None, manifest_name: str | None, preset: str, method: str, out: Path,
    resume: bool, as_json: bool, overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """Train a model on shards or a manifest.

    Every setting of the preset can be overridden by name: max_steps=500 seed=1 lr=5e-4 checkpoint_every=100.
    A log line tells loss, speed and time left; the loss on held-out images is logged at the start, at
    intervals and at the end. Kill it at any time: the same command with --resume continues to the very same
    weights (on a CPU bit for bit). With several processes: torchrun --nproc-per-node 8 -m lensmodel train ...

    A finished run goes on with --resume and a higher max_steps. With schedule=linear (mini) that stretches the
    schedule to the new end, so the learning rate jumps up and the run is not the one that this max_steps from the
    start would be; the log says so.

    sample_every=N draws the same prompts (of sample_prompts=FILE, or held-out captions) every N steps into OUT/samples.
    batches=balanced times the batches at the start and takes sizes at which ranks wait least for the slowest.

    init_from=PATH starts from the weights of a run, a checkpoint or a model's folder, whose architecture then holds;
    lora_rank=N trains only an adapter beside them.

    \b
    Example:
      lensmodel train --shards shards --preset mini --out run max_steps=2000
      lensmodel train --shards shards --preset mini --out run --resume max_steps=2000
      lensmodel train --shards mine --out mine-lora init_from=run lora_rank=8 max_steps=500
    """
    extras.require("train", "lensmodel train")
    from lensmodel import presets

    if (shards is None) == (manifest_name is None):
        raise BadInput("give either --shards DIR or --manifest NAME")
    settings = presets.build(preset, overrides, out if resume else None)
    presets.require_parts(settings)
    from catalog import manifest as manifests

    folder = catalog / "manifests" / str(manifest_name)
    if shards is None and not folder.is_dir():
        names = sorted(p.parent.name for p in (catalog / "manifests").glob("*/manifest.json"))
        known = (
            f"there are {', '.join(names)}"
            if names
            else "there is none yet; `lensdata build-shards` makes one"
        )
        raise BadInput(f"no manifest {manifest_name!r} in {catalog}: {known}")
    data = manifests.load(folder if shards is None else shards)

    from lensmodel import distributed
    from lensmodel.record import record_run
    from lensmodel.trainer import Trainer

    main = os.environ.get("RANK", "0") == "0"  # torchrun starts this command once a process
    try:
        trainer = Trainer(data, settings, out, resume)
        if main:
            record_run(catalog, data, trainer.settings, out)
        summary = trainer.run()
    except KeyboardInterrupt:
        if main:
            say("lensmodel: interrupted; go on with --resume")
        raise click.exceptions.Exit(130) from None
    finally:
        distributed.stop()
    if as_json and main:
        emit_json(summary)


@cli.command("sample")
@click.option(
    "--checkpoint",
    type=LOCAL_PATH,
    required=True,
    help="A run's folder (its newest checkpoint) or a checkpoint.",
)
@click.option("--prompt", "prompts", multiple=True, required=True, help="What to draw; repeat for several.")
@click.option(
    "--out",
    type=LOCAL_PATH,
    default=Path("samples"),
    show_default=True,
    help="Folder for the PNGs.",
)
@click.option(
    "--width",
    type=click.IntRange(16, 8192),
    help="In bucket pixels (mini draws at a 16th): a bucket's size or multiples of 128; default: the main bucket's.",
)
@click.option("--height", type=click.IntRange(16, 8192), help="As --width.")
@click.option("--steps", type=click.IntRange(1, 1000), default=20, show_default=True, help="Sampling steps.")
@click.option(
    "--guidance",
    type=click.FloatRange(0),
    default=5.0,
    show_default=True,
    help="Strength of the prompt; 1 is off.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed draws the same picture.")
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="Pictures per prompt.")
@click.option(
    "--method",
    type=click.Choice(["euler", "dpmpp2m", "heun"]),
    default="euler",
    show_default=True,
    help="The ODE sampler.",
)
@click.option("--raw", is_flag=True, help="Use the raw weights instead of the averaged ones (EMA).")
@click.option("--encoder", help="Where the language encoder is now, if not where it was in training.")
@click.option("--vae", help="Where the autoencoder is now, if not where it was in training.")
@click.option(
    "--base",
    type=LOCAL_PATH,
    help="Of an adapter (LoRA): where the model it is for is now, if not where it was in training.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the files as JSON on stdout.")
def draw(
    checkpoint: Path, prompts: tuple[str, ...], out: Path, width: int | None, height: int | None, steps: int,
    guidance: float, seed: int, count: int, method: str, raw: bool, encoder: str | None, vae: str | None,
    base: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Draw pictures from prompts with a trained checkpoint: one PNG each, and grid.png with all of them.

    A picture's name holds a digest of all that decides it, so only the same picture is overwritten; grid.png is
    always that of the last call. Prompt, seed, size, steps, guidance, method and checkpoint stand inside each PNG.

    \b
    Example:
      lensmodel sample --checkpoint run --prompt "a red balloon" --prompt "a tree" --count 4 --out samples
    """
    extras.require("train", "lensmodel sample")
    if not math.isfinite(guidance):
        raise BadInput(f"--guidance {guidance} is no finite number")
    for prompt in prompts:
        if any("\ud800" <= c <= "\udfff" for c in prompt):
            raise BadInput(f"--prompt {prompt!a} is not valid UTF-8")
    if not checkpoint.is_dir():
        what = "is a file" if checkpoint.exists() else "does not exist"
        raise BadInput(f"--checkpoint {checkpoint} {what}; give the --out folder of `lensmodel train`")
    from lensmodel import generate

    unique = list(dict.fromkeys(prompts))  # equal prompts draw equal pictures
    options = generate.Options(width, height, steps, guidance, seed, count, method)
    generate.make_folder(out)
    generator = generate.Generator(checkpoint, "model" if raw else "ema", encoder, base=base, vae=vae)
    pictures = generator.draw(unique, options)
    paths = generate.write(unique, pictures, count, generator.about(options), out)
    if as_json:
        emit_json(
            {
                "checkpoint": str(generator.folder),
                "images": [str(p) for p in paths[:-1]],
                "grid": str(paths[-1]),
            }
        )
    else:
        for path in paths:
            click.echo(path)


@cli.command("shapes")
@click.option("--out", type=LOCAL_PATH, required=True, help="Folder for the pictures.")
@click.option("-n", "n", type=click.IntRange(0), required=True, help="How many pictures.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same bytes.")
@click.option(
    "--world",
    type=click.Choice(["grid", "free"]),
    default="grid",
    show_default=True,
    help="Where shapes stand: on mini's patches, or anywhere.",
)
@click.option(
    "--size",
    "sizes",
    multiple=True,
    type=int,
    default=(512,),
    show_default=True,
    help="Bucket base: 512, 768 or 1024; repeat for several.",
)
@click.option(
    "--aspect",
    "aspects",
    multiple=True,
    default=("1:1",),
    show_default=True,
    help="Bucket aspect, 1:2 to 2:1; repeat for several.",
)
@click.option("--leave-out", is_flag=True, help="Keep one shape of each colour out, for prompts never seen.")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one a core]")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON on stdout.")
def make_shapes(
    out: Path, n: int, seed: int, world: str, sizes: tuple[int, ...], aspects: tuple[str, ...], leave_out: bool,
    workers: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Write pictures of coloured shapes with exact captions: a folder for `lensdata ingest`.

    shapes-000000.png, .txt (dense caption) and .json (`brief` caption, the scene) and so on. What is there stays: the
    same command goes on after an interruption or to a larger -n.

    \b
    Example:
      lensmodel shapes --out shapes -n 4000
      lensmodel shapes --out wide -n 1000 --size 512 --size 768 --aspect 4:3 --aspect 1:1
    """
    from lensmodel.shapes import world as worlds

    buckets = worlds.buckets_of(sizes, aspects)
    made = worlds.write(out, n, seed, world, buckets, leave_out, workers)
    if as_json:
        emit_json(
            {"out": str(made.out), "made": made.made, "existing": made.existing, "buckets": made.buckets}
        )
    else:
        click.echo(f"{made.made} pictures made, {made.existing} were there: {made.out}")


@cli.command("presets")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def show_presets(name: str | None, as_json: bool) -> None:
    """List the presets, or every setting of one.

    \b
    Example:
      lensmodel presets mini
    """
    from lensmodel import presets
    from lensmodel.settings import plain

    if name is None:
        names = sorted(presets.PRESETS)
        emit_json(names) if as_json else click.echo("\n".join(names))
        return
    fields = plain(presets.build(name))
    if as_json:
        emit_json(fields)
        return
    for key, value in fields.items():
        text = ",".join(map(str, value)) if isinstance(value, list) else "none" if value is None else value
        click.echo(f"{key}={text}")


cli.add_command(cli_plan.plan)
cli.add_command(cli_plan.lineage)
cli.add_command(cli_merge.merge)
cli.add_command(cli_evaluate.evaluate)


def main() -> None:
    """Entry point: runs the command and exits with its code."""
    sys.exit(run_command(cli, "lensmodel"))


if __name__ == "__main__":
    main()
