"""The subcommands that fill the catalog: one a stage, and `run` for all of them."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from catalog.errors import BadInput
from catalog.notices import say
from lensdata.cli.options import (
    FOLDER,
    Source,
    column_options,
    engine_options,
    existing,
    json_option,
    models_option,
    selection_options,
    tell,
    workers_option,
)


@click.command()
@click.argument("sources", nargs=-1, required=True, type=Source())
@click.option(
    "--source", default="public-real", show_default=True, help="The kind of source, kept with each image."
)
@column_options
@click.option("--retry", is_flag=True, help="Read, or download, again whatever failed before.")
@workers_option
@engine_options()
@json_option
@click.pass_obj
def ingest(
    root: Path, sources: tuple[Path | str, ...], source: str, columns: Any, retry: bool, workers: int | None,
    on: Any, as_json: bool,
) -> None:  # fmt: skip
    """Add the images of folders (with .txt/.caption/.json sidecars or a table of texts, such as captions.csv),
    WebDataset tars, tables (Parquet, Arrow, CSV, TSV, JSON lines), lists of URLs (.txt, or any of these), folders of
    tables or lists, and Hugging Face datasets (saved ones and hf://) that are not in the catalog yet.

    A table of paths and texts gives images that are known its texts.

    All but the last may also be s3://, gs:// or any other URL that fsspec reads, and a pattern in quotes. What has
    changed since is read again; an id stays with its bytes, wherever they move (docs/sources.md).

    \b
    Example: lensdata ingest ~/Pictures 'crawl/*.tar' s3://bucket/prefix hf://owner/name#train
             lensdata ingest laion2B-en --url-column URL; lensdata ingest captions.csv
    """
    import catalog
    from lensdata.ingest import ingest as stage
    from lensdata.sources import open_all

    found = open_all(sources, columns)  # before a catalog is made for nothing
    opened = catalog.open(root)
    done = stage(opened, found, source, workers, on=on, retry=retry)
    tell(as_json, asdict(done), done.line(opened.root))


@click.command("render-text")
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
    added = stage(opened, [folder], "text-synthetic").added
    value = {"rendered": summary.made, "failed": len(summary.failed), "added": added, "out": str(folder)}
    tell(as_json, value, f"{summary.made} pictures rendered to {folder}, {added} added to the catalog")


@click.command()
@click.option("--only", multiple=True, help="Only these: a metric's name or `embedding` (repeatable).")
@models_option
@click.option("--retry-failed", is_flag=True, help="Also try images again whose score failed.")
@workers_option
@engine_options(gpus=True)
@json_option
@click.pass_obj
def score(
    root: Path, only: tuple[str, ...], models: str, retry_failed: bool, workers: int | None, on: Any, as_json: bool
) -> None:  # fmt: skip
    """Measure what is missing: nsfw, aesthetic, watermark, clarity, entropy, luminance, and the embedding.

    Values only; thresholds are chosen later, in queries. A killed run goes on where it stopped.

    \b
    Example: lensdata score --only clarity --only entropy; lensdata score --models paper --workers 1
    """
    from lensdata.score import score as stage

    done = stage(existing(root), models, only, retry_failed, workers, on)
    tell(as_json, {"images": done.images, "failed": done.failed, "without": dict(done.without)}, str(done))


@click.command()
@click.option(
    "--threshold", default=0.985, show_default=True, help="Cosine above which two images are duplicates."
)
@models_option
@workers_option
@engine_options(gpus=True)
@json_option
@click.pass_obj
def dedup(root: Path, threshold: float, models: str, workers: int | None, on: Any, as_json: bool) -> None:
    """Find exact and near-duplicates and choose which to keep: the largest, then the most aesthetic, then the oldest.

    \b
    Example: lensdata dedup --threshold 0.98
    """
    from lensdata.dedup import dedup as stage

    found = stage(existing(root), threshold, models, workers, on)
    if found is None:
        tell(as_json, {"changed": False}, "nothing has changed since the last dedup")
        return
    value = {"images": found.images, "exact": found.exact, "near": found.near, "kept": found.kept}
    tell(
        as_json,
        value,
        f"{found.kept} of {found.images} images kept; {found.exact} exact copies, {found.near} near-duplicates",
    )


@click.command()
@click.option(
    "--style", type=click.Choice(["alt", "brief", "dense"]),
    help="Only this of the source's texts.  [default: alt, and brief and dense where there are any]",
)  # fmt: skip
@click.option(
    "--from-names", is_flag=True, help="Where there is no alt text, use the words of the file's name."
)
@click.option("--retry-failed", is_flag=True, help="Also try images again whose caption failed.")
@workers_option
@engine_options()
@json_option
@click.pass_obj
def caption(
    root: Path, style: str | None, from_names: bool, retry_failed: bool, workers: int | None, on: Any, as_json: bool
) -> None:  # fmt: skip
    """Caption every readable image with what its source tells of it.

    Brief and dense captions are copied where the source gives them. With --style, the images without are recorded.

    \b
    Example: lensdata caption; lensdata caption --style brief
    """
    from lensdata.caption import FromSource, copy_all
    from lensdata.caption import caption as stage

    if style is None:
        copied = copy_all(existing(root), from_names, retry_failed, workers, on)
        value = {"style": "alt", "captioned": copied.alt, "failed": copied.without}
        tell(as_json, value | {"brief": copied.brief, "dense": copied.dense}, str(copied))
        return
    if from_names and style != "alt":
        raise BadInput(f"--from-names stands in for the alt text; it does not go with --style {style}")
    done, failed = stage(existing(root), FromSource(style, from_names), retry_failed, workers=workers, on=on)
    value = {"style": style, "captioned": done, "failed": failed}
    tell(as_json, value, f"{done} captions ({style}); {failed} images without")


@click.command()
@workers_option
@engine_options()
@json_option
@click.pass_obj
def bucket(root: Path, workers: int | None, on: Any, as_json: bool) -> None:
    """Assign every image to one of the 27 training resolutions.

    \b
    Example: lensdata bucket
    """
    from lensdata.bucket import bucket as stage

    done = stage(existing(root), workers, on)
    tell(as_json, {"assigned": done}, f"{done} images assigned to buckets")


@click.command()
@click.argument("sources", nargs=-1, type=Source())
@click.option(
    "--source", default="public-real", show_default=True, help="The kind of source of what is ingested."
)
@column_options
@click.option(
    "--from-names", is_flag=True, help="Where there is no alt text, use the words of the file's name."
)
@click.option(
    "--out", type=FOLDER,
    help="Also build shards there; beside it, in OUT-2, OUT-3, ..., if it holds another selection's.",
)  # fmt: skip
@click.option("--report", "report_file", type=FOLDER, help="Also write the HTML report there.")
@partial(selection_options, source_flag="--select-source")
@models_option
@workers_option
@engine_options(gpus=True)
@click.pass_obj
def run(
    root: Path, sources: tuple[Path | str, ...], source: str, columns: Any, from_names: bool, out: Path | None,
    report_file: Path | None, selection: dict[str, Any], models: str, workers: int | None, on: Any,
) -> None:  # fmt: skip
    """All stages in order - ingest, score, dedup, caption, bucket, build-shards, report - skipping what is done.

    Run again with new images, it builds the new selection beside the old one and leaves that as it is. Exit code 1 if
    the build dropped more than 3 images and more than one in a thousand.

    \b
    Example: lensdata run ~/Pictures --out shards --report report.html
    """
    from lensdata.run import run_all

    run_all(
        root, list(sources), source, out, report_file, selection, workers, on, models, columns, from_names
    )


COMMANDS = (ingest, render_text, score, dedup, caption, bucket, run)
