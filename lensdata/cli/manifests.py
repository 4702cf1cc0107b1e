"""The subcommands around manifests: manifest list, manifest diff, remove."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from catalog.console import emit_json
from catalog.errors import BadInput
from catalog.notices import say
from lensdata.cli.options import FOLDER, existing, json_option, reader, tell

SHOWN = 8  # ids of each kind that `manifest diff` prints


@click.group("manifest")
def manifest_group() -> None:
    """Look into manifests.

    \b
    Example: lensdata manifest diff train-v1 train-v2
    """


@manifest_group.command("diff")
@click.argument("old")
@click.argument("new")
@json_option
@click.pass_obj
def manifest_diff(root: Path, old: str, new: str, as_json: bool) -> None:
    """What changed from manifest OLD to NEW; each is a name in the catalog or a folder of shards.

    \b
    Example: lensdata manifest diff train-v1 shards
    """
    from lensdata.shards import compare, diff

    manifests = _manifest(root, old), _manifest(root, new)
    if as_json:
        emit_json(diff(*manifests))
        return
    found = compare(*manifests, most=SHOWN)
    for what, change in found.changes.items():
        some = ", ".join(map(str, change.ids)) + ("..." if change.images > len(change.ids) else "")
        click.echo(f"{what}: {change.images}" + (f" ({some})" if some else ""))
    click.echo(f"same: {found.same}")
    for name, (before, after) in found.parameters.items():
        click.echo(f"{name}: {before} -> {after}")


@manifest_group.command("list")
@json_option
@click.pass_obj
def manifest_list(root: Path, as_json: bool) -> None:
    """The catalog's manifests, and the folders of shards that were built from them: name, time, samples, shards, where
    they are, fingerprint. A build that dropped images has a fingerprint of its own. `now`: the name that a takedown has
    given it.

    \b
    Example: lensdata manifest list
    """
    import polars as pl

    from lensdata.cli.show import show
    from lensdata.shards.listing import listing

    rows = listing(reader(root))
    if as_json:
        emit_json(rows)
    elif not rows:
        click.echo("there is no manifest yet; `lensdata build-shards --out DIR` makes one")
    else:
        table = pl.DataFrame(rows, infer_schema_length=None).with_columns(
            pl.col("fingerprint").str.slice(0, 12)
        )
        show(table if table["now"].count() else table.drop("now"), "table")


def _manifest(root: Path, name: str) -> Any:
    from catalog import manifest
    from catalog.manifest import names
    from catalog.store.database import DATABASE

    kept = root / names.FOLDER / name
    if not kept.is_dir() and not Path(name).is_dir():
        if later := names.now(root).get(name):
            raise BadInput(f"the manifest {name} was ended by a takedown; it is {later} now")
        if (root / DATABASE).is_file() and names.given_to(reader(root), name) is not None:
            raise BadInput(
                f"the manifest {name} was made, but its folder {kept} is gone; name a folder that was built from it"
            )
        raise BadInput(
            f"there is no manifest {name} in {root}, and no folder {name}; see `lensdata manifest list`"
        )
    return manifest.load(kept if kept.is_dir() else Path(name), check_sizes=False)


@click.command()
@click.argument("image_ids", nargs=-1, required=True, type=int)
@click.option("--reason", default="taken down", show_default=True, help="Kept with the image's row.")
@click.option("--shards", multiple=True, type=FOLDER, help="Folder of shards to clean, too (repeatable).")
@json_option
@click.pass_obj
def remove(
    root: Path, image_ids: tuple[int, ...], reason: str, shards: tuple[Path, ...], as_json: bool
) -> None:
    """Take images down: out of the catalog, its manifests, and the shards that held them (no others are rewritten).

    Whatever has the same bytes goes with them, and stays removed when it is ingested again under another name. The
    catalog's own copies of the bytes are blanked; the original files are not touched. Built shards that still hold
    what was taken down, since --shards did not name them, are told.

    \b
    Example: lensdata remove 42 77 --shards shards --reason "rights holder, ticket 5"
    """
    from lensdata.takedown import remove as stage

    done = stage(existing(root), list(image_ids), reason, [path.absolute() for path in shards])
    where = "".join(f"\nrewritten: {path}" for path in done["rewritten"])
    tell(
        as_json, done, f"{len(done['removed'])} images removed: {', '.join(map(str, done['removed']))}{where}"
    )
    if done["still_hold"]:
        ids = " ".join(map(str, image_ids[:SHOWN])) + (" ..." if len(image_ids) > SHOWN else "")
        folders = " ".join(f"--shards {folder}" for folder in done["still_hold"])
        say(f"remove: built shards still hold what was taken down; run `lensdata remove {ids} {folders}`")


COMMANDS = (manifest_group, remove)
