"""Who measures what: the identity of every scorer, so that scores of two scorers are never mixed."""

from __future__ import annotations

import re

from catalog.errors import BadInput
from catalog.store import Catalog
from lensdata import filters
from lensdata.models import METRICS as LEARNED
from lensdata.models import Plan, ScorerId, plan

METRICS = ("nsfw", "aesthetic", "watermark", "clarity", "entropy", "luminance")
EMBEDDING = "embedding"
CHEAP = {
    metric: ScorerId(metric, name, "1", filters.PREPROCESSING, "computed")
    for metric, name in (
        ("clarity", "laplacian-variance"),
        ("entropy", "grey-entropy"),
        ("luminance", "mean-value"),
    )
}


def chosen(models: str, only: tuple[str, ...] = ()) -> tuple[dict[str, ScorerId], Plan]:
    """The scorers that `--models` stands for by metric (and the embedding model), limited to `only` if any are
    named, and the plan by which workers load them.

    Raises BadInput for a metric, a tier or a file that does not exist, or models that do not fit (models/plan.py).
    """
    known = (*CHEAP, *LEARNED)
    unknown = [name for name in only if name not in known]
    if unknown:
        raise BadInput(f"there is no score {', '.join(unknown)}; there are {', '.join(known)}")
    wanted = set(only or known)
    found = plan(models, wanted)
    ids = {**CHEAP, **found.ids}
    return {name: ids[name] for name in known if name in wanted}, found


def register(catalog: Catalog, ids: dict[str, ScorerId]) -> dict[str, int]:
    """Enter scorers the catalog does not know yet, and return metric -> scorer_id."""
    wanted = {metric: identity for metric, identity in ids.items() if metric in METRICS}
    known = _known(catalog)
    new = [identity for identity in wanted.values() if _key(identity) not in known]
    if new:
        statements = [
            (
                "scorer_add",
                {
                    "metric": s.metric,
                    "name": s.name,
                    "revision": s.revision,
                    "preprocessing": s.preprocessing,
                    "tier": s.tier,
                },
            )
            for s in new
        ]
        catalog.commit("scorers", f"scorers-{catalog.version + 1}", len(new), statements)
        known = _known(catalog)
    return {metric: known[_key(identity)] for metric, identity in wanted.items()}


def embedding_model(identity: ScorerId) -> str:
    """The name under which an embedding model's vectors are kept: a folder's name, new with every revision."""
    return re.sub(r"[^A-Za-z0-9.+_-]", "--", identity.name) + f"@{identity.revision}"


def _known(catalog: Catalog) -> dict[tuple[str, str, str, str], int]:
    rows = catalog.named("scorers").iter_rows(named=True)
    return {(r["metric"], r["name"], r["revision"], r["preprocessing"]): r["scorer_id"] for r in rows}


def _key(identity: ScorerId) -> tuple[str, str, str, str]:
    return (identity.metric, identity.name, identity.revision, identity.preprocessing)
