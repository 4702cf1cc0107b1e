"""The subcommands that build shards and check them: build-shards, verify-shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from catalog import metrics
from catalog.console import emit_json
from catalog.errors import BadInput
from catalog.notices import say
from lensdata.cli.options import (
    FOLDER,
    engine_options,
    existing,
    json_option,
    reader,
    selection_options,
    tell,
    workers_option,
)


@click.command("build-shards")
@click.option(
    "--out",
    type=FOLDER,
    help="Folder for the shards; new, or an unfinished build of the same.",
)
@click.option("--name", help="Name of the manifest.  [default: from its content]")
@selection_options
@click.option("--virtual", is_flag=True, help="Write the manifest alone; training reads the original files.")
@click.option(
    "--resume",
    is_flag=True,
    help="Finish what --out was begun with, though the catalog has changed; start anew if it holds nothing.",
)
@click.option(
    "--verify-bytes",
    is_flag=True,
    help="Hash every image, not only those whose file has another size or time than at ingest.",
)
@click.option(
    "--shard-samples",
    default=1000,
    show_default=True,
    type=click.IntRange(1),
    help="Most samples in a shard.",
)
@click.option(
    "--shard-mb",
    default=256,
    show_default=True,
    type=click.IntRange(1),
    help="About the most megabytes in a shard.",
)
@click.option(
    "--plan",
    "gpus",
    type=click.IntRange(1),
    metavar="GPUS",
    help="Build nothing; show batches for so many GPUs.",
)
@click.option(
    "--batch", default="24,10,6", show_default=True, help="With --plan: batch sizes at bases 512, 768, 1024."
)
@workers_option
@engine_options()
@json_option
@click.pass_obj
def build_shards(
    root: Path, out: Path | None, name: str | None, selection: dict[str, Any], virtual: bool, resume: bool,
    verify_bytes: bool, shard_samples: int, shard_mb: int, gpus: int | None, batch: str, workers: int | None,
    on: Any, as_json: bool,
) -> int:  # fmt: skip
    """Select images by thresholds, fix the choice in a manifest, and write it as WebDataset tars.

    A threshold of `none` switches a filter off; an image without a score does not pass that score's filter.
    A killed build goes on with the same command, unless the catalog has changed and selects other images now: then
    --resume finishes it from the manifest it was begun with.

    An image whose file is gone or has changed is read from another file with the same bytes, if the catalog knows one;
    else it is left out, and the same command tries it again. Where more than 3 images, and more than one in a thousand
    of those selected, are left out, the last line says why and the exit code is 1.

    \b
    Example: lensdata build-shards --min-aesthetic 3 --out shards
    """
    from lensdata import shards

    if gpus is not None:
        _show_plan(root, selection, gpus, batch, as_json)
        return 0
    if out is None:
        raise BadInput("build-shards needs --out DIR (or --plan GPUS to see what it would give)")
    opened = existing(root)
    chosen = opened.select(**selection)
    sizes: dict[str, Any] = {
        "virtual": virtual,
        "shard_samples": shard_samples,
        "shard_bytes": shard_mb * 2**20,
    }
    how: dict[str, Any] = {"workers": workers, "on": on, "verify_bytes": verify_bytes}
    made = None
    if resume:
        given = _given()
        asked = {what: value for what, value in {**sizes, "name": name}.items() if what in given}
        made = shards.resume(opened, out.absolute(), {**asked, **shards.wishes(chosen, given)}, **how)
    if made is None:
        made = shards.build(opened, chosen.manifest(name), out.absolute(), **sizes, **how)
    value = {
        "manifest": made.manifest.name, "fingerprint": made.manifest.fingerprint, "samples": made.samples,
        "shards": made.shards, "bytes": made.bytes, "dropped": made.dropped,
        "dropped_for": made.reasons, "complete": made.complete, "unmeasured": made.manifest.info["unmeasured"],
        "reused": made.reused, "out": str(made.manifest.root),
    }  # fmt: skip
    what = "were there already" if made.reused else "written"
    tell(
        as_json,
        value,
        f"{made.samples} samples in {made.shards} shards {what}: {made.manifest.root} (manifest {made.manifest.name})",
    )
    for rule, count in made.manifest.info["unmeasured"].items():
        say(
            f"build-shards: {count} readable images have no {rule} result, so they were left out; {chosen.advice(rule)}"
        )
    for source, count in made.manifest.info.get("sources", {}).items():
        if not count:
            say(
                f"build-shards: no image of source {source} is selected; see `lensdata funnel --source {source}`"
            )
    if made.lacks:
        say(f"build-shards: {made.lacks}")
    return 0 if made.complete else 1


def _given() -> set[str]:
    """The parameters that stood on the command line, by their names in Lens."""
    context = click.get_current_context()
    names = {"shard_mb": "shard_bytes", "mixture": "sources"}
    given = {
        names.get(name, name)
        for name in context.params
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    }
    return given | {"dedup", *metrics.thresholds()} if "no_filters" in given else given


@click.command("verify-shards")
@click.argument("folder", type=FOLDER)
@json_option
def verify_shards(folder: Path, as_json: bool) -> int:
    """Check shards against their manifest: sizes, checksums, counts, keys. Exit code 1 if anything is wrong.

    \b
    Example: lensdata verify-shards shards
    """
    from lensdata.shards import verify

    faults = list(verify(folder))
    if as_json:
        emit_json({"ok": not faults, "faults": faults})
    else:
        for fault in faults:
            click.echo(fault)
        click.echo(
            f"{folder}: {len(faults)} faults"
            if faults
            else f"{folder}: every shard is what the manifest says"
        )
    return 1 if faults else 0


def _show_plan(root: Path, selection: dict[str, Any], gpus: int, batch: str, as_json: bool) -> None:
    import polars as pl

    from lensdata.cli.show import show
    from lensdata.shards import batch_plan, parse_sizes, source_plan

    sizes = parse_sizes(batch)
    chosen = reader(root).select(**selection)
    sources, counts = source_plan(chosen.counts(), chosen.sources or {})
    table, steps = batch_plan(counts, gpus, sizes)
    if as_json:
        emit_json(
            {
                "gpus": gpus,
                "steps_per_epoch": steps,
                "buckets": table.to_dicts(),
                "sources": sources.to_dicts(),
            }
        )
        return
    show(sources.with_columns(pl.col("share").round(4)), "table")
    show(table, "table")
    starved = table.filter(table["batches"] == 0)["bucket"].to_list()
    total = f"{table['samples'].sum()} samples, {table['batches'].sum()} batches"
    click.echo(f"{total}, {steps} steps an epoch on {gpus} GPUs")
    if starved:
        click.echo(f"never trained, because they fill no batch: {', '.join(starved)}")


COMMANDS = (build_shards, verify_shards)
