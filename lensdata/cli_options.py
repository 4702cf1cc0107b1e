"""What the subcommands share: options, the opening of the catalog, the telling of results."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from catalog.console import emit_json

FOLDER = click.Path(path_type=Path)
HELP = {
    "min_area": "Fewest pixels (width x height).",
    "max_nsfw": "Highest NSFW probability.",
    "min_aesthetic": "Lowest aesthetic score, about 1-10.",
    "max_watermark": "Highest watermark probability.",
    "min_clarity": "Lowest variance of the Laplacian.",
    "min_entropy": "Lowest grey-level entropy, bits.",
    "min_luminance": "Lowest mean brightness, 0-1.",
    "max_luminance": "Highest mean brightness, 0-1.",
}


class Threshold(click.ParamType):
    """A finite number, or `none` to switch the filter off."""

    name = "number|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        if isinstance(value, int | float):
            return float(value)
        if value.lower() == "none":
            return None
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number or `none`", param, ctx)
        return number


def selection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for every threshold of a selection, gathered into the argument `selection`.

    Only what is given on the command line is passed on, so that the defaults keep their one home, sql/views.
    """

    @functools.wraps(command)
    def gathered(*args: Any, **options: Any) -> Any:
        given = click.get_current_context().get_parameter_source
        chosen = {
            name: options[name]
            for name in HELP
            if given(name) is not click.core.ParameterSource.DEFAULT  # `none` is given, too
        }
        selection = {**chosen, "where": options.pop("where"), "dedup": options.pop("dedup")}
        selection["captions"] = tuple(options.pop("captions").split(","))
        return command(*args, selection=selection, **{k: v for k, v in options.items() if k not in HELP})

    decorated = gathered
    for name in reversed(HELP):
        option = click.option(
            f"--{name.replace('_', '-')}", name, type=Threshold(), default=None, help=HELP[name]
        )
        decorated = option(decorated)
    decorated = click.option("--where", metavar="SQL", help="A further condition over the view `trainable`.")(
        decorated
    )
    decorated = click.option(
        "--dedup/--no-dedup", default=True, show_default=True, help="Keep only one of near-duplicates."
    )(decorated)
    return click.option(
        "--captions", default="dense,alt", show_default=True, help="Caption styles to train on, best first."
    )(decorated)


workers_option = click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one a core]")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def reader(root: Path) -> Any:
    """The catalog for reading."""
    import catalog

    return catalog.open(root, read_only=True)


def existing(root: Path) -> Any:
    """The catalog for writing; unlike `ingest`, the other stages never make a new one."""
    import catalog

    catalog.open(root, read_only=True)
    return catalog.open(root)


def tell(as_json: bool, value: dict[str, Any], text: str) -> None:
    """Print a result for a program or for a person."""
    if as_json:
        emit_json(value)
    else:
        click.echo(text)
