"""Escaping, axes and bars for any value."""

from __future__ import annotations

import math
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from lensdata.report.axes import BINS, axis, linear
from lensdata.report.charts import funnel_bars, histogram
from lensdata.report.html import UNSHOWABLE, escape, join, table, tag
from lensdata.report.metrics import METRICS


class Seen(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.starts: list[str] = []
        self.title: str | None = None
        self.data = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.starts.append(tag)
        self.title = dict(attrs).get("title")

    def handle_data(self, data: str) -> None:
        self.data += data


@given(st.text(alphabet=st.characters(), max_size=60))
def test_any_text_stays_text(text: str) -> None:
    seen = Seen(tag("div", text, title=text))
    shown = UNSHOWABLE.sub("\N{REPLACEMENT CHARACTER}", text)
    assert seen.starts == ["div"]
    assert (seen.data, seen.title) == (shown, shown)
    tag("div", text).encode()


def test_what_was_made_is_not_escaped_twice() -> None:
    inner = tag("b", "a < b")
    assert tag("p", inner, " & ", None, 1234) == "<p><b>a &lt; b</b> &amp; 1,234</p>"
    assert join(["<", inner], ", ") == "&lt;, <b>a &lt; b</b>"
    assert escape(inner) is inner
    assert '<td class="n">1,000</td><td>1000</td>' in table(["n", "text"], [[1000, "1000"]])


POSITIVE = st.floats(1e-6, 1e9)


@given(st.sampled_from(METRICS), POSITIVE, POSITIVE, st.lists(POSITIVE, max_size=2))
def test_an_axis_holds_its_values_and_thresholds(
    metric, first: float, second: float, thresholds: list[float]
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
    assert "nan" not in histogram(drawn, {0: (3, 0), BINS - 1: (0, 1)}, [(t, "t") for t in thresholds], "x")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
def test_linear_axis_has_round_ticks(values: list[float]) -> None:
    drawn = linear(values)
    slack = 1e-8 * (drawn.high - drawn.low)
    assert drawn.low - slack <= min(values) and max(values) <= drawn.high + slack
    assert 2 <= len(drawn.ticks) <= 13


def test_a_bar_that_counts_anything_is_seen() -> None:
    bars = funnel_bars(10**9, [("left-over", 1), ("dropped", 0)])
    assert bars.count("<rect") == 3 and 'width="1.50"' in bars and "left over 1, dropped 0" in bars
    drawn = linear([0, 10])
    chart = histogram(drawn, {0: (10**9, 0), 5: (1, 0)}, [], "x")
    assert 'height="1.50"' in chart
