"""The contract between the data engine and the trainer: one catalog that knows every image.

`catalog.open(path)` gives a `Catalog`; `.sql(...)` queries it, `.select(...)` picks images by thresholds and
`Selection.manifest(name)` fixes the choice for ever. Training reads manifests, never the database.
"""

from catalog.errors import BadInput, LensError
from catalog.store import Catalog, open

__all__ = ["BadInput", "Catalog", "LensError", "open"]
