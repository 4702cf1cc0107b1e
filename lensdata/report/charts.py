"""Charts as inline SVG. Colours are classes of the style sheet, which knows light from dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lensdata.report.axes import BINS, Axis
from lensdata.report.html import Html, tag

WIDTH, HEIGHT = 720, 190
LEFT, RIGHT, TOP, BOTTOM = 52, 26, 22, 24
LEAST = 1.5  # a bar that stands for anything at all is this high, so that it is seen
FUNNEL_WIDTH, FUNNEL_BAR = 300, 7


def histogram(
    axis: Axis,
    counts: Mapping[int, tuple[int, int]],
    thresholds: Sequence[tuple[float, str]],
    label: str,
    names: tuple[str, str] = ("kept", "dropped"),
) -> Html:
    """Bars by `counts`, bin -> (kept, dropped), and lines by `thresholds`, (value, label); named `label`."""
    inner, base = WIDTH - LEFT - RIGHT, HEIGHT - BOTTOM
    tallest = max((sum(pair) for pair in counts.values()), default=0)
    scale = (base - TOP) / max(tallest, 1)
    made = [_line(LEFT, base, WIDTH - RIGHT, base, "axis"), _line(LEFT, TOP, WIDTH - RIGHT, TOP, "grid")]
    made += [_text(LEFT - 6, TOP + 4, f"{tallest:,}", "end"), _text(LEFT - 6, base, "0", "end")]
    for number, (kept, dropped) in sorted(counts.items()):
        tip = f"{axis.edge(number):.4g} to {axis.edge(number + 1):.4g}: {kept:,} {names[0]}"
        tip += f", {dropped:,} {names[1]}" if dropped else ""
        y = float(base)
        bars = []
        for count, class_ in ((kept, "kept"), (dropped, "dropped")):
            if count:
                height = max(count * scale, LEAST)
                y -= height
                bars.append(_rect(LEFT + inner * number / BINS + 0.5, y, inner / BINS - 1, height, class_))
        made.append(tag("g", tag("title", tip), *bars))
    for value, text in _spaced(axis, inner):
        x = LEFT + inner * axis.at(value)
        made += [_line(x, base, x, base + 4, "axis"), _text(x, base + 17, text)]
    for n, (value, text) in enumerate(thresholds):
        x = LEFT + inner * axis.at(value)
        close = n and abs(axis.at(value) - axis.at(thresholds[n - 1][0])) < 0.2
        at_end = "end" if axis.at(value) > 0.8 else "start" if axis.at(value) < 0.2 else "middle"
        made += [
            _line(x, TOP - 6, x, base, "threshold"),
            _text(x, 10 if not close else TOP + 6, text, at_end, "mark"),
        ]
    return _svg(WIDTH, HEIGHT, label, made, "chart")


def funnel_bars(images: int, values: Sequence[tuple[str, int]]) -> Html:
    """One thin bar for each of `values` (class, count), against `images` as the full width."""
    made = []
    for row, (class_, count) in enumerate(values):
        width = max(FUNNEL_WIDTH * count / max(images, 1), LEAST if count else 0)
        y = row * (FUNNEL_BAR + 1)
        made.append(_rect(0, y, FUNNEL_WIDTH, FUNNEL_BAR, "track"))
        if count:
            made.append(_rect(0, y, width, FUNNEL_BAR, class_))
    label = ", ".join(f"{class_.replace('-', ' ')} {count:,}" for class_, count in values)
    return _svg(FUNNEL_WIDTH, len(values) * (FUNNEL_BAR + 1), label, made, "bars")


def _spaced(axis: Axis, inner: float) -> list[tuple[float, str]]:
    """The ticks whose labels do not touch."""
    shown: list[tuple[float, str]] = []
    end = -1e9
    for value, text in axis.ticks:
        x, half = inner * axis.at(value), 3.5 * len(text) + 4
        if x - half >= end:
            shown.append((value, text))
            end = x + half
    return shown


def _svg(width: float, height: float, label: str, children: Sequence[object], class_: str) -> Html:
    return tag(
        "svg", *children, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=label, class_=class_
    )


def _rect(x: float, y: float, width: float, height: float, class_: str) -> Html:
    return tag(
        "rect", x=f"{x:.2f}", y=f"{y:.2f}", width=f"{width:.2f}", height=f"{height:.2f}", class_=class_
    )


def _line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    return tag("line", x1=f"{x1:.2f}", y1=f"{y1:.2f}", x2=f"{x2:.2f}", y2=f"{y2:.2f}", class_=class_)


def _text(x: float, y: float, text: str, anchor: str = "middle", class_: str | None = None) -> Html:
    return tag("text", text, x=f"{x:.2f}", y=f"{y:.2f}", text_anchor=anchor, class_=class_)
