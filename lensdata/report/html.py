"""HTML that is escaped unless it was made here: whatever text the catalog holds, it stays text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

VOID = frozenset({"br", "img", "meta"})
# Characters HTML forbids (C0 and C1 controls, lone surrogates), and those that reorder the text around them.
UNSHOWABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)


class Html(str):
    """Markup that `tag` or `join` made; any other text is escaped when it goes into a page."""

    __slots__ = ()


def escape(value: object) -> Html:
    """`value` as text for content or a quoted attribute; None is nothing, 1234 is 1,234."""
    if isinstance(value, Html):
        return value
    if value is None:
        return Html("")
    if isinstance(value, int):
        return Html(f"{value:,}")
    return Html(html.escape(UNSHOWABLE.sub("\N{REPLACEMENT CHARACTER}", str(value))))


def join(parts: Iterable[object], between: str = "") -> Html:
    return Html(escape(between).join(escape(part) for part in parts))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """`<name attributes>children</name>`. A trailing underscore of an attribute's name is dropped, others are
    hyphens; None leaves the attribute out; numbers are written plainly."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def table(headings: list[object], rows: Iterable[list[object]], class_: str | None = None) -> Html:
    """A table whose whole numbers stand to the right, and whose wide content scrolls by itself."""
    head = tag("tr", *(tag("th", heading, scope="col") for heading in headings))
    body = [
        tag("tr", *(tag("td", cell, class_="n" if isinstance(cell, int) else None) for cell in row))
        for row in rows
    ]
    made = tag("table", tag("thead", head), tag("tbody", *body), class_=class_)
    return tag("div", made, class_="wide")
