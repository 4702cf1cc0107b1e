"""Who measures what: the identity of every scorer, so that scores of two scorers are never mixed."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from catalog import Catalog, metrics
from catalog.errors import BadInput
from catalog.notices import say
from catalog.scorers import shown
from catalog.store.database import Statement
from lensdata import filters
from lensdata.models import METRICS as LEARNED
from lensdata.models import Plan, ScorerId, plan

EMBEDDING = "embedding"


def formulas() -> dict[str, ScorerId]:
    """Who measures the metrics that are formulas."""
    return {
        metric.name: ScorerId(metric.name, metric.scorer, metric.revision, filters.PREPROCESSING, "computed")
        for metric in metrics.METRICS
        if not metric.learned
    }


def chosen(models: str, only: tuple[str, ...] = ()) -> tuple[dict[str, ScorerId], Plan]:
    """The scorers that `--models` stands for by metric (and the embedding model), limited to `only` if any are
    named, and the plan by which workers load them.

    Raises BadInput for a metric, a tier or a file that does not exist, or models that do not fit (models/plan.py).
    """
    cheap = formulas()
    known = (*cheap, *LEARNED)
    unknown = [name for name in only if name not in known]
    if unknown:
        raise BadInput(f"there is no score {', '.join(unknown)}; there are {', '.join(known)}")
    wanted = set(only or known)
    found = plan(models, wanted)
    ids = {**cheap, **found.ids}
    return {name: ids[name] for name in known if name in wanted}, found


def register(catalog: Catalog, ids: dict[str, ScorerId]) -> dict[str, int]:
    """Enter scorers the catalog does not know yet, each with its two columns, and return metric -> scorer_id.

    The first scorer of a metric is in use at once; of others `settle` decides.
    """
    wanted = {metric: identity for metric, identity in ids.items() if metric != EMBEDDING}
    known = _known(catalog)
    new = [identity for identity in wanted.values() if _key(identity) not in known]
    if new:
        first = max(known.values(), default=0) + 1
        todo = []
        for number, identity in enumerate(new, first):
            todo.append(Statement("score/scorer_columns", slots={"id": number}))
            todo.append(Statement("score/scorer_add", {"scorer_id": number, **asdict(identity)}))
        catalog.commit("scorers", f"scorers-{catalog.version + 1}", len(new), todo, views=True)
        known = _known(catalog)
    return {metric: known[_key(identity)] for metric, identity in wanted.items()}


def settle(catalog: Catalog) -> None:
    """Choose the scorer of each metric that `scores` shows: the newest that has a result for every readable image; if
    none has, the one with most results. What was in use stays so while it is as good as any."""
    found = catalog.named("score/scorers")
    rows = found.to_dicts()
    rivals = [row for row in rows if (found["metric"] == row["metric"]).sum() > 1]
    if not rivals:
        return
    ids = [row["scorer_id"] for row in rivals]
    readable, results = catalog.named("score/results", {"scorers": ids}).row(0)
    have = dict(zip(ids, results, strict=True))
    best: dict[str, dict[str, Any]] = {}
    for row in sorted(rivals, key=lambda row: (have[row["scorer_id"]], row["scorer_id"])):
        best[row["metric"]] = row
    used = {row["metric"]: row for row in rows if row["in_use"]}
    for metric, row in best.items():
        before = used[metric]
        if row["scorer_id"] != before["scorer_id"] and have[row["scorer_id"]] >= have[before["scorer_id"]]:
            used[metric] = row
            missing = readable - have[before["scorer_id"]]
            lacks = f"; {shown(before)} lacks {missing} images" if missing else ""
            say(f"score: selections take {metric} from {shown(row)} now{lacks}")
    chosen = sorted(row["scorer_id"] for row in used.values())
    if chosen != sorted(row["scorer_id"] for row in rows if row["in_use"]):
        name = f"scorers-use-{catalog.version + 1}"
        catalog.commit(
            "scorers", name, len(chosen), [Statement("score/scorers_use", {"ids": chosen})], views=True
        )


def embedding_model(identity: ScorerId) -> str:
    """The name under which an embedding model's vectors are kept: a folder's name, new with every revision."""
    return re.sub(r"[^A-Za-z0-9.+_-]", "--", identity.name) + f"@{identity.revision}"


def _known(catalog: Catalog) -> dict[tuple[str, str, str, str], int]:
    rows = catalog.named("score/scorers").iter_rows(named=True)
    return {(r["metric"], r["name"], r["revision"], r["preprocessing"]): r["scorer_id"] for r in rows}


def _key(identity: ScorerId) -> tuple[str, str, str, str]:
    return (identity.metric, identity.name, identity.revision, identity.preprocessing)
