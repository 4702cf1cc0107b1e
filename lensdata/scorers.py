"""Who measures what: the identity of every scorer, so that scores of two scorers are never mixed."""

from __future__ import annotations

from catalog.errors import BadInput
from catalog.store import Catalog
from lensdata import filters
from lensdata.models import ScorerId, light_ids

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


def chosen(tier: str, only: tuple[str, ...] = ()) -> dict[str, ScorerId]:
    """The scorers of a tier by metric (and the embedding model), limited to `only` if any are named.

    Raises BadInput for a tier or metric that does not exist.
    """
    if tier != "light":
        raise BadInput(f"there are no {tier!r} models in this version; use --models light")
    ids = {**CHEAP, **light_ids()}
    unknown = [name for name in only if name not in ids]
    if unknown:
        raise BadInput(f"there is no score {', '.join(unknown)}; there are {', '.join(ids)}")
    return {name: ids[name] for name in ids if not only or name in only}


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
    return f"{identity.name}@{identity.revision}"


def _known(catalog: Catalog) -> dict[tuple[str, str, str, str], int]:
    rows = catalog.named("scorers").iter_rows(named=True)
    return {(r["metric"], r["name"], r["revision"], r["preprocessing"]): r["scorer_id"] for r in rows}


def _key(identity: ScorerId) -> tuple[str, str, str, str]:
    return (identity.metric, identity.name, identity.revision, identity.preprocessing)
