"""The contract between the data engine and the trainer: one catalog that knows every image.

`catalog.open(path)` gives a `Catalog`; `.sql(...)` queries it, `.select(...)` picks images by thresholds and
`Selection.manifest(name)` fixes the choice for ever. Training reads manifests, never the database. The catalog raises
and returns; only the commands print.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from catalog.errors import BadInput, LensError

if TYPE_CHECKING:
    from catalog.catalog import Catalog, open

__all__ = ["BadInput", "Catalog", "LensError", "open"]


def __getattr__(name: str) -> Any:
    """The database is loaded when it is asked for: a trainer that reads manifests never does."""
    if name in ("Catalog", "open"):
        from catalog import catalog

        return getattr(catalog, name)
    raise AttributeError(f"module 'catalog' has no attribute {name!r}")
