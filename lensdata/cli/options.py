"""What the subcommands share: options, the opening of the catalog, the telling of results."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from catalog import extras, metrics
from catalog.console import LOCAL_PATH, emit_json
from catalog.errors import BadInput

FOLDER = LOCAL_PATH


class Source(click.ParamType):
    """A path, or a URL with its scheme."""

    name = "path|url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from lensdata.sources.choose import parse

        return parse(value) if isinstance(value, str) else value


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


class Weighted(click.ParamType):
    """`KIND` or `KIND=WEIGHT` -> (kind, weight); the last `=` counts."""

    name = "KIND[=WEIGHT]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        kind, equals, weight = value.rpartition("=")
        if not equals:
            return value, 1.0
        try:
            return kind, float(weight)
        except ValueError:
            self.fail(f"{value!r} does not end in a number after `=`", param, ctx)


class Named(click.ParamType):
    """`METRIC=SCORER` -> (metric, scorer)."""

    name = "METRIC=SCORER"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        metric, equals, scorer = value.partition("=")
        if not (metric and equals and scorer):
            self.fail(f"{value!r} is not METRIC=SCORER, such as aesthetic=paper", param, ctx)
        return metric, scorer


def _mixture(given: tuple[tuple[str, float], ...]) -> dict[str, float] | None:
    twice = {kind for kind, _ in given if [other for other, _ in given].count(kind) > 1}
    if twice:
        raise BadInput(f"the source {min(twice)} is given twice; name each with one weight")
    return dict(given) or None


def selection_options(command: Callable[..., Any], source_flag: str = "--source") -> Callable[..., Any]:
    """Add an option for every threshold of a selection, gathered into the argument `selection`.

    `source_flag` names the option for kinds of source, for a command whose `--source` is taken. Only what is given
    on the command line is passed on, so that the defaults keep their one home, catalog.metrics.
    """

    helps = _threshold_help()

    @functools.wraps(command)
    def gathered(*args: Any, **options: Any) -> Any:
        given = click.get_current_context().get_parameter_source
        chosen = {
            name: options[name]
            for name in helps
            if given(name) is not click.core.ParameterSource.DEFAULT  # `none` is given, too
        }
        if options.pop("no_filters"):
            chosen = {**dict.fromkeys(helps), **chosen}
            if given("dedup") is click.core.ParameterSource.DEFAULT:
                options["dedup"] = False
        selection = {**chosen, "where": options.pop("where"), "dedup": options.pop("dedup")}
        selection["sources"] = _mixture(options.pop("mixture"))
        selection["scorers"] = dict(options.pop("scorers"))
        selection["captions"] = tuple(options.pop("captions").split(","))
        return command(*args, selection=selection, **{k: v for k, v in options.items() if k not in helps})

    decorated = gathered
    for name in reversed(helps):
        option = click.option(
            f"--{name.replace('_', '-')}", name, type=Threshold(), default=None, help=helps[name]
        )
        decorated = option(decorated)
    decorated = click.option(
        "--no-filters", is_flag=True,
        help="Every threshold `none` and --no-dedup, but for those that are given: what is readable, has a caption and "
        "a bucket is selected.",
    )(decorated)  # fmt: skip
    decorated = click.option(
        source_flag, "mixture", type=Weighted(), multiple=True,
        help="Only images of this kind of source, each seen WEIGHT times (1) an epoch of training (repeatable).",
    )(decorated)  # fmt: skip
    decorated = click.option(
        "--scorer", "scorers", type=Named(), multiple=True,
        help="Whose scores count for a metric, such as aesthetic=paper or aesthetic=NAME@REVISION (repeatable).  "
        "[default: the newest scorer that has measured every image]",
    )(decorated)  # fmt: skip
    decorated = click.option("--where", metavar="SQL", help="A further condition over the view `trainable`.")(
        decorated
    )
    decorated = click.option(
        "--dedup/--no-dedup", default=True, show_default=True, help="Keep only one of near-duplicates."
    )(decorated)
    return click.option(
        "--captions", default="dense,alt", show_default=True, help="Caption styles to train on, best first."
    )(decorated)


def _threshold_help() -> dict[str, str]:
    """Every threshold's name and what its option says."""
    ends = {"min": "Lowest", "max": "Highest"}
    found = {}
    for rule in metrics.rules():
        light = rule.limits_of(metrics.LIGHT)
        for name, value in rule.limits.items():
            default = _number(value)
            if light[name] != value:
                default += f"; with light scores {_number(light[name])}"
            unit = rule.metric.unit if rule.metric else ""
            found[name] = f"{ends[name[:3]]} {rule.name}: {unit}.  [default: {default}]"
    return found


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def engine_options(gpus: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add --engine and --ray-address, and --gpus-per-worker for stages with models, gathered into the argument `on`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def gathered(*args: Any, **options: Any) -> Any:
            name, address = options.pop("engine"), options.pop("ray_address")
            share = options.pop("gpus_per_worker", 0.0)
            if name == "local" and (address or share):
                raise BadInput("--ray-address and --gpus-per-worker go with --engine ray")
            if name == "ray":
                extras.require("cluster", "--engine ray")
            from lensdata import engine

            return command(*args, on=engine.Ray(address, share) if name == "ray" else name, **options)

        decorated = gathered
        if gpus:
            decorated = click.option(
                "--gpus-per-worker", type=click.FloatRange(0), default=0.0, show_default=True,
                help="With --engine ray: GPUs that a worker with models holds; 0.5 puts two on one.",
            )(decorated)  # fmt: skip
        decorated = click.option(
            "--ray-address", metavar="HOST:PORT|auto|local",
            help="The cluster to use.  [default: RAY_ADDRESS, else what `ray start` began here, else a new one]",
        )(decorated)  # fmt: skip
        return click.option(
            "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
            help="Where workers run: processes of this machine, or a Ray cluster.",
        )(decorated)  # fmt: skip

    return decorate


def column_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name the columns of tables and lists, gathered into the argument `columns`."""

    @functools.wraps(command)
    def gathered(*args: Any, **options: Any) -> Any:
        from lensdata.sources import Columns

        given = {name: options.pop(f"{name}_column") for name in ("image", "text", "url", "brief", "dense")}
        return command(*args, columns=Columns(*given.values()), **options)

    decorated = gathered
    for flag, default, text in (
        ("--url-column", None, "Where a list has its URLs; makes a table such a list.  [default: url]"),
        ("--dense-column", None, "Where they have dense captions.  [default: dense, dense_caption, ...]"),
        ("--brief-column", None, "Where they have brief captions.  [default: brief, brief_caption, ...]"),
        ("--text-column", None, "Where a table or list has their texts.  [default: text or caption]"),
        (
            "--image-column", "image",
            "Where a table has its images: bytes, paths or URLs, or Hugging Face images.",
        ),
    ):  # fmt: skip
        decorated = click.option(flag, default=default, show_default=default is not None, help=text)(
            decorated
        )
    return decorated


workers_option = click.option(
    "--workers", type=click.IntRange(1), help="Worker processes.  [default: one a core]"
)
models_option = click.option(
    "--models", default="light", show_default=True, metavar="light|paper|FILE",
    help="Whose scores and embeddings: the light models, the paper's, or those a file names (docs/paper-models.md).",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def reader(root: Path) -> Any:
    """The catalog for reading."""
    import catalog

    return catalog.open(root, read_only=True, at_once=False)


def existing(root: Path) -> Any:
    """The catalog for writing; unlike `ingest`, the other stages never make a new one."""
    import catalog

    reader(root)  # raises if there is none
    return catalog.open(root, at_once=False)


def tell(as_json: bool, value: dict[str, Any], text: str) -> None:
    """Print a result for a program or for a person."""
    if as_json:
        emit_json(value)
    else:
        click.echo(text)
