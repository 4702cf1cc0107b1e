"""The report's sections: facts and pictures in, HTML out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from catalog.buckets import ASPECTS, BUCKETS
from lensdata.report.charts import funnel_bars, histogram
from lensdata.report.facts import REASONS, Facts, Row, Style
from lensdata.report.html import Html, join, table, tag
from lensdata.report.pictures import Picture

Pictures = Mapping[int, Picture]
LONG_TEXT = 400  # characters of a reason that a table shows


def p(*children: object, class_: str | None = None) -> Html:
    return tag("p", *children, class_=class_)


def overview(facts: Facts) -> Iterator[Html]:
    """How many images there are, in what state, from where."""
    whole = facts.overview
    tiles = [
        ("images", f"{whole['images']:,}"),
        ("readable", f"{whole['readable']:,}"),
        ("selected", f"{facts.selected:,}"),
        ("bytes of images", _bytes(whole["bytes"])),
    ]
    yield tag(
        "div", *(tag("div", tag("b", value), tag("span", name)) for name, value in tiles), class_="tiles"
    )
    if not whole["images"]:
        yield p("The catalog holds no image yet: ", tag("code", "lensdata ingest FOLDER"), " adds some.")
        return
    yield tag("h3", "By status")
    states = [
        [row["status"], row["images"], _share(row["images"], whole["images"]), _examples(row)]
        for row in facts.status
    ]
    yield table(["status", "images", "share", "commonest reasons"], states)
    for name, rows in (("source", facts.sources), ("format", facts.formats)):
        yield tag("h3", f"By {name}")
        lines: list[list[object]] = [[row["name"], row["images"], row["readable"]] for row in rows]
        rest = whole["images"] - sum(row["images"] for row in rows)
        if rest:
            unread = whole["readable"] - sum(row["readable"] for row in rows)
            lines.append([tag("i", "all others"), rest, unread])
        yield table([name, "images", "readable"], lines)


def funnel(facts: Facts) -> Iterator[Html]:
    """What each rule keeps and drops at the selection's thresholds."""
    kinds = ("left-over", "dropped", "only-this", "unmeasured")
    swatches = [join([tag("i", class_=f"swatch {kind}"), " ", kind.replace("-", " ")]) for kind in kinds]
    rows: list[list[object]] = []
    for row in facts.funnel:
        counts = [row[kind.replace("-", "_")] for kind in kinds]
        bars = funnel_bars(row["images"], list(zip(kinds, counts, strict=True)))
        rows.append([row["rule"], *counts, bars])
    yield p(
        "The rules in their order. Left over: after this rule and those above it. Dropped: what fails it, "
        "whatever the other rules say. Only this: what no other rule would have dropped. Unmeasured: "
        "readable, but without a value yet; it counts as dropped."
    )
    yield table(["rule", *swatches, "of all images"], rows, class_="funnel")


def duplicates(facts: Facts, shown: Pictures) -> Iterator[Html]:
    """The largest clusters, each its keeper and the members least like it."""
    whole = facts.duplicates
    if not whole["images"]:
        yield p("Nothing is deduplicated yet: run ", tag("code", "lensdata dedup"), ".")
        return
    yield p(
        f"Of {whole['images']:,} images compared, {whole['dropped']:,} are copies of {whole['clusters']:,} "
        f"keepers: {whole['by_bytes']:,} have the same bytes, {whole['by_pixels']:,} the same pixels, "
        f"{whole['by_embedding']:,} a near-identical embedding."
    )
    if facts.dedup_settings:
        settings = tag("code", facts.dedup_settings)
        yield p(
            "Its part (stage, catalog version, embedding model, least cosine): ", settings, class_="quiet"
        )
    if whole["clusters"] > len(facts.clusters):
        yield p(f"The largest {len(facts.clusters)} of {whole['clusters']:,} clusters:")
    for members in facts.clusters.values():
        total = members[0]["members"]
        rest = (
            f"the {len(members) - 1} least alike of {total - 1:,} copies are shown"
            if total > len(members)
            else ""
        )
        yield tag("h3", f"{total:,} images", tag("small", rest))
        figures = []
        for row in members:
            note = "keeper" if row["is_keeper"] else f"{row['similarity']:.4f} {row['reason'] or ''}"
            figures.append(_figure(row["image_id"], note, shown, "keeper" if row["is_keeper"] else None))
        yield tag("div", *figures, class_="sheet")


def captions(facts: Facts, shown: Pictures) -> Iterator[Html]:
    """Words per caption and a few examples, by style."""
    if not facts.captions:
        yield p("There is no caption yet: run ", tag("code", "lensdata caption"), ".")
    for style in facts.captions:
        yield from _captions(style, shown)


