"""Tables and plots of scripts/miniature, from the rows of its exams."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from catalog.store.parts import write_bytes

Row = dict[str, Any]
Point = tuple[float, float, float, float]  # x, mean, least, most
TARGETS = {0.60: 10, 0.93: 40}  # score: CPU minutes, of the curve
UNSEEN_TARGET = 0.85  # rubric score on sizes that never trained, over that on those that did
COLOURS = ("#2563c9", "#c9542b", "#2f8f5b", "#8a4fb5")
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 640, 340, 56, 40, 46


def write(out: Path, about: Row, rows: Sequence[Row], costs: Sequence[Row]) -> None:
    """results.json, results.md and a plot a part, of all results there are so far."""
    made = {
        name: part([row for row in rows if row["part"] == name])
        for name, part in PARTS.items()
        if any(row["part"] == name for row in rows)
    }
    texts = [f"# The paper in miniature\n\nPreset {about['preset']}"]
    texts[0] += f", {' '.join(about['overrides'])}." if about["overrides"] else "."
    exam = about["exam"]
    texts[0] += f" Exams: 6 x {exam['n']} prompts, guidance {exam['guidance']:g}, {exam['steps']} steps."
    texts[0] += " CPU minutes of training on one thread; least and most over the seeds in brackets."
    for name, (text, svg, _) in made.items():
        write_bytes(out / f"{name}.svg", svg.encode())
        texts.append(f"{text}\n\n![{name}]({name}.svg)")
    texts.append(f"## What comes before training\n\n{_costs(costs)}")
    write_bytes(out / "results.md", ("\n\n".join(texts) + "\n").encode())
    summary = {name: found for name, (_, _, found) in made.items()}
    value = {"about": about, "summary": summary, "costs": list(costs), "exams": list(rows)}
    write_bytes(out / "results.json", json.dumps(value, indent=1).encode())


# the parts: rows -> (text, plot, numbers)


def curve(rows: Sequence[Row], world: str = "shapes on the grid") -> tuple[str, str, Row]:
    groups = _by(rows, lambda row: row["step"] / row["max_steps"])
    cells: list[list[object]] = []
    series: dict[str, list[Point]] = {"score": [], "strict": []}
    for _, some in sorted(groups.items()):
        minutes = _minutes(some)
        cells.append([f"{minutes:.1f}", len(some), *_marks(some), *_tasks(some)])
        for name, key in (("score", "overall"), ("strict", "strict")):
            values = [row[key] for row in some]
            series[name].append((minutes, fmean(values), min(values), max(values)))
    tasks = list(rows[0]["tasks"])
    text = f"## Pre-training curve, {world}\n\n" + _table(
        ["CPU minutes", "seeds", "score", "strict", "rubrics", *tasks], cells
    )
    passed = {target: _crossed(series["score"], target) for target in TARGETS}
    for target, minutes in TARGETS.items():
        at = passed[target]
        told = (
            "not reached"
            if at is None
            else f"passed at {at:.1f} CPU minutes (between exams on a straight line)"
        )
        text += f"\n\nScore {target:.2f} (wanted at {minutes}): {told}."
    return (
        text,
        lines(series, "CPU minutes", f"Score, {world}", list(TARGETS)),
        {"curve": series, "passed": passed},
    )


def free(rows: Sequence[Row]) -> tuple[str, str, Row]:
    return curve(rows, "shapes anywhere")


def captions(rows: Sequence[Row]) -> tuple[str, str, Row]:
    cells, bars_, found = [], {}, {}
    for variant, some in _by(_last(rows), lambda row: row["variant"]).items():
        forms = _by(some, lambda row: row["form"])
        seeds = _by(some, lambda row: row["seed"])
        best = [max(row["overall"] for row in of_seed) for of_seed in seeds.values()]
        scores = {form: [row["overall"] for row in of_form] for form, of_form in forms.items()}
        bars_[variant] = {f"{form} prompts": _point(values) for form, values in sorted(scores.items())[::-1]}
        found[variant] = {**{form: fmean(values) for form, values in scores.items()}, "better": fmean(best)}
        shown = [_spread(scores[form]) if form in scores else "" for form in ("dense", "brief")]
        cells.append(
            [variant, len(seeds), some[0]["max_steps"], f"{_minutes(some):.1f}", *shown, _spread(best)]
        )
    head = [
        "captions",
        "seeds",
        "steps",
        "CPU minutes",
        "score, dense prompts",
        "score, brief prompts",
        "better of both",
    ]
    text = "## Captions, at equal steps\n\n" + _table(head, cells)
    return text, bars(bars_, "Score by training captions"), found


def sizes(rows: Sequence[Row]) -> tuple[str, str, Row]:
    cells, bars_ = [], {}
    last = _last(rows)
    for (seen, width, height), some in sorted(
        _by(last, lambda row: (row["trained_size"], row["width"], row["height"])).items(), reverse=True
    ):
        cells.append([f"{width}x{height}", "yes" if seen else "no", len(some), *_marks(some)])
        bars_[f"{width}x{height}{'' if seen else ' *'}"] = {
            "rubrics": _point([row["rubrics"] for row in some])
        }
    means = {
        key: {
            seen: fmean([row[key] for row in last if row["trained_size"] == seen] or [0.0])
            for seen in (True, False)
        }
        for key in ("rubrics", "overall", "strict")
    }
    ratio = {key: mean[False] / mean[True] if mean[True] else None for key, mean in means.items()}
    text = f"## Sizes and aspects, after {_minutes(last):.1f} CPU minutes\n\n" + _table(
        ["size", "trained", "seeds", "score", "strict", "rubrics"], cells
    )
    told = {key: "none" if value is None else f"{value:.3f}" for key, value in ratio.items()}
    text += f"\n\nNever trained over trained: rubrics {told['rubrics']} (wanted {UNSEEN_TARGET}), "
    text += f"score {told['overall']}."
    return text, bars(bars_, "Rubrics that pass, by size (* never trained)"), {"unseen_over_seen": ratio}


def encoder(rows: Sequence[Row]) -> tuple[str, str, Row]:
    return _variants(rows, "features", "Layers of the language encoder")


def recipe(rows: Sequence[Row]) -> tuple[str, str, Row]:
    return _variants(rows, "settings", "What makes it learn")


def _variants(rows: Sequence[Row], what: str, title: str) -> tuple[str, str, Row]:
    cells, bars_, found = [], {}, {}
    for variant, some in _by(_last(rows), lambda row: row["variant"]).items():
        cells.append([variant, len(some), some[0]["max_steps"], f"{_minutes(some):.1f}", *_marks(some)])
        bars_[variant] = {key: _point([row[name] for row in some]) for key, name in MARKS.items()}
        found[variant] = fmean(row["overall"] for row in some)
    text = f"## {title}, at equal steps\n\n" + _table(
        [what, "seeds", "steps", "CPU minutes", "score", "strict", "rubrics"], cells
    )
    return text, bars(bars_, title), found


PARTS: dict[str, Callable[[Sequence[Row]], tuple[str, str, Row]]] = {
    "curve": curve, "captions": captions, "sizes": sizes, "encoder": encoder, "recipe": recipe, "free": free,
}  # fmt: skip
MARKS = {"score": "overall", "strict": "strict", "rubrics": "rubrics"}


# numbers


def _by(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _last(rows: Sequence[Row]) -> list[Row]:
    """Those of the runs' ends."""
    return [row for row in rows if row["step"] == row["max_steps"]]


