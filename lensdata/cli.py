"""The command `lensdata`: one subcommand a stage. Each imports what it needs when it runs, so that --help is quick."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from catalog.console import emit_json, run_command, say
from catalog.errors import BadInput
from lensdata.cli_options import json_option, selection_options, workers_option

FOLDER = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--catalog", "root", envvar="LENS_CATALOG", default="./lens-catalog", show_default=True, type=FOLDER,
    help="The catalog's folder (or set LENS_CATALOG).",
)  # fmt: skip
@click.version_option(package_name="lens-t2i", prog_name="lensdata")
@click.pass_context
def lensdata(context: click.Context, root: Path) -> None:
    """From images to training shards: fill a catalog, score, deduplicate, select, build.

    \b
    lensdata ingest ~/Pictures && lensdata run --out shards
    """
    context.obj = root


def main() -> None:
    """Entry point of the command."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin would starve the worker processes
    sys.exit(run_command(lensdata, "lensdata"))


@lensdata.command()
@click.argument("sources", nargs=-1, required=True, type=FOLDER)
@click.option(
    "--source", default="public-real", show_default=True, help="The kind of source, kept with each image."
)
@workers_option
@json_option
@click.pass_obj
def ingest(root: Path, sources: tuple[Path, ...], source: str, workers: int | None, as_json: bool) -> None:
    """Add the images of folders (with .txt/.json sidecars) and WebDataset tars that are not in the catalog yet.

    \b
    Example: lensdata ingest ~/Pictures crawl/00000.tar --source public-real
    """
    import catalog
    from lensdata.ingest import ingest as stage
    from lensdata.sources import require

    require(list(sources))  # before a catalog is made for nothing
    opened = catalog.open(root)
    added = stage(opened, list(sources), source, workers)
    _tell(as_json, {"added": added}, f"{added} images added to {opened.root}")


@lensdata.command("render-text")
@click.option(
    "-n", "count", default=1000, show_default=True, type=click.IntRange(1), help="How many pictures."
)
@click.option("--out", type=FOLDER, help="Where to put them.  [default: CATALOG/rendered-text]")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--fonts", multiple=True, type=FOLDER, help="Folder with fonts, besides the system's (repeatable)."
)
@click.option("--backgrounds", type=FOLDER, help="Folder of images to crop backgrounds from.")
@json_option
@click.pass_obj
def render_text(
    root: Path,
    count: int,
    out: Path | None,
    seed: int,
    fonts: tuple[Path, ...],
    backgrounds: Path | None,
    as_json: bool,
) -> None:
    """Render text onto sampled backgrounds and ingest it; the exact text is the caption.

    \b
    Example: lensdata render-text -n 10000 --fonts ~/fonts
    """
    import catalog
    from lensdata.ingest import ingest as stage
    from lensdata.render_text import render

    opened = catalog.open(root)
    folder = out or opened.root / "rendered-text"
    summary = render(folder, count, seed, list(fonts) or None, backgrounds)
    for script, reason in summary.skipped.items():
        say(f"render-text: no {script} text: {reason}")
    for index, reason in summary.failed.items():
        say(f"render-text: picture {index} could not be made: {reason}")
    added = stage(opened, [folder], "text-synthetic")
    value = {"rendered": summary.made, "failed": len(summary.failed), "added": added, "out": str(folder)}
    _tell(as_json, value, f"{summary.made} pictures rendered to {folder}, {added} added to the catalog")


@lensdata.command()
@click.option("--only", multiple=True, help="Only these: a metric's name or `embedding` (repeatable).")
@click.option("--models", "tier", default="light", show_default=True, help="Which tier of models scores.")
@click.option("--retry-failed", is_flag=True, help="Also try images again whose score failed.")
@workers_option
@json_option
@click.pass_obj
def score(
    root: Path, only: tuple[str, ...], tier: str, retry_failed: bool, workers: int | None, as_json: bool
) -> None:
    """Measure what is missing: nsfw, aesthetic, watermark, clarity, entropy, luminance, and the embedding.

    Values only; thresholds are chosen later, in queries. A killed run goes on where it stopped.

    \b
    Example: lensdata score --only clarity --only entropy
    """
    from lensdata.score import score as stage

    done = stage(_existing(root), tier, only, retry_failed, workers)
    _tell(as_json, {"images": done.images, "failed": done.failed}, str(done))


