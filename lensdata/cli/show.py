"""What the subcommands that ask print: rows for people or programs, and the verdicts on one image."""

from __future__ import annotations

import sys
from typing import Any

import click
import polars as pl

from catalog import Catalog
from catalog.errors import BadInput
from catalog.store import statements


def list_queries() -> None:
    """Print the named queries."""
    for name, answers in statements.queries().items():
        click.echo(f"{name:16} {answers}")


def run_query(catalog: Catalog, text: str, form: str, params: tuple[str, ...]) -> None:
    """Run `text`, a named query if it is a name, and print the rows as `form`.

    Raises BadInput for an unknown name, a missing parameter, or SQL that is wrong or would write.
    """
    if text.replace("_", "").replace("-", "").isalnum():
        if text not in statements.queries():
            names = ", ".join(statements.queries())
            raise BadInput(
                f"there is no named query {text}; there are {names} (or give a whole SQL statement)"
            )
        text = statements.query(text)
    values = {}
    for param in params:
        name, equals, value = param.partition("=")
        if not equals:
            raise BadInput(f"--param takes NAME=VALUE, not {param!r}")
        values[name] = value
    show(catalog.sql(text, **values), form)


def show(rows: pl.DataFrame, form: str) -> None:
    """Print `rows` as a table, CSV, JSON lines, or Parquet bytes."""
    if form == "csv":
        nested = [name for name, dtype in rows.schema.items() if dtype.is_nested()]
        if nested:
            raise BadInput(
                f"the column {nested[0]} is nested, which CSV cannot hold; use --format json or parquet"
            )
        click.echo(rows.write_csv(), nl=False)
    elif form == "json":
        click.echo(rows.write_ndjson(), nl=False)
    elif form == "parquet":
        if sys.stdout.isatty():
            raise BadInput(
                "Parquet is binary; send it to a file: lensdata query ... --format parquet > rows.parquet"
            )
        rows.write_parquet(sys.stdout.buffer)
    else:
        with pl.Config(tbl_rows=100, tbl_cols=40, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True,
                       tbl_formatting="UTF8_BORDERS_ONLY", fmt_str_lengths=80, tbl_width_chars=200):  # fmt: skip
            click.echo(str(rows))
        if len(rows) > 100:
            click.echo(f"... {len(rows)} rows in all; use --format csv for the rest")


def print_why(found: dict[str, Any]) -> None:
    """Print what `why` found."""
    click.echo(
        f"image {found['image_id']}: {found['uri']} ({found['width']}x{found['height']}, {found['source']})"
    )
    show(
        pl.DataFrame(
            [{k: "" if v is None else _short(v) for k, v in rule.items()} for rule in found["rules"]]
        ),
        "table",
    )
    if found["alt_error"]:
        click.echo(f"its text: {found['alt_error']}")
    drops = [rule["rule"] for rule in found["rules"] if rule["verdict"] != "kept"]
    click.echo("selected" if found["selected"] else f"not selected: {', '.join(drops)}")


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 48 else f"{text[:47]}…"
