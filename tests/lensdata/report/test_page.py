"""The templates with any text and any counts."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from lensdata.report.axes import BINS, linear
from lensdata.report.facts import Limit
from lensdata.report.page import UNSHOWABLE, environment

FIGURE = '{% from "pictures.html.j2" import figure with context %}{{ figure(7, note, "keeper") }}'
HISTOGRAM = (
    '{% from "charts.html.j2" import histogram %}'
    '{{ histogram(axis, bins, "what & why", limits, metric, kept="captions") }}'
)
BARS = (
    '{% from "charts.html.j2" import bars %}{{ bars(row, {"left_over": "left over", "dropped": "dropped"}) }}'
)


def filled(source: str, **values: object) -> str:
    return environment().from_string(source).render(**values)


class Seen(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.starts: list[str] = []
        self.titles: list[str] = []
        self.data = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.starts.append(tag)
        self.titles += [value or "" for name, value in attrs if name == "title"]

    def handle_data(self, data: str) -> None:
        self.data += data


@given(*[st.text(alphabet=st.characters(), min_size=1, max_size=60)] * 4)
def test_any_text_stays_text(uri: str, caption: str, reason: str, note: str) -> None:
    row = {"uri": uri, "width": 3, "height": 4, "caption": caption, "reason": reason, "thumbnail": None}
    page = filled(FIGURE, pictures={7: row}, note=note)
    page.encode()
    shown = {text: UNSHOWABLE.sub("\N{REPLACEMENT CHARACTER}", text) for text in (uri, caption, reason, note)}
    seen = Seen(page)
    assert seen.starts == ["figure", "div", "figcaption", "b"]
    assert seen.titles == [f"{shown[uri]} (3×4)\n{shown[caption]}\n{shown[reason]}"]
    assert f"no picture: {shown[reason]}" in seen.data and f"#7 {shown[note]}" in seen.data


def test_what_reorders_or_ends_text_is_replaced() -> None:
    for character in "\0\x1b\x7f\x85\u202e\u2066\ufffe\ud800":
        assert filled("<p>{{ text }}</p>", text=f"a{character}b") == "<p>a\N{REPLACEMENT CHARACTER}b</p>"
    assert filled("{{ text }}", text="שלום 图\t\n") == "שלום 图\t\n"


def test_markup_of_the_templates_is_not_escaped_twice() -> None:
    assert (
        filled("{{ text | code }}", text="run `a <b>` & `c`")
        == "run <code>a &lt;b&gt;</code> &amp; <code>c</code>"
    )
    assert (
        filled("<p>{{ nothing }}{{ n | n }} {{ text }}</p>", nothing=None, n=1234, text="a < b")
        == "<p>1,234 a &lt; b</p>"
    )


def test_numbers_as_they_are_read() -> None:
    sizes = [filled("{{ n | bytes }}", n=n) for n in (0, 999, 1000, 17_918_000, 5e12, 5e16)]
    assert sizes == ["0 B", "999 B", "1 kB", "17.92 MB", "5 TB", "5e+04 TB"]
    limits = [filled("{{ n | number }}", n=n) for n in (None, 0.985, 147456.0, 1234567.0)]
    assert limits == ["off", "0.985", "147,456", "1,234,567"]
    assert (
        filled("{{ t | clip }}", t="x" * 401) == "x" * 400 + " …" and filled("{{ t | clip }}", t=None) == ""
    )


@given(
    st.dictionaries(
        st.integers(0, BINS - 1), st.tuples(st.integers(0, 10**9), st.integers(1, 10**9)), min_size=1
    ),
    st.lists(st.floats(0, 10), max_size=2),
)
def test_a_histogram_stands_in_its_frame(counts: dict[int, tuple[int, int]], values: list[float]) -> None:
    from catalog.metrics import METRICS

    bins = [
        {"bin": number, "images": kept + dropped, "kept": kept, "dropped": dropped}
        for number, (kept, dropped) in counts.items()
    ]
    limits = [Limit(end, value, None) for end, value in zip(("min", "max"), values, strict=False)]
    chart = filled(HISTOGRAM, axis=linear([0, 10]), bins=bins, limits=limits, metric=METRICS[0])
    assert 'aria-label="what &amp; why"' in chart and "nan" not in chart
    found = re.findall(r'<rect class="(\w+)" x="(.+?)" y="(.+?)" width="(.+?)" height="(.+?)"/>', chart)
    assert len(found) == sum(bool(count) for pair in counts.values() for count in pair)
    for _, *numbers in found:
        x, y, width, height = map(float, numbers)
        # Two bars that stand for little are drawn at their least height, so the pile may be that much too high.
        assert x >= 0 and x + width <= 642 and y >= -1.51 and y + height <= 144.01 and height >= 1.5
    for kept, dropped in counts.values():
        assert f": {kept:,} captions, {dropped:,} dropped</title>" in chart
    assert chart.count('class="threshold"') == len(values)


def test_a_bar_that_counts_anything_is_seen() -> None:
    bars = filled(BARS, row={"images": 10**9, "left_over": 1, "dropped": 0})
    assert (
        bars.count("<rect") == 3 and 'width="1.5"' in bars and 'aria-label="left over 1, dropped 0"' in bars
    )
    assert filled(BARS, row={"images": 0, "left_over": 0, "dropped": 0}).count("<rect") == 2