def _captions(style: Style, shown: Pictures) -> Iterator[Html]:
    whole = style.summary
    yield tag("h3", f"Style {whole['style']}")
    yield p(
        f"{whole['captions']:,} captions of {whole['images']:,} images, {whole['failed']:,} failed; by ",
        tag("bdi", whole["models"]), ".",
    )  # fmt: skip
    if style.axis is None:
        return
    yield p(f"Words: {whole['lowest']:,} to {whole['highest']:,}, median {whole['median']:,}.")
    beyond = whole["highest"] >= style.axis.high
    yield tag(
        "figure",
        histogram(style.axis, style.bins, [], f"words of {whole['style']} captions", ("captions", "")),
        tag(
            "figcaption",
            "words a caption",
            "; the last bar counts all that are longer, too" if beyond else "",
        ),
    )
    yield p("A random few:")
    for row in style.examples:
        cut = tag("span", f" … {row['cut']:,} characters more", class_="quiet") if row["cut"] else ""
        text = tag("blockquote", tag("bdi", row["text"]), cut)
        yield tag("div", _figure(row["image_id"], f"{row['words']:,} words", shown), text, class_="example")


def buckets(facts: Facts) -> Iterator[Html]:
    """The 27 buckets: images in each, and how many of them the selection takes."""
    counts = {(row["base"], row["aspect"]): row for row in facts.buckets}
    sizes = {(bucket.base, bucket.aspect): bucket.name for bucket in BUCKETS}
    bases = sorted({bucket.base for bucket in BUCKETS})
    most = max((row["images"] for row in facts.buckets), default=0)
    lines: list[list[object]] = []
    for aspect in ASPECTS:
        line: list[object] = [tag("b", aspect)]
        for base in bases:
            row = counts.get((base, aspect)) or {"images": 0, "selected": 0}
            heat = round(100 * row["images"] / most) if most else 0
            cell = [
                tag("b", row["images"]),
                tag("span", f"{row['selected']:,} selected"),
                tag("small", sizes[base, aspect].replace("x", "×")),
            ]
            line.append(tag("div", *cell, class_="bucket", style=f"--heat:{heat}%"))
        lines.append(line)
    yield p("Images in each bucket by aspect and base, and how many of them the selection takes.")
    yield table(["aspect", *(f"base {base}" for base in bases)], lines, class_="buckets")
    without = counts.get((None, None))
    if without and without["selected"]:
        yield p(
            f"{without['selected']:,} selected images have no bucket yet: run ",
            tag("code", "lensdata bucket"),
            ".",
        )


def failures(facts: Facts) -> Iterator[Html]:
    """Every image that is not plainly ok, with its reason, up to a limit that is stated."""
    total = sum(row["images"] for row in facts.status if row["status"] != "ok")
    if not total:
        yield p("No image failed.")
        return
    rows = [
        [
            _plain(row["image_id"]),
            row["status"],
            _reason(row["reason"]),
            row["source"],
            row["format"],
            _place(row),
        ]
        for row in facts.failures
    ]
    yield table(["image", "status", "reason", "source", "format", "where"], rows, class_="failures")
    if total > len(rows):
        command = tag("code", "lensdata query \"FROM images WHERE status <> 'ok'\"")
        yield p(tag("b", f"{total - len(rows):,} more of {total:,}"), " are not shown here; all: ", command)


def _figure(image_id: int, note: str, shown: Pictures, class_: str | None = None) -> Html:
    """One thumbnail, or a placeholder with the reason; its tooltip: the file, the size, the caption."""
    picture = shown.get(image_id)
    label = tag("figcaption", tag("b", f"#{image_id}"), " ", note)
    if picture is None:
        return tag("figure", label, class_=class_)
    tip = "\n".join(filter(None, [f"{picture.uri} ({picture.size})", picture.caption, picture.reason]))
    if picture.thumbnail is None:
        image = tag("div", f"no picture: {picture.reason}"[:LONG_TEXT], class_="placeholder")
    else:
        image = tag("img", src=picture.thumbnail, alt=f"image {image_id}")
    return tag("figure", image, label, title=tip, class_=class_)


def sheet(rows: Sequence[Row], title: str, show: Any, shown: Pictures) -> Html:
    """A titled row of thumbnails with their values."""
    figures = [_figure(row["image_id"], show(row["value"]), shown) for row in rows]
    return join(
        [tag("h4", title), tag("div", *figures, class_="sheet") if figures else p("none", class_="quiet")]
    )


def _examples(row: Row) -> Html:
    found = row["examples"] or []
    more = row["reasons"] - len(found)
    lines = [tag("div", _reason(reason)) for reason in found[:REASONS]]
    return join([*lines, tag("div", f"and {more:,} other reasons", class_="quiet") if more > 0 else ""])


def _reason(reason: str | None) -> Html:
    text = reason or ""
    return tag("bdi", text[:LONG_TEXT] + " …" if len(text) > LONG_TEXT else text)


def _place(row: Row) -> Html:
    inside = f" at byte {row['byte_offset']:,}" if row["byte_offset"] else ""
    return tag("bdi", PurePath(row["uri"]).name + inside, title=row["uri"])


def _plain(image_id: int) -> Html:
    return tag("span", f"{image_id}")


def _share(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.1f}%"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.4g} {unit}"