@lensdata.command()
@click.option(
    "--threshold", default=0.985, show_default=True, help="Cosine above which two images are duplicates."
)
@click.option("--models", "tier", default="light", show_default=True, help="Whose embeddings to compare.")
@workers_option
@json_option
@click.pass_obj
def dedup(root: Path, threshold: float, tier: str, workers: int | None, as_json: bool) -> None:
    """Find exact and near-duplicates and choose which to keep: the largest, then the most aesthetic, then the oldest.

    \b
    Example: lensdata dedup --threshold 0.98
    """
    from lensdata.dedup import dedup as stage

    found = stage(_existing(root), threshold, tier, workers)
    if found is None:
        _tell(as_json, {"changed": False}, "nothing has changed since the last dedup")
        return
    value = {"images": found.images, "exact": found.exact, "near": found.near, "kept": found.kept}
    _tell(
        as_json,
        value,
        f"{found.kept} of {found.images} images kept; {found.exact} byte copies, {found.near} near-duplicates",
    )


@lensdata.command()
@click.option(
    "--style",
    type=click.Choice(["alt"]),
    default="alt",
    show_default=True,
    help="alt: the source's own text.",
)
@click.option("--from-names", is_flag=True, help="Where there is none, use the words of the file's name.")
@click.option("--retry-failed", is_flag=True, help="Also try images again whose caption failed.")
@json_option
@click.pass_obj
def caption(root: Path, style: str, from_names: bool, retry_failed: bool, as_json: bool) -> None:
    """Give every readable image a caption of a style.

    \b
    Example: lensdata caption --style alt
    """
    from lensdata.caption import caption as stage
    from lensdata.caption import from_source

    done, failed = stage(_existing(root), from_source(from_names), retry_failed)
    _tell(
        as_json,
        {"style": style, "captioned": done, "failed": failed},
        f"{done} captions ({style}); {failed} images without",
    )


@lensdata.command()
@json_option
@click.pass_obj
def bucket(root: Path, as_json: bool) -> None:
    """Assign every image to one of the 27 training resolutions.

    \b
    Example: lensdata bucket
    """
    from lensdata.bucket import bucket as stage

    done = stage(_existing(root))
    _tell(as_json, {"assigned": done}, f"{done} images assigned to buckets")


@lensdata.command()
@click.argument("text", metavar="SQL|NAME", required=False)
@click.option(
    "--format",
    "form",
    default="table",
    show_default=True,
    type=click.Choice(["table", "csv", "json", "parquet"]),
)
@click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", help="Value of $NAME in the query (repeatable)."
)
@click.pass_obj
def query(root: Path, text: str | None, form: str, params: tuple[str, ...]) -> None:
    """Run a read-only SQL statement or a named query; without one, list the named queries.

    \b
    Examples:
      lensdata query "SELECT source, count(*) FROM images GROUP BY source"
      lensdata query buckets --format csv
    """
    from lensdata.query import list_queries, run_query

    if text is None:
        list_queries()
    else:
        run_query(_reader(root), text, form, params)


@lensdata.command()
@selection_options
@click.option(
    "--sweep", nargs=4, metavar="SCORE FROM TO STEP", help="Instead: what is left at a series of thresholds."
)
@json_option
@click.pass_obj
def funnel(
    root: Path, selection: dict[str, Any], sweep: tuple[str, str, str, str] | None, as_json: bool
) -> None:
    """What each filter keeps, drops, and drops alone.

    \b
    Example: lensdata funnel --min-aesthetic 4
    """
    from lensdata.funnel import print_table, sweep_table

    chosen = _reader(root).select(**selection)
    if selection["where"]:
        raise BadInput("funnel judges the thresholds alone; leave --where out")
    rows = sweep_table(chosen, *sweep) if sweep else chosen.funnel()
    if as_json:
        emit_json(rows.to_dicts())
    else:
        print_table(rows)


@lensdata.command()
@click.argument("image_id", type=int)
@selection_options
@json_option
@click.pass_obj
def why(root: Path, image_id: int, selection: dict[str, Any], as_json: bool) -> None:
    """Every rule's verdict on one image: value, threshold, scorer.

    \b
    Example: lensdata why 42
    """
    from lensdata.funnel import print_why
    from lensdata.funnel import why as explain

    if selection["where"]:
        raise BadInput("why judges the rules; leave --where out")
    found = explain(_reader(root).select(**selection), image_id)
    if as_json:
        emit_json(found)
    else:
        print_why(found)


