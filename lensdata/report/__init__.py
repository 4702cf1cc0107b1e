"""`lensdata report`: the state of a catalog as one HTML file that needs nothing else.

facts.py asks the catalog, pictures.py makes thumbnails, page.py fills the templates with both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from catalog import Catalog
from catalog.errors import BadInput
from catalog.select import Selection
from catalog.store import parts
from lensdata.report.facts import gather
from lensdata.report.page import page
from lensdata.report.pictures import pictures


@dataclass(frozen=True)
class ReportSummary:
    """What was written: the file and its bytes, images in the catalog, images selected, thumbnails shown, and
    images that should have had one but could not be read."""

    path: Path
    bytes: int
    images: int
    selected: int
    thumbnails: int
    unreadable: int


def report(
    catalog: Catalog, out: Path, selection: Selection | None = None, thumbs: int = 12
) -> ReportSummary:
    """Write the report on `catalog` to the file `out` (replaced whole, or left as it was).

    `selection` gives the thresholds (default: the defaults); `thumbs` images are shown on either side of
    each, 0 leaves out all pictures. Whatever the catalog's size, only counts and those images are held here.

    Raises BadInput if `out` is no .html file in an existing folder, or `thumbs` is negative.
    """
    out = Path(out).expanduser().absolute()
    if out.suffix.lower() not in (".html", ".htm"):
        raise BadInput(f"{out} does not end in .html; name the report like report.html")
    if out.is_dir() or not out.parent.is_dir():
        wrong = f"{out} is a folder" if out.is_dir() else f"the folder {out.parent} does not exist"
        raise BadInput(f"{wrong}; name a file in a folder that exists with --out")
    if thumbs < 0:
        raise BadInput(f"there cannot be {thumbs} thumbnails; 0 leaves them out")
    selection = selection or catalog.select()
    facts = gather(catalog, selection, thumbs)
    shown = pictures(facts.images)
    with parts.atomic(out) as file:
        file.write(page(catalog.root, selection, facts, shown).encode())
    thumbnails = sum(picture["thumbnail"] is not None for picture in shown.values())
    return ReportSummary(
        path=out,
        bytes=out.stat().st_size,
        images=facts.overview["images"],
        selected=facts.selected,
        thumbnails=thumbnails,
        unreadable=len(shown) - thumbnails,
    )
