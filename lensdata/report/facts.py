"""Everything the report says, read from the catalog by read-only queries whose answers are small: counts,
bins and the few images to show, however many images there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from catalog import Catalog, metrics
from catalog.buckets import ASPECTS, BUCKETS
from catalog.metrics import Rule
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
class Limit:
    """A threshold, `min` or `max`, and the images nearest to it: rows of (image_id, value, kept), nearest first."""

    end: str
    value: float
    near: list[Row] | None  # None: not asked for


@dataclass(frozen=True)
class Measured:
    """The metric of a rule: how far it has come, by whom, and how its values lie; `axis` is None if there are none."""

    rule: Rule
    states: Row
    scorers: list[Row]
    errors: list[Row]
    axis: Axis | None
    bins: list[Row]
    limits: list[Limit]


@dataclass(frozen=True)
class Style:
    """The captions of one style: their counts, their words in bins, a few examples; `axis` is None if all failed."""

    summary: Row
    axis: Axis | None
    bins: list[Row]
    examples: list[Row]


@dataclass(frozen=True)
class Facts:
    overview: Row
    status: list[Row]
    groups: dict[str, list[Row]]  # by source and by format
    funnel: list[Row]
    measured: list[Measured]
    duplicates: Row
    dedup_settings: str | None
    clusters: list[list[Row]]
    captions: list[Style]
    selected: int
    unplaced: int  # selected images without a bucket
    buckets: list[list[Row]]  # by aspect, then by base
    failures: list[Row]
    images: list[Row]  # those to picture


def gather(catalog: Catalog, selection: Selection, thumbs: int) -> Facts:
    """Ask the catalog. `thumbs` images are chosen on either side of each threshold."""

    def rows(name: str, slots: Row | None = None, /, **params: Any) -> list[Row]:
        return catalog.named(f"report/{name}", slots, **params).to_dicts()

    scorers = _scorers(catalog)
    measured = [
        _measured(catalog, selection, rule, scorers, thumbs) for rule in metrics.rules() if rule.metric
    ]
    clusters: dict[int, list[Row]] = {}
    for row in rows("clusters", clusters=CLUSTERS, shown=CLUSTER_MEMBERS):
        clusters.setdefault(row["cluster_id"], []).append(row)
    captions = [_style(catalog, row) for row in rows("captions")]
    settings = catalog.named("dedup/settings")
    placed = rows("buckets", {"selected": selection.query}, **selection.parameters)
    counts = {(row.pop("base"), row.pop("aspect")): row for row in placed}
    near = [row for found in measured for limit in found.limits for row in limit.near or ()]
    near += [row for members in clusters.values() for row in members]
    near += [row for style in captions for row in style.examples]
    shown = sorted({row["image_id"] for row in near}) if thumbs else []
    nothing = {"images": 0, "selected": 0}
    return Facts(
        overview=rows("overview")[0],
        status=rows("status", examples=REASONS),
        groups={by: rows("groups", {"column": by}, shown=GROUPS) for by in ("source", "format")},
        funnel=selection.funnel().to_dicts(),
        measured=measured,
        duplicates=rows("duplicates")[0],
        dedup_settings=settings.item() if len(settings) else None,
        clusters=list(clusters.values()),
        captions=captions,
        selected=sum(row["selected"] for row in counts.values()),
        unplaced=counts.get((None, None), nothing)["selected"],
        buckets=[
            [{"bucket": b, **counts.get((b.base, aspect), nothing)} for b in BUCKETS if b.aspect == aspect]
            for aspect in ASPECTS
        ],
        failures=rows("failures", shown=FAILURES),
        images=rows("images", ids=shown, letters=TOOLTIP_LETTERS) if shown else [],
    )


def _scorers(catalog: Catalog) -> list[Row]:
    """All scorers with the images each has scored and has failed on; of each metric the one in use first."""
    ids = catalog.named("score/scorers")["scorer_id"].to_list()
    return catalog.named("report/scores/scorers", {"scorers": ids}).to_dicts() if ids else []


def _measured(
    catalog: Catalog, selection: Selection, rule: Rule, scorers: list[Row], thumbs: int
) -> Measured:
    metric = rule.metric
    assert metric is not None
    values = statements.statement("report/scores/values", metric=metric, of_header=metric in metrics.HEADER)

    def rows(name: str, **params: Any) -> list[Row]:
        return catalog.named(f"report/scores/{name}", {"values": values}, **params).to_dicts()

    ends = {name.split("_")[0]: selection.thresholds[name] for name in metric.limits}
    both = {end: ends.get(end) for end in ("min", "max")}
    states = rows("states", **both)[0]
    errors = rows("errors", shown=REASONS) if states["failed"] else []
    by = [row for row in scorers if row["metric"] == metric.name]
    if states["highest"] is None:
        return Measured(rule, states, by, errors, None, [], [])
    limits = [
        Limit(
            end,
            value,
            rows("nearest", threshold=value, is_max=end == "max", shown=thumbs) if thumbs else None,
        )
        for end, value in ends.items()
        if value is not None
    ]
    lowest = states["lowest_positive"] if metric.log else states["lowest"]
    drawn = axis(metric, lowest or 0.0, states["highest"], [limit.value for limit in limits])
    bins = rows("histogram", **both, lo=drawn.low, hi=drawn.high, log=drawn.log, bins=BINS)
    return Measured(rule, states, by, errors, drawn, bins, limits)


def _style(catalog: Catalog, summary: Row) -> Style:
    if not summary["captions"]:
        return Style(summary, None, [], [])
    style = summary["style"]
    width = max(-(-(summary["nearly_all"] + 1) // BINS), 1)  # whole words a bin
    ticks = tuple(tick for tick in linear([0, width * BINS]).ticks if tick[0] <= width * BINS)
    words = catalog.named("report/caption_words", style=style, bins=BINS, width=width)
    examples = catalog.named("report/caption_examples", style=style, letters=EXAMPLE_LETTERS, shown=EXAMPLES)
    return Style(summary, Axis(0, width * BINS, False, ticks), words.to_dicts(), examples.to_dicts())
