"""What a listing shows to be gone: places in tars that were rewritten, files that were deleted from folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from types import TracebackType

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from catalog import Catalog
from catalog.store import parts
from lensdata.sources import Item, Survey
from lensdata.sources.item import IMAGE_SUFFIXES, held

SEEN = pa.schema([("uri", pa.string())])
REWRITTEN = "the tar was rewritten and holds no image at this place any more"
DELETED = "it is gone from the folder it was listed in"


class Seen:
    """The uris that listings met, in a file: of ten million images they would not fit a small machine's memory."""

    def __init__(self, root: Path) -> None:
        folder = root / "parts"
        self.path = folder / f"ingest-seen.{os.getpid()}{parts.TEMPORARY}"  # swept after a killed job

    def __enter__(self) -> Seen:
        self._writer = pq.ParquetWriter(self.path, SEEN, compression="zstd")
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.close()
        self.path.unlink(missing_ok=True)

    def add(self, items: Iterable[Item]) -> None:
        uris = dict.fromkeys(item.uri for item in items)
        self._writer.write_table(pa.table({"uri": list(uris)}, SEEN))

    def close(self) -> None:
        """End the file, so that it can be read."""
        self._writer.close()


def find_gone(catalog: Catalog, survey: Survey, seen: Seen) -> pl.DataFrame:
    """What finished listings did not find again: image_id, the file_size and file_mtime_ns to record, and the
    status_reason."""
    seen.close()
    found = [
        frame.select("image_id", "file_size", "file_mtime_ns", status_reason=pl.lit(reason))
        for frame, reason in (
            (_rewritten(catalog, survey), REWRITTEN), (_deleted(catalog, survey, seen), DELETED),
        )
        if not frame.is_empty()
    ]  # fmt: skip
    return pl.concat(found).unique("image_id", keep="first", maintain_order=True) if found else pl.DataFrame()


def _rewritten(catalog: Catalog, survey: Survey) -> pl.DataFrame:
    if not survey.tars:
        return pl.DataFrame()
    rows = [(uri, *map(held, facts)) for uri, facts in survey.tars.items()]
    schema = {"uri": pl.String, "file_size": pl.Int64, "file_mtime_ns": pl.Int64}
    tars = pl.DataFrame(rows, schema=schema, orient="row")
    return catalog.query("ingest/gone", {}, {"tars": tars})


def _deleted(catalog: Catalog, survey: Survey, seen: Seen) -> pl.DataFrame:
    """What is known below the listed folders, was not met and is truly gone."""
    if not survey.roots:
        return pl.DataFrame()
    prefixes = [f"{root.rstrip('/')}/" for root in survey.roots]
    roots = pl.DataFrame({"prefix": prefixes})
    unseen = catalog.query("ingest/unseen", {"seen": str(seen.path)}, {"roots": roots})
    unlisted = set(survey.unlisted)
    gone = [uri for uri in unseen["uri"].unique() if _is_gone(uri, prefixes, unlisted)]
    return unseen.filter(pl.col("uri").is_in(gone))


def _is_gone(uri: str, prefixes: list[str], unlisted: set[str]) -> bool:
    """Whether what a listing did not meet is gone, rather than kept where listings do not go: in hidden folders,
    behind links, below a folder that could not be read or is empty as an unmounted disk is, named by a table alone."""
    prefix = next(prefix for prefix in prefixes if uri.startswith(prefix))
    below = uri.removeprefix(prefix)
    if unlisted and (
        uri in unlisted or any(f"{prefix}{parent}" in unlisted for parent in PurePosixPath(below).parents)
    ):
        return False
    if uri.startswith("/"):
        try:
            return stat.S_ISDIR(os.stat(uri).st_mode)  # noqa: PTH116 (a Path for every one costs more)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
    suffix = PurePosixPath(below).suffix.lower()
    return not any(part.startswith(".") for part in below.split("/")) and (
        suffix in IMAGE_SUFFIXES or suffix == ".tar"
    )
