"""Axes for any value."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from catalog.metrics import AREA, METRICS, Metric
from lensdata.report.axes import BINS, axis, linear, written

POSITIVE = st.floats(1e-6, 1e9)


@given(st.sampled_from((AREA, *METRICS)), POSITIVE, POSITIVE, st.lists(POSITIVE, max_size=2))
def test_an_axis_holds_its_values_and_thresholds(
    metric: Metric, first: float, second: float, thresholds: list[float]
) -> None:
    low, high = sorted((first, second))
    drawn = axis(metric, low, high, thresholds)
    assert drawn.low < drawn.high and all(math.isfinite(value) for value, _ in drawn.ticks)
    assert 1 <= len(drawn.ticks) <= 40
    for value in (low, high, *thresholds):
        assert 0 <= drawn.at(value) <= 1
        number = min(int(drawn.at(value) * BINS), BINS - 1)
        if drawn.log or (drawn.low <= value <= drawn.high):
            assert value <= drawn.edge(number + 1) * (1 + 1e-9)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
def test_linear_axis_has_round_ticks(values: list[float]) -> None:
    drawn = linear(values)
    slack = 1e-8 * (drawn.high - drawn.low)
    assert drawn.low - slack <= min(values) and max(values) <= drawn.high + slack
    assert 2 <= len(drawn.ticks) <= 13
    digits = {f"{abs(b[0] - a[0]):.6e}"[0] for a, b in zip(drawn.ticks, drawn.ticks[1:], strict=False)}
    assert digits <= {"1", "2", "5"}


@given(st.lists(POSITIVE, min_size=1, max_size=3), st.sampled_from((AREA, *METRICS)))
def test_labels_that_are_shown_do_not_touch(values: list[float], metric: Metric) -> None:
    drawn = axis(metric, min(values), max(values), [])
    shown = drawn.labels(642)
    assert set(shown) <= set(drawn.ticks) and shown
    for (a, text), (b, following) in pairwise(shown):
        assert 642 * (drawn.at(b) - drawn.at(a)) >= 3.5 * (len(text) + len(following))


def test_ticks_are_named_as_a_reader_expects() -> None:
    of_areas = axis(AREA, 100 * 100, 1024 * 1024, [384 * 384])
    assert [text for _, text in of_areas.ticks] == ["64²", "128²", "256²", "512²", "1024²"]
    decades = axis(Metric("x", "X", "units", log=True), 0.2, 3_000_000, [])
    assert [text for _, text in decades.ticks][::4] == ["0.1", "1,000", "10,000,000"]
    many = axis(Metric("x", "X", "units", log=True), 1e-9, 10.0, [])
    assert many.ticks[0][1] == "1e-07" and len(many.ticks) == 9  # what is smaller counts in the first bin
    assert [text for _, text in linear([0, 1]).ticks] == [
        "0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1",
    ]  # fmt: skip
    assert (written(AREA, 384 * 384), written(AREA, 142_749), written(METRICS[0], 0.123456, 4)) == (
        "384²", "142,749", "0.1235",
    )  # fmt: skip
