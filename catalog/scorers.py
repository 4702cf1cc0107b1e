"""Who measured what: how a scorer is shown, and chosen by a selection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catalog import metrics
from catalog.errors import BadInput
from catalog.store.database import Database


def shown(scorer: Mapping[str, Any]) -> str:
    """A row of `scorers` as people read it: tier/name@revision."""
    return f"{scorer['tier']}/{scorer['name']}@{scorer['revision']}"


def known(catalog: Database) -> list[dict[str, Any]]:
    """The rows of `scorers`, oldest first."""
    return catalog.named("score/scorers").to_dicts()


def chosen(catalog: Database, names: Mapping[str, str]) -> dict[str, int]:
    """metric -> scorer_id of the scorers that `names` (metric -> tier, name, name@revision or tier/name@revision)
    stands for; of several the newest. Raises BadInput for what no image was scored by."""
    rows = known(catalog)
    found = {}
    for metric, name in names.items():
        mine = [row for row in rows if row["metric"] == metric]
        fitting = [row for row in mine if name in _names(row)]
        if not mine:
            there = ", ".join(dict.fromkeys(row["metric"] for row in rows)) or ", ".join(metrics.names())
            raise BadInput(f"nothing has measured {metric!r} yet; a scorer can be named of {there}")
        if not fitting:
            there = ", ".join(shown(row) for row in mine)
            raise BadInput(f"no scorer of {metric} is called {name!r}; there are {there}")
        found[metric] = fitting[-1]["scorer_id"]
    return found


def _names(row: Mapping[str, Any]) -> tuple[str, ...]:
    return row["tier"], row["name"], f"{row['name']}@{row['revision']}", shown(row)
