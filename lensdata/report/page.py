"""The report's page: templates/ filled with facts and pictures. Whatever text the catalog holds, it stays text.

The charts are SVG by a macro (templates/charts.html.j2) and no plotting library's. Ours takes its colours from classes
that the style sheet gives a light and a dark value, shows counts by <title> without a script, and is the same for the
same catalog. Of the libraries tried, matplotlib 3.11 (43 MB besides what the base install has) and altair 6 with
vl-convert (100 MB) write fixed colours into every mark and no titles; pygal 3.1 (2 MB) has classes, but its tooltips
are a script's, and every chart, of 50 KB, brings a style sheet and the date.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from catalog.metrics import HEADER
from catalog.select import Selection, remedy
from lensdata.report.axes import BINS, written
from lensdata.report.facts import Facts, Row

# Characters HTML forbids (C0 and C1 controls, lone surrogates), and those that reorder the text around them.
UNSHOWABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)
LONG_TEXT = 400  # characters of a reason that are shown


def page(root: Path, selection: Selection, facts: Facts, pictures: Mapping[int, Row]) -> str:
    """The whole page on the catalog at `root`; `pictures` by image_id."""
    template = environment().get_template("page.html.j2")
    return template.render(
        root=root, selection=selection, facts=facts, pictures=pictures, now=datetime.now(UTC)
    )


@cache
def environment() -> jinja2.Environment:
    """What the templates are filled by: every value is escaped, a misspelt name is an error."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("lensdata.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=showable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(HEADER=HEADER, BINS=BINS, remedy=remedy)
    made.filters.update(n="{:,}".format, bytes=_bytes, clip=_clip, code=_code, number=_number, value=_value)
    return made


def showable(value: Any) -> Any:
    """`value` without characters a page cannot show; None is nothing. What a template made is left as it is."""
    if value is None:
        return ""
    if isinstance(value, Markup):
        return value
    return UNSHOWABLE.sub("\N{REPLACEMENT CHARACTER}", str(value))


def _value(value: float, metric: Any) -> str:
    return written(metric, value, 4)


def _number(value: float | None) -> str:
    return "off" if value is None else format(value, ",g" if abs(value) < 1e5 else ",.0f")


def _clip(text: str | None, letters: int = LONG_TEXT) -> str:
    text = text or ""
    return text[:letters] + " …" if len(text) > letters else text


def _code(text: str) -> Markup:
    """What stands in backticks as code."""
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(showable(text)))))


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"
