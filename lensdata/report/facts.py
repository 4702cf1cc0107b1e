"""Everything the report says, read from the catalog by read-only queries whose answers are small: counts,
bins and the few images to show, however many images there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from catalog import Catalog, metrics
from catalog.metrics import Metric
from catalog.select import Selection
from catalog.store import statements
from lensdata.report.axes import BINS, Axis, axis, linear

Row = dict[str, Any]

REASONS = 3  # examples a state or a metric shows
GROUPS = 20  # sources and formats
CLUSTERS, CLUSTER_MEMBERS = 10, 8
EXAMPLES, EXAMPLE_LETTERS = 6, 600
TOOLTIP_LETTERS = 300
FAILURES = 200


@dataclass(frozen=True)
class Sheet:
    """The images nearest to one threshold: rows of (image_id, value, kept), nearest first."""

    threshold: float
    is_max: bool
    rows: list[Row] | None  # None: not asked for


@dataclass(frozen=True)
class Measured:
    """One metric: how far it has come, by whom, and how its values lie. `axis` is None if there are none."""

    metric: Metric
    states: Row
    scorers: list[Row]
    errors: list[Row]
    axis: Axis | None
    bins: dict[int, tuple[int, int]]
    sheets: list[Sheet]


@dataclass(frozen=True)
class Style:
    """The captions of one style: their counts, their words in bins, a few examples."""

    summary: Row
    axis: Axis | None
    bins: dict[int, tuple[int, int]]
    examples: list[Row]


@dataclass(frozen=True)
class Facts:
    overview: Row
    status: list[Row]
    sources: list[Row]
    formats: list[Row]
    funnel: list[Row]
    measured: list[Measured]
    duplicates: Row
    dedup_settings: str | None
    clusters: dict[int, list[Row]]
    captions: list[Style]
    buckets: list[Row]
    failures: list[Row]
    images: list[Row]  # those to picture

    @property
    def selected(self) -> int:
        return sum(row["selected"] for row in self.buckets)


def gather(catalog: Catalog, selection: Selection, thumbs: int) -> Facts:
    """Ask the catalog. `thumbs` images are chosen on either side of each threshold."""

    def rows(name: str, **params: Any) -> list[Row]:
        return catalog.named(f"report/{name}", **params).to_dicts()

    measured = [_measured(catalog, selection, metric, thumbs) for metric in (metrics.AREA, *metrics.METRICS)]
    clusters: dict[int, list[Row]] = {}
    for row in rows("clusters", clusters=CLUSTERS, shown=CLUSTER_MEMBERS):
        clusters.setdefault(row["cluster_id"], []).append(row)
    captions = [_style(catalog, row) for row in rows("captions")]
    settings = catalog.named("dedup/settings")
    bucketed = statements.statement("report/buckets", selected=selection.query)
    shown = {row["image_id"] for row in _shown(measured, clusters, captions)} if thumbs else set()
    images = rows("images", ids=sorted(shown), letters=TOOLTIP_LETTERS) if shown else []
    return Facts(
        overview=rows("overview")[0],
        status=rows("status", examples=REASONS),
        sources=rows("sources", shown=GROUPS),
        formats=rows("formats", shown=GROUPS),
        funnel=selection.funnel().to_dicts(),
        measured=measured,
        duplicates=rows("duplicates")[0],
        dedup_settings=settings.item() if len(settings) else None,
        clusters=clusters,
        captions=captions,
        buckets=catalog.sql(bucketed, **selection.parameters).to_dicts(),
        failures=rows("failures", shown=FAILURES),
        images=images,
    )


def _shown(measured: list[Measured], clusters: dict[int, list[Row]], captions: list[Style]) -> Iterator[Row]:
    for found in measured:
        for sheet in found.sheets:
            yield from sheet.rows or ()
    for members in clusters.values():
        yield from members
    for style in captions:
        yield from style.examples


def _measured(catalog: Catalog, selection: Selection, metric: Metric, thumbs: int) -> Measured:
    def rows(name: str, **params: Any) -> list[Row]:
        values = statements.statement("report/values", metric=metric.name)
        return catalog.named(f"report/{name}", {"values": values}, **params).to_dicts()

    least, most = (selection.thresholds.get(f"{end}_{metric.name}") for end in ("min", "max"))
    thresholds = [(value, is_max) for value, is_max in ((least, False), (most, True)) if value is not None]
    states = rows("states", min=least, max=most)[0]
    errors = rows("errors", shown=REASONS) if states["failed"] else []
    if states["highest"] is None:
        return Measured(metric, states, [], errors, None, {}, [])
    positive = states["lowest_positive"] or 1.0
    lowest, highest = (
        (positive, max(states["highest"], positive)) if metric.log else (states["lowest"], states["highest"])
    )
    drawn = axis(metric, lowest, highest, [value for value, _ in thresholds])
    found = rows("histogram", min=least, max=most, lo=drawn.low, hi=drawn.high, log=drawn.log, bins=BINS)
    bins = {row["bin"]: (row["kept"], row["dropped"]) for row in found}
    sheets = []
    for value, is_max in thresholds:
        near = rows("sheet", threshold=value, is_max=is_max, shown=thumbs) if thumbs else None
        sheets.append(Sheet(value, is_max, near))
    scorers = rows("scorers") if metric is not metrics.AREA else []
    return Measured(metric, states, scorers, errors, drawn, bins, sheets)


def _style(catalog: Catalog, summary: Row) -> Style:
    if not summary["captions"]:
        return Style(summary, None, {}, [])
    style = summary["style"]
    width = max(-(-(summary["nearly_all"] + 1) // BINS), 1)
    found = catalog.named("report/caption_words", style=style, bins=BINS, width=width).iter_rows()
    examples = catalog.named("report/caption_examples", style=style, letters=EXAMPLE_LETTERS, shown=EXAMPLES)
    ticks = linear([0, width * BINS]).ticks
    drawn = Axis(0, width * BINS, False, tuple(tick for tick in ticks if tick[0] <= width * BINS))
    return Style(summary, drawn, {number: (count, 0) for number, count in found}, examples.to_dicts())
