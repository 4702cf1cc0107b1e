"""`lensdata report`: the state of a catalog as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from catalog import Catalog
from catalog.errors import BadInput
from catalog.select import Selection
from catalog.store import parts
from lensdata.report import score_sections, sections
from lensdata.report.facts import Facts, gather
from lensdata.report.html import Html, escape, join, tag
from lensdata.report.sections import Pictures

# What the page may load: its own style and data: images. Nothing it holds can run or call out.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


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
    each, 0 leaves out all pictures. Memory does not grow with the catalog.

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
    shown = _pictures(facts)
    with parts.atomic(out) as file:
        for piece in _page(catalog, selection, facts, shown):
            file.write(piece.encode() + b"\n")
    return ReportSummary(
        path=out,
        bytes=out.stat().st_size,
        images=facts.overview["images"],
        selected=facts.selected,
        thumbnails=sum(picture.thumbnail is not None for picture in shown.values()),
        unreadable=sum(picture.thumbnail is None for picture in shown.values()),
    )


def _pictures(facts: Facts) -> Pictures:
    if not facts.images:
        return {}
    from lensdata.report.pictures import pictures  # it loads OpenCV

    return pictures(facts.images)


def _page(catalog: Catalog, selection: Selection, facts: Facts, shown: Pictures) -> Iterator[Html]:
    style = Html((Path(__file__).parent / "style.css").read_text(encoding="utf-8"))
    yield Html('<!DOCTYPE html>\n<html lang="en">')
    yield tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"Catalog report: {catalog.root.name}"),
        tag("style", style),
    )
    yield Html("<body>")
    yield tag("header", tag("h1", "Catalog report"), _about(catalog, selection, facts), _contents())
    for name, title, pieces in _sections(facts, shown):
        yield Html(f'<section id="{name}">')
        yield tag("h2", title)
        yield from pieces
        yield Html("</section>")
    yield Html("</body>\n</html>")


TITLES = {
    "overview": "Images",
    "funnel": "Funnel",
    "scores": "Scores",
    "duplicates": "Near-duplicates",
    "captions": "Captions",
    "buckets": "Buckets",
    "failures": "Failures",
}


def _sections(facts: Facts, shown: Pictures) -> Iterator[tuple[str, str, Iterator[Html]]]:
    scores = (piece for found in facts.measured for piece in score_sections.score(found, shown))
    bodies = {
        "overview": sections.overview(facts),
        "funnel": sections.funnel(facts),
        "scores": scores,
        "duplicates": sections.duplicates(facts, shown),
        "captions": sections.captions(facts, shown),
        "buckets": sections.buckets(facts),
        "failures": sections.failures(facts),
    }
    for name, body in bodies.items():
        yield name, TITLES[name], body


def _about(catalog: Catalog, selection: Selection, facts: Facts) -> Html:
    thresholds = [
        f"{name} {'off' if value is None else format(value, ',g' if abs(value) < 1e5 else ',.0f')}"
        for name, value in selection.thresholds.items()
    ]
    thresholds.append("near-duplicates dropped" if selection.dedup else "near-duplicates kept")
    lines = [
        ("Catalog", tag("code", catalog.root)),
        ("State", f"version {facts.overview['version']:,}, read {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("Selection", join(thresholds, ", ")),
    ]
    if selection.sources:
        kinds = [f"{kind} (weight {weight:g})" for kind, weight in selection.sources.items()]
        lines.append(("Sources", join(kinds, ", ")))
    if selection.where:
        lines.append(("Condition", join([tag("code", selection.where), " (not counted in the funnel)"])))
    return tag("dl", *(join([tag("dt", name), tag("dd", escape(value))]) for name, value in lines))


def _contents() -> Html:
    return tag("nav", *(tag("a", title, href=f"#{name}") for name, title in TITLES.items()))
