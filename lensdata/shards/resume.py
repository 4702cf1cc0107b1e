"""Going on with a build as it was begun, whatever the catalog has become since."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog import Catalog, manifest, mixture
from catalog.errors import BadInput
from catalog.manifest import Manifest
from catalog.select import Selection
from lensdata import engine
from lensdata.shards.builder import Built, build, built
from lensdata.shards.folder import under_way


def resume(
    catalog: Catalog,
    out: Path,
    asked: Mapping[str, Any],
    workers: int | None = None,
    on: engine.On = "local",
    verify_bytes: bool = False,
) -> Built | None:
    """Finish the build that `out` was begun with, from its recorded manifest; None if there is nothing to resume.

    A finished build is left as it is. `asked` is what the caller named besides: `name`, `virtual`, `shard_samples`,
    `shard_bytes`, and from `wishes` those of the selection. Raises BadInput where the build was begun with another,
    and if the recorded manifest is gone.
    """
    if (out / "manifest.json").is_file():
        found = manifest.load(out)
        settings = dict(found.info.get("build", {}))
        _same(out, found, settings, asked)
        chosen = found
        if settings.pop("fingerprint", None) != found.fingerprint or found.info.get("dropped"):
            recorded = _recorded(catalog, found.name, found.info["build"].get("fingerprint"))
            if recorded is None or found.info.get("removed"):  # a takedown has been here since
                return built(found, reused=True)
            chosen = recorded
        return build(catalog, chosen, out, **settings, workers=workers, on=on, verify_bytes=verify_bytes)
    settings = under_way(out)
    if not settings:
        return None
    name = str(settings.pop("manifest", ""))
    recorded = _recorded(catalog, name, settings.pop("fingerprint"))
    if recorded is None:
        raise BadInput(
            f"{out} was begun from the manifest {name or '?'}, which the catalog no longer holds as it was (an image "
            "may have been taken down); delete the folder and build without --resume"
        )
    _same(out, recorded, settings, asked)
    return build(catalog, recorded, out, **settings, workers=workers, on=on, verify_bytes=verify_bytes)


def _recorded(catalog: Catalog, name: str, fingerprint: str | None) -> Manifest | None:
    """The catalog's manifest of that name, if it still is what the build was begun with."""
    kept = catalog.root / "manifests" / Path(name).name
    found = manifest.load(kept) if name and (kept / "manifest.json").is_file() else None
    return found if found is not None and found.fingerprint == fingerprint else None


def wishes(selection: Selection, given: set[str]) -> dict[str, Any]:
    """What of a selection the caller named: `given` holds threshold names, `dedup`, `captions`, `sources`, `where`."""
    found = {name: value for name, value in selection.parameters.items() if name in given}
    if "where" in given:
        found["where"] = selection.query
    if "sources" in given:
        found["weights"] = selection.sources
    return found


def _same(out: Path, found: Manifest, settings: dict[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse what the build was not begun with: `resume` would leave it out in silence."""
    begun = {**found.info["parameters"], **settings, "name": found.name, "where": found.info["query"]}
    if "weights" in asked:
        seen = [kind for kind, count in found.info.get("sources", {}).items() if count]
        asked = {**asked, "weights": mixture.in_force(asked["weights"], seen)}
        begun["weights"] = found.mixture
    for what, value in asked.items():
        if begun.get(what) != value:
            was = "another condition" if what == "where" else f"{what} {begun.get(what)}"
            raise BadInput(
                f"{out} was begun with {was}; resume it without naming another, or name another folder with --out"
            )