def _minutes(rows: Sequence[Row]) -> float:
    return fmean(row["cpu_seconds"] for row in rows) / 60 if rows else 0.0


def _point(values: Sequence[float]) -> tuple[float, float, float]:
    return fmean(values), min(values), max(values)


def _spread(values: Sequence[float]) -> str:
    mean, least, most = _point(values)
    return f"{mean:.3f}" + (f" ({least:.3f}-{most:.3f})" if len(values) > 1 else "")


def _marks(rows: Sequence[Row]) -> list[str]:
    return [_spread([row[key] for row in rows]) for key in MARKS.values()]


def _tasks(rows: Sequence[Row]) -> list[str]:
    return [f"{fmean(row['tasks'][task] for row in rows):.2f}" for task in rows[0]["tasks"]]


def _crossed(points: Sequence[Point], target: float) -> float | None:
    """Where a curve from (0, 0) through the points first reaches `target`, on straight lines; None if it does not."""
    x0 = y0 = 0.0
    for x, y, *_ in points:
        if y >= target:
            return x0 + (x - x0) * (target - y0) / (y - y0)
        x0, y0 = x, y
    return None


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines_ = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines_)


def _costs(costs: Sequence[Row]) -> str:
    cells = []
    for cost in costs:
        each = f"{1e3 * cost['encode_seconds'] / cost['encoded']:.0f}" if cost["encoded"] else "-"
        encoding = [cost["encoded"], f"{cost['encode_seconds'] / 60:.1f}", each]
        cells.append([cost["data"], cost["encoder_layers"], *encoding, f"{cost['once_seconds']:.0f}",
                      f"{1e3 * cost['step_seconds']:.0f}"])  # fmt: skip
    head = ["data", "encoder layers", "captions encoded", "minutes", "ms a caption", "CPU s to decode all pictures",
            "CPU ms a step"]  # fmt: skip
    return (
        "Encoding is not part of the training minutes: every caption is encoded once for all runs (wall clock; "
        f"captions that were there from other data are not counted again).\n\n{_table(head, cells)}"
    )


