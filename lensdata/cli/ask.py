"""The subcommands that ask: query, funnel, why, report. They open the catalog for reading alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from catalog.console import emit_json
from catalog.errors import BadInput
from catalog.notices import say
from lensdata.cli.options import FOLDER, json_option, reader, selection_options


@click.command()
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

    SHOW TABLES lists the tables and views, DESCRIBE the columns of one; the view `trainable` has one row an image with
    all that is known of it. With `> file`, --format parquet, csv or json (lines) writes a file.

    \b
    Examples:
      lensdata query "SHOW TABLES"
      lensdata query "DESCRIBE trainable"
      lensdata query "SELECT source, count(*) FROM images GROUP BY source"
      lensdata query "SELECT uri, aesthetic FROM trainable WHERE aesthetic > 6" --format parquet > best.parquet
      lensdata query buckets --format csv > buckets.csv
    """
    from lensdata.cli.show import list_queries, run_query

    if text is None:
        list_queries()
    else:
        run_query(reader(root), text, form, params)


@click.command()
@selection_options
@click.option(
    "--sweep", nargs=4, metavar="SCORE FROM TO STEP", help="Instead: what is left at a series of thresholds."
)
@click.option("--overlaps", is_flag=True, help="Instead: how many images each two rules both drop.")
@json_option
@click.pass_obj
def funnel(
    root: Path,
    selection: dict[str, Any],
    sweep: tuple[str, str, str, str] | None,
    overlaps: bool,
    as_json: bool,
) -> None:
    """What each filter keeps, drops, and drops alone.

    \b
    Examples:
      lensdata funnel --min-aesthetic 4
      lensdata funnel --overlaps
      lensdata funnel --sweep aesthetic 2 6 0.25
    """
    from lensdata.ask import sweep_table
    from lensdata.cli.show import show

    chosen = reader(root).select(**selection)
    if selection["where"]:
        raise BadInput("funnel judges the thresholds alone; leave --where out")
    if sweep and overlaps:
        raise BadInput("--sweep and --overlaps are two tables; ask for one")
    rows = sweep_table(chosen, *sweep) if sweep else chosen.overlaps() if overlaps else chosen.funnel()
    if as_json:
        emit_json(rows.to_dicts())
        return
    show(rows, "table")
    for name in chosen.off():
        say(f"funnel: the rule {name} is off")


@click.command()
@click.argument("image", metavar="IMAGE_ID|PATH|URL")
@selection_options
@json_option
@click.pass_obj
def why(root: Path, image: str, selection: dict[str, Any], as_json: bool) -> None:
    """Every rule's verdict on one image: value, threshold, scorer.

    The image is named by its id, its path or URL, or the end of one. Where that names several (a tar, equal file
    names), all are shown, with --json each as a line.

    \b
    Examples:
      lensdata why 42
      lensdata why ~/Pictures/cat.jpg
    """
    from lensdata.ask import MOST_FOUND, find
    from lensdata.ask import why as explain
    from lensdata.cli.show import print_why

    if selection["where"]:
        raise BadInput("why judges the rules; leave --where out")
    opened = reader(root)
    ids, more = find(opened, image)
    chosen = opened.select(**selection)
    for n, image_id in enumerate(ids):
        found = explain(chosen, image_id)
        if as_json:
            emit_json(found)
        else:
            if n:
                click.echo()
            print_why(found)
    if more:
        say(f"why: the first {MOST_FOUND} images at {image}; name one by its id (lensdata query)")


@click.command()
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

    opened = reader(root)
    made = stage(opened, out.absolute(), opened.select(**selection), thumbs)
    unread = f"; {made.unreadable} pictures could not be read" if made.unreadable else ""
    click.echo(f"report on {made.images} images written to {made.path} ({made.bytes / 1e6:.1f} MB{unread})")


COMMANDS = (query, funnel, why, report)
