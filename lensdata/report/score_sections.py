"""One section a score: how far it has come, how its values lie, and what its thresholds keep and drop."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

from catalog.metrics import AREA, Metric
from lensdata.report.charts import histogram
from lensdata.report.facts import Measured, Sheet
from lensdata.report.html import Html, join, tag
from lensdata.report.sections import Pictures, p, sheet

LIGHT = "light tier: a small stand-in for the model the paper names, so read the values with care"


def score(found: Measured, shown: Pictures) -> Iterator[Html]:
    """Counts, scorers, histogram and contact sheets of one metric."""
    metric, states = found.metric, found.states
    yield tag("h3", metric.title, tag("small", metric.unit), id=f"score-{metric.name}")
    yield p(_counts(found))
    if found.errors:
        reasons = join(
            [f"{row['images']:,} × " + (row["reason"] or "no reason given")[:200] for row in found.errors],
            "; ",
        )
        yield p("Commonest reasons: ", reasons, class_="quiet")
    if found.scorers:
        yield from _scorers(found)
    if found.axis is None:
        waiting = states["scored"] + states["failed"] + states["missing"]
        command = "lensdata ingest" if metric.name == "area" or not waiting else "lensdata score"
        yield p("No image has a value: run ", tag("code", command), ".")
        return
    lines = [(sheet.threshold, _line(metric, sheet)) for sheet in found.sheets]
    chart = histogram(found.axis, found.bins, lines, f"histogram of {metric.title}")
    yield tag("figure", chart, tag("figcaption", _below_axis(found)))
    if not found.sheets:
        yield p("The selection sets no threshold on it.", class_="quiet")
    for near in found.sheets:
        if near.rows is None:
            continue
        value = _value(metric, near.threshold)
        where = ("above", "at or below") if near.is_max else ("below", "at or above")
        for kept, word in ((False, where[0]), (True, where[1])):
            rows = [row for row in near.rows if row["kept"] is kept]
            title = f"{'Kept' if kept else 'Dropped'}: nearest {word} {value}"
            yield sheet(rows, title, partial(_value, metric), shown)


def _counts(found: Measured) -> str:
    states = found.states
    if found.metric.name == "area":
        text = f"{states['scored']:,} images of known size, {states['failed']:,} of unknown"
    else:
        text = f"{states['scored']:,} scored, {states['failed']:,} failed, {states['missing']:,} missing"
        if states["unreadable"]:
            text += f"; {states['unreadable']:,} unreadable and never tried"
    return text + (f"; the thresholds drop {states['dropped']:,} of the values." if found.sheets else ".")


def _scorers(found: Measured) -> Iterator[Html]:
    if len(found.scorers) > 1:
        yield p(tag("b", "This column mixes scorers"), ", whose values cannot be compared:", class_="warning")
    for row in found.scorers:
        name = f"{row['name']} @ {row['revision']}" if row["name"] else "a scorer the catalog does not name"
        tier = (
            LIGHT
            if row["tier"] == "light" and found.metric.learned
            else f"tier {row['tier']}"
            if row["tier"]
            else ""
        )
        detail = "; ".join(filter(None, [row["preprocessing"], tier]))
        yield p(
            f"Scored by {name} ({row['images']:,} images",
            f"; {detail}" if detail else "",
            ").",
            class_="quiet",
        )


def _below_axis(found: Measured) -> str:
    text = found.metric.unit + (", logarithmic" if found.metric.log else "")
    axis, lowest = found.axis, found.states["lowest"]
    if axis is not None and axis.log and lowest < axis.edge(0) * (1 - 1e-9):
        text += f"; the first bar also counts smaller values, down to {_value(found.metric, lowest)}"
    return text


def _line(metric: Metric, near: Sheet) -> str:
    return f"{'at most' if near.is_max else 'at least'} {_value(metric, near.threshold)}"


def _value(metric: Metric, value: float) -> str:
    """A value as a reader expects it; an area by the side of its square."""
    if metric is not AREA:
        return f"{value:.4g}"
    side = math.isqrt(int(value))
    return f"{side}²" if side * side == value else f"{int(value):,}"
