"""The command `lensdata`. Each subcommand imports what it needs when it runs, so that --help is quick."""

from __future__ import annotations

import os
from pathlib import Path

import click

from catalog.console import leave, run_command
from catalog.errors import BadInput
from lensdata.cli import ask, fill, manifests, shards
from lensdata.cli.options import FOLDER


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
    leave(run_command(lensdata, "lensdata"))


@lensdata.command()
@click.pass_obj
def migrate(root: Path) -> None:
    """Bring a catalog that an older Lens wrote to this version's schema.

    \b
    Example: lensdata --catalog old-catalog migrate
    """
    import catalog
    from catalog.store.database import DATABASE

    if not (root / DATABASE).is_file():
        raise BadInput(f"there is no catalog at {root}")
    click.echo(f"{catalog.open(root).root} is up to date")


for command in (*fill.COMMANDS, *ask.COMMANDS, *shards.COMMANDS, *manifests.COMMANDS):
    lensdata.add_command(command)
