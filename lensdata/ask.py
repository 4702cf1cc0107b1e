"""The attrition ledger: what each rule costs, and why one image was kept or dropped."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import polars as pl

from catalog import Catalog, metrics
from catalog.errors import BadInput
from catalog.scorers import known, shown
from catalog.select import Selection

SWEEP_LIMIT = 1_000
MOST_FOUND = 20


def sweep_table(selection: Selection, score: str, start: str, stop: str, step: str) -> pl.DataFrame:
    """What is left, and what only this rule drops, as the threshold of `score` runs from `start` to `stop`.

    Raises BadInput for a score without a threshold or numbers that make no series.
    """
    limits = [(rule, name) for rule in metrics.rules() for name in rule.limits]
    swept = next(((rule.name, name) for rule, name in limits if score in (rule.name, name)), None)
    if swept is None:
        there = ", ".join(dict.fromkeys(rule.name for rule, _ in limits))
        raise BadInput(f"{score!r} has no threshold to sweep; there are {there}")
    rule, name = swept
    try:
        first, last, by = float(start), float(stop), float(step)
    except ValueError:
        raise BadInput(f"--sweep takes three numbers after the score, not {start} {stop} {step}") from None
    series = all(map(math.isfinite, (first, last, by))) and by > 0 and first <= last
    if not series or (last - first) / by >= SWEEP_LIMIT:
        raise BadInput(f"--sweep {start} {stop} {step} must run upwards in at most {SWEEP_LIMIT} steps")
    sign = 1.0 if name.startswith("max") else -1.0
    values = [first + n * by for n in range(int((last - first) / by + 1e-9) + 1)]
    rows = selection.catalog.named(
        "select/sweep",
        **{**selection.parameters, name: None},
        rule=rule,
        sign=sign,
        limits=sorted(sign * v for v in values),
    )
    return rows.rename({"threshold": name})


def find(catalog: Catalog, text: str) -> tuple[list[int], bool]:
    """The ids of at most MOST_FOUND images that `text` names, and whether there are more.

    It is an id, a path, a URL (of the image, or that it was downloaded from), the end of either, or a tar or table,
    which names all in it. Raises BadInput if the catalog holds none of these.
    """
    if not text.strip():
        raise BadInput("the image to look for is empty; give an id, a path or a URL")
    if text.isascii() and text.isdigit():
        return [int(text)], False
    bare = text.removeprefix("file://")
    absolute = os.path.abspath(bare)  # noqa: PTH100 (".." goes, links stay, as at ingest)
    places = [text] if "://" in bare else [absolute, str(Path(bare).resolve()), bare]
    for within in (False, True):
        found = catalog.named(
            "select/images_at", places=places, within=within, ending=bare.removeprefix("./"), most=MOST_FOUND
        )
        if ids := found["image_id"].to_list():
            return ids[:MOST_FOUND], len(ids) > MOST_FOUND
    raise BadInput(f"the catalog {catalog.root} knows no image at {text}; give an id, a path or a URL")


def why(selection: Selection, image_id: int) -> dict[str, Any]:
    """Every rule with value, thresholds, scorer, state and verdict for one image, and whether it is selected.

    Raises BadInput if there is no such image.
    """
    found = _judged(selection, image_id, selection.parameters)
    outside = found.is_empty() and selection.sources is not None
    if outside:  # of a source that is not selected from: judged among all
        found = _judged(selection, image_id, {**selection.parameters, "sources": None})
    if found.is_empty():
        raise BadInput(f"there is no image {image_id} in {selection.catalog.root}")
    row = found.row(0, named=True)
    scorers = {scorer["scorer_id"]: shown(scorer) for scorer in known(selection.catalog)}
    rules: list[dict[str, Any]] = []
    if selection.sources is not None:
        kinds = ", ".join(selection.sources)
        rules.append({"rule": "source", "value": row["source"], "threshold": kinds,
                      "verdict": "dropped" if outside else "kept", "scorer": None, "reason": None})  # fmt: skip
    for rule in metrics.rules():
        verdict = row[f"keeps_{rule.name}"]
        error = {"readable": row["status_reason"], "dedup": row["dedup_reason"]}.get(
            rule.name, row.get(f"{rule.name}_error")
        )
        rules.append(
            {
                "rule": rule.name,
                "value": row[rule.column],
                "threshold": _limits(selection, tuple(rule.limits)),
                "verdict": "kept" if verdict else "not measured" if verdict is None else "dropped",
                "scorer": scorers.get(row.get(f"{rule.name}_scorer")),
                "reason": error,
            }
        )
    about = {
        name: row[name]
        for name in (
            "image_id",
            "uri",
            "byte_offset",
            "sha256",
            "source",
            "width",
            "height",
            "alt",
            "alt_error",
        )
    }
    return {
        **about,
        "similarity": row["similarity"],
        "rules": rules,
        "selected": all(r["verdict"] == "kept" for r in rules),
    }


def _judged(selection: Selection, image_id: int, parameters: dict[str, Any]) -> pl.DataFrame:
    """The image's row of `judged`, judged with its cluster alone."""
    peers = selection.catalog.named("select/cluster_of", image_id=image_id).item().to_list()
    among = {"image_id": image_id, "peers": peers, "first": min(peers), "last": max(peers)}
    return selection.catalog.named("select/judged_image", **parameters, **among)


def _limits(selection: Selection, names: tuple[str, ...]) -> str | None:
    set_ones = [(name, selection.thresholds[name]) for name in names]
    signs = [
        f"{'>=' if name.startswith('min') else '<='} {value:g}"
        for name, value in set_ones
        if value is not None
    ]
    return " and ".join(signs) if signs else ("off" if names else None)
