"""What a listing shows to be gone: places in tars that were rewritten, files that were deleted from folders."""

from __future__ import annotations

import os
import stat
from pathlib import PurePosixPath

import polars as pl

from catalog import Catalog
from lensdata.listing import Listing
from lensdata.sources.item import IMAGE_SUFFIXES, held

REWRITTEN = "the tar was rewritten and holds no image at this place any more"
DELETED = "it is gone from the folder it was listed in"


def find_gone(catalog: Catalog, listing: Listing) -> pl.DataFrame:
    """What finished listings did not find again: image_id, the file_size and file_mtime_ns to record, and the
    status_reason."""
    found = [
        frame.select("image_id", "file_size", "file_mtime_ns", status_reason=pl.lit(reason))
        for frame, reason in (
            (_rewritten(catalog, listing), REWRITTEN), (_deleted(catalog, listing), DELETED),
        )
        if not frame.is_empty()
    ]  # fmt: skip
    return pl.concat(found).unique("image_id", keep="first", maintain_order=True) if found else pl.DataFrame()


def _rewritten(catalog: Catalog, listing: Listing) -> pl.DataFrame:
    if not listing.survey.tars:
        return pl.DataFrame()
    rows = [(listing.place(uri), *map(held, facts)) for uri, facts in listing.survey.tars.items()]
    schema = {"uri": pl.String, "file_size": pl.Int64, "file_mtime_ns": pl.Int64}
    tars = pl.DataFrame(rows, schema=schema, orient="row")
    return catalog.query("ingest/gone", {}, {"tars": tars})


def _deleted(catalog: Catalog, listing: Listing) -> pl.DataFrame:
    """What is known below the listed folders, was not met and is truly gone."""
    survey = listing.survey
    if not survey.roots or not listing.pages:
        return pl.DataFrame()
    prefixes = [f"{root.rstrip('/')}/" for root in survey.roots]
    roots = pl.DataFrame({"prefix": prefixes})
    unseen = catalog.query("ingest/unseen", {"pages": list(map(str, listing.pages))}, {"roots": roots})
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


def found_again(catalog: Catalog) -> list[int]:
    """The ids of images whose bytes have turned up at another place, and that are where they were no more."""
    found: list[int] = []
    there: dict[str, bool] = {}
    for image_id, uri, missing in catalog.named("ingest/settle/twins").iter_rows():
        if missing or (uri.startswith("/") and not _there(uri, there)):
            found.append(image_id)
    return found


def _there(uri: str, known: dict[str, bool]) -> bool:
    """Whether a file exists, or may; of a tar that is asked once."""
    if uri not in known:
        known.clear()  # the rows of a tar follow each other
        try:
            os.stat(uri)  # noqa: PTH116
            known[uri] = True
        except (FileNotFoundError, NotADirectoryError):
            known[uri] = False
        except OSError:
            known[uri] = True
    return known[uri]