@lensdata.command("build-shards")
@click.option(
    "--out",
    required=True,
    type=FOLDER,
    help="Folder for the shards; new, or an unfinished build of the same.",
)
@click.option("--name", help="Name of the manifest.  [default: from its content]")
@selection_options
@click.option("--virtual", is_flag=True, help="Write the manifest alone; training reads the original files.")
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
@workers_option
@json_option
@click.pass_obj
def build_shards(
    root: Path, out: Path, name: str | None, selection: dict[str, Any], virtual: bool, shard_samples: int,
    shard_mb: int, workers: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Select images by thresholds, fix the choice in a manifest, and write it as WebDataset tars.

    A threshold of `none` switches a filter off; an image without a score does not pass that score's filter.

    \b
    Example: lensdata build-shards --min-aesthetic 3 --out shards
    """
    import catalog
    from lensdata.shards import build

    _reader(root)
    opened = catalog.open(root)
    chosen = opened.select(**selection)
    made = build(
        opened, chosen.manifest(name), out.absolute(), virtual, shard_samples, shard_mb * 2**20, workers
    )
    value = {
        "manifest": made.manifest.name, "fingerprint": made.manifest.fingerprint, "samples": made.samples,
        "shards": made.shards, "bytes": made.bytes, "dropped": made.dropped,
        "unmeasured": made.manifest.info["unmeasured"],
        "reused": made.reused, "out": str(made.manifest.root),
    }  # fmt: skip
    what = "were there already" if made.reused else "written"
    _tell(
        as_json,
        value,
        f"{made.samples} samples in {made.shards} shards {what}: {made.manifest.root} (manifest {made.manifest.name})",
    )
    for rule, count in made.manifest.info["unmeasured"].items():
        stage = rule if rule in ("dedup", "caption", "bucket") else "score"
        say(
            f"build-shards: {count} readable images have no {rule} result, so they were left out (lensdata {stage})"
        )
    if made.dropped:
        say(
            f"build-shards: {made.dropped} images could not be read; see {made.manifest.root / 'dropped.jsonl'}"
        )


@lensdata.command("verify-shards")
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


@lensdata.command()
@click.option("--out", required=True, type=FOLDER, help="The HTML file to write.")
@selection_options
@click.option(
    "--thumbs", default=12, show_default=True, type=click.IntRange(0), help="Pictures per contact sheet."
)
@click.pass_obj
def report(root: Path, out: Path, selection: dict[str, Any], thumbs: int) -> None:
    """One self-contained HTML file: funnel, histograms, images at each threshold, duplicates, buckets.

    \b
    Example: lensdata report --out report.html
    """
    from lensdata.report import report as stage

    opened = _reader(root)
    made = stage(opened, out.absolute(), opened.select(**selection), thumbs)
    unread = f"; {made.unreadable} pictures could not be read" if made.unreadable else ""
    click.echo(f"report on {made.images} images written to {made.path} ({made.bytes / 1e6:.1f} MB{unread})")


@lensdata.command()
@click.argument("sources", nargs=-1, type=FOLDER)
@click.option(
    "--source", default="public-real", show_default=True, help="The kind of source of what is ingested."
)
@click.option("--out", type=FOLDER, help="Also build shards there.")
@click.option("--report", "report_file", type=FOLDER, help="Also write the HTML report there.")
@selection_options
@workers_option
@click.pass_obj
def run(
    root: Path, sources: tuple[Path, ...], source: str, out: Path | None, report_file: Path | None,
    selection: dict[str, Any], workers: int | None,
) -> None:  # fmt: skip
    """All stages in order - ingest, score, dedup, caption, bucket, build-shards, report - skipping what is done.

    \b
    Example: lensdata run ~/Pictures --out shards --report report.html
    """
    from lensdata.pipeline import run_all

    run_all(root, list(sources), source, out, report_file, selection, workers)


@lensdata.command()
@click.pass_obj
def migrate(root: Path) -> None:
    """Bring a catalog that an older Lens wrote to this version's schema.

    \b
    Example: lensdata --catalog old-catalog migrate
    """
    import catalog
    from catalog.store import DATABASE

    if not (root / DATABASE).is_file():
        raise BadInput(f"there is no catalog at {root}")
    click.echo(f"{catalog.open(root).root} is up to date")


def _reader(root: Path) -> Any:
    import catalog

    return catalog.open(root, read_only=True)


def _existing(root: Path) -> Any:
    """The catalog for writing; unlike `ingest`, the other stages never make a new one."""
    import catalog

    catalog.open(root, read_only=True)
    return catalog.open(root)


def _tell(as_json: bool, value: dict[str, Any], text: str) -> None:
    if as_json:
        emit_json(value)
    else:
        click.echo(text)