# plots


def lines(series: Mapping[str, Sequence[Point]], x_label: str, title: str, marks: Sequence[float]) -> str:
    """Curves in [0, 1] with a band from least to most, and dashed lines at `marks`."""
    far = max((point[0] for points in series.values() for point in points), default=0.0) or 1.0
    tick = next(t for t in (0.1, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000) if far / t <= 9)
    inner, base = WIDTH - LEFT - 90, HEIGHT - BOTTOM

    def x(value: float) -> float:
        return LEFT + inner * value / far

    made = _frame(title, LEFT + inner)
    for i in range(int(far / tick) + 1):
        made.append(_text(x(i * tick), base + 16, f"{i * tick:g}"))
    made.append(_text(LEFT + inner / 2, base + 36, x_label))
    for mark in marks:
        made.append(
            f'<path d="M{LEFT} {_y(mark):.1f}H{LEFT + inner}" stroke="#777" stroke-dasharray="5 4" fill="none"/>'
        )
        made.append(_text(LEFT + inner + 6, _y(mark) + 4, f"{mark:.2f}", "start"))
    for colour, points in zip(COLOURS, series.values(), strict=False):
        band = [(p[0], p[2]) for p in points] + [(p[0], p[3]) for p in reversed(points)]
        made.append(f'<polygon points="{_path(band, x)}" fill="{colour}" opacity="0.18"/>')
        made.append(
            f'<polyline points="{_path([p[:2] for p in points], x)}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        made += [f'<circle cx="{x(p[0]):.1f}" cy="{_y(p[1]):.1f}" r="3" fill="{colour}"/>' for p in points]
    return _svg(made + _legend(list(series)), title)


def bars(groups: Mapping[str, Mapping[str, tuple[float, float, float]]], title: str) -> str:
    """Groups of bars in [0, 1], (mean, least, most) each."""
    inner, base = WIDTH - LEFT - 20, HEIGHT - BOTTOM
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    each = inner / max(len(groups), 1)
    thick = min(40.0, 0.8 * each / max(len(names), 1))
    made = _frame(title, LEFT + inner)
    for i, (label, group) in enumerate(groups.items()):
        middle = LEFT + each * (i + 0.5)
        made.append(_text(middle, base + (16 if i % 2 == 0 or len(groups) < 7 else 32), label))
        for name, (mean, least, most) in group.items():
            left = middle + thick * (names.index(name) - len(names) / 2)
            colour, y = COLOURS[names.index(name) % len(COLOURS)], _y(mean)
            made.append(
                f'<rect x="{left:.1f}" y="{y:.1f}" width="{thick * 0.92:.1f}" height="{base - y:.1f}" fill="{colour}"/>'
            )
            x = left + thick * 0.46
            made.append(
                f'<path d="M{x:.1f} {_y(least):.1f}V{_y(most):.1f}" stroke="#222" stroke-width="1.5"/>'
            )
    return _svg(made + _legend(names), title)


def _y(value: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value


def _path(points: Iterable[Sequence[float]], x: Callable[[float], float]) -> str:
    return " ".join(f"{x(p[0]):.1f},{_y(p[1]):.1f}" for p in points)


def _frame(title: str, right: float) -> list[str]:
    made = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>', _text(LEFT, 18, title, "start", 14)]
    for tenth in range(0, 11, 2):
        y = _y(tenth / 10)
        made.append(f'<path d="M{LEFT} {y:.1f}H{right:.0f}" stroke="{"#222" if not tenth else "#ddd"}"/>')
        made.append(_text(LEFT - 8, y + 4, f"{tenth / 10:.1f}", "end"))
    return made


def _legend(names: Sequence[str]) -> list[str]:
    made = []
    for i, name in enumerate(names):
        x = LEFT + 120 * i
        made.append(f'<rect x="{x}" y="25" width="10" height="10" fill="{COLOURS[i % len(COLOURS)]}"/>')
        made.append(_text(x + 15, 34, name, "start"))
    return made


def _text(x: float, y: float, text: str, anchor: str = "middle", size: int = 11) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{text}</text>'


def _svg(made: Sequence[str], label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" '
        f'aria-label="{label}" font-family="sans-serif" fill="#222">{"".join(made)}</svg>\n'
    )
