"""The schema of an open database: its version, its migrations, and the views that follow from the registry of metrics
and from the scorers in use."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import duckdb

from catalog import metrics
from catalog.store import statements
from catalog.store.connection import row

NEWEST = statements.versions()[-1]
NONE: Mapping[str, int] = MappingProxyType({})
BY_SCORER = 3  # from this version on, `measured` has two columns for each scorer


def version(connection: duckdb.DuckDBPyConnection) -> int:
    """Of the database; 0 if it was killed before the first migration was committed."""
    try:
        return int(row(connection, "catalog/schema_version")[0])
    except duckdb.CatalogException:
        return 0


def views_current(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the views are those of this Lens, its registry of metrics and the scorers in use."""
    kept = connection.execute(statements.statement("catalog/views_mark")).fetchone()
    return kept is not None and kept[0] == statements.views_key(**slots(connection))


def migrate(connection: duckdb.DuckDBPyConnection) -> None:
    """Bring the database to the newest version, in the transaction that the caller has begun."""
    connection.execute(statements.statement("catalog/schema_versions_create"))
    found = version(connection)
    for number in statements.versions():
        if number > found:
            scorers = _scorers(connection) if number == BY_SCORER else ()
            connection.execute(statements.migration(number, scorers=scorers))
            connection.execute(statements.statement("catalog/schema_version_add"), {"version": number})
    create_views(connection)


def create_views(
    connection: duckdb.DuckDBPyConnection, temporary: bool = False, scorers: Mapping[str, int] = NONE
) -> None:
    """Make the views anew; `temporary` ones live with a connection that may not write. `scorers` (metric -> id) take
    the place of those in use."""
    given = slots(connection, scorers)
    for text in statements.views(**given):
        connection.execute(text.replace("OR REPLACE", "OR REPLACE TEMP") if temporary else text)
    if not temporary:
        mark = statements.statement("catalog/views_mark_set", hash=statements.views_key(**given))
        connection.execute(mark)


def slots(connection: duckdb.DuckDBPyConnection, scorers: Mapping[str, int] = NONE) -> dict[str, Any]:
    """What the views depend on besides their texts: metric -> the id of the scorer that `scores` shows (that of
    `scorers`, else the one in use), metric -> its tier, and the metrics that have columns: those of the registry, and
    those that were scored under another one."""
    found = connection.execute(statements.statement("score/scorers")).fetchall()
    in_use = {metric: id for id, metric, *_, used in found if used} | dict(scorers)
    return {
        "in_use": in_use,
        "tiers": {metric: tier for id, metric, _, _, _, tier, _ in found if in_use.get(metric) == id},
        "columns": list(dict.fromkeys([*metrics.names(), *sorted(in_use)])),
    }


def _scorers(connection: duckdb.DuckDBPyConnection) -> list[tuple[int, str]]:
    """(id, metric) of the scorers of a catalog from before BY_SCORER."""
    return connection.execute(statements.statement("catalog/scorers_before_3")).fetchall()
