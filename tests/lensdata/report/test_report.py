"""The report on a small real catalog: images ingested, scores committed as their stage does."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import catalog
from catalog import Catalog, metrics
from catalog.errors import BadInput
from catalog.metrics import Metric, Rule
from catalog.store import parts
from lensdata import scorers
from lensdata.bucket import bucket
from lensdata.caption import FromSource, caption
from lensdata.ingest import ingest
from lensdata.models import ScorerId
from lensdata.report import report
from tests.helpers import commit_scores

MARKUP = "<script>alert(1)</script> \"quoted\" & 'so' on"
VOID = {"meta", "img", "br"}
SIZES = [(520, 520), (700, 400), (100, 90), (384, 384), (300, 700), (1100, 1050), (640, 480), (400, 380)]


class Page(HTMLParser):
    """Checks that every element is closed in order, and keeps what the tests ask about."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in <{tag}>"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("\n".join(self.words).split())

    def images(self) -> list[str]:
        return [attrs["src"] or "" for tag, attrs in self.tags if tag == "img"]


def rows_of(page: str, class_: str) -> list[list[str]]:
    """The cells' texts of the body of the table of that class."""
    table = re.search(rf'<table class="{class_}">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    assert table is not None
    rows = re.findall(r"<tr>(.*?)</tr>", table[1], re.DOTALL)
    return [
        [re.sub(r"<[^>]+>", " ", cell).strip() for cell in re.findall(r"<td.*?>(.*?)</td>", row, re.DOTALL)]
        for row in rows
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 images, two of them equal, one with markup for a caption and a name; two damaged files."""
    root = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(7)
    for number in range(16):
        width, height = SIZES[number % len(SIZES)]
        small = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR)
        name = "<b>x&y'.png" if number == 3 else f"{number:02}.{'jpg' if number % 2 else 'png'}"
        image.save(root / name)
        if number != 5:
            text = MARKUP if number == 3 else " ".join(["word"] * (number + 1))
            (root / name).with_suffix(".txt").write_text(text)
    (root / "14.png").write_bytes((root / "00.png").read_bytes())
    (root / "broken.png").write_bytes(b"not an image at all")
    (root / "cut.jpg").write_bytes((root / "01.jpg").read_bytes()[:40])
    return root


@pytest.fixture(scope="module")
def scored(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    found = catalog.open(tmp_path_factory.mktemp("whole") / "catalog")
    ingest(found, [folder], workers=1)
    bucket(found)
    caption(found, FromSource())
    ids = found.sql("SELECT image_id FROM images WHERE status = 'ok' ORDER BY image_id")["image_id"].to_list()
    rows: dict[int, dict[str, float | str | None]] = {
        image_id: {
            "nsfw": n / 16, "aesthetic": 1 + n / 4, "watermark": (n % 4) / 4,
            "clarity": 0.0 if n == 0 else 4.0**n / 64, "entropy": n / 2, "luminance": 0.01 + n / 16,
        }
        for n, image_id in enumerate(ids)
    }  # fmt: skip
    rows[ids[2]]["aesthetic"] = "the model <gave> up"
    rows[ids[4]]["watermark"] = None
    commit_scores(found, rows)
    # A second scorer of one metric, that has come less far: it stands beside the one in use.
    commit_scores(found, {ids[0]: {"nsfw": 0.99}, ids[1]: {"nsfw": "no <idea>"}}, scorer="another/<one>")
    keepers = [ids[0] if image_id in ids[:9] else image_id for image_id in ids]
    clusters = pl.DataFrame(
        {
            "image_id": ids,
            "keeper_id": keepers,
            "similarity": [1.0 - n / 1000 if n < 9 else 1.0 for n in range(len(ids))],
            "reason": [None if i == k else "embedding" for i, k in zip(ids, keepers, strict=True)],
        },
        schema={"image_id": pl.Int64, "keeper_id": pl.Int64, "similarity": pl.Float32, "reason": pl.String},
    )
    part = parts.write(found.root, "dedup", "dedup-00000009-light-net-0.985", clusters)
    found.commit_part("dedup", part, ["dedup/clear", "dedup/part"])
    return found


@pytest.fixture(scope="module")
def page(scored: Catalog, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("out") / "report.html"
    report(scored, out, thumbs=3)
    return out.read_text(encoding="utf-8")


def test_well_formed_and_self_contained(page: str) -> None:
    parsed = Page(page)
    for tag, attrs in parsed.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form")
        for name, value in attrs.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "xlink:href", "srcset", "action"):
                assert value is not None and value.startswith(("data:image/jpeg;base64,", "#")), (
                    tag,
                    name,
                    value[:60],
                )
    assert "url(" not in page and "@import" not in page
    targets = {attrs.get("id") for _, attrs in parsed.tags}
    assert {attrs["href"][1:] for tag, attrs in parsed.tags if tag == "a"} <= targets


def test_markup_of_names_captions_and_reasons_stays_text(page: str) -> None:
    parsed = Page(page)
    assert "<script" not in page
    assert MARKUP in parsed.text
    assert "the model <gave> up" in parsed.text
    titles = [attrs["title"] or "" for tag, attrs in parsed.tags if tag == "figure" and attrs.get("title")]
    assert any("<b>x&y'.png" in title and MARKUP in title for title in titles)


def test_thumbnails_are_small_jpegs(page: str) -> None:
    images = Page(page).images()
    assert len(images) > 20
    for source in images[:5]:
        with Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1]))) as image:
            assert image.format == "JPEG" and max(image.size) <= 128


def test_funnel_is_the_selections(scored: Catalog, page: str) -> None:
    found = rows_of(page, "funnel")
    expected = scored.select().funnel()
    assert len(found) == len(expected) == len(metrics.rules())
    for cells, row in zip(found, expected.iter_rows(named=True), strict=True):
        shown = [cells[0], *(int(cell.replace(",", "")) for cell in cells[1:5])]
        assert shown == [row["rule"], row["left_over"], row["dropped"], row["only_this"], row["unmeasured"]]


@pytest.mark.parametrize(
    "rule", [rule for rule in metrics.rules() if rule.metric], ids=lambda rule: rule.name
)
def test_histogram_counts_every_value_once(scored: Catalog, page: str, rule: Rule) -> None:
    metric = rule.metric
    assert metric is not None
    chart = re.search(rf'aria-label="histogram of {metric.title}".*?</svg>', page, re.DOTALL)
    assert chart is not None
    tips = re.findall(r"<title>[^<]*: ([\d,]+) kept(?:, ([\d,]+) dropped)?</title>", chart[0])
    kept, dropped = (sum(int(tip[side] or 0) for tip in tips) for side in (0, 1))
    limits = scored.select().thresholds
    low, high = limits.get(f"min_{metric.name}"), limits.get(f"max_{metric.name}")
    values = scored.sql("FROM trainable")[rule.column].drop_nulls().to_list()
    failing = [v for v in values if (low is not None and v < low) or (high is not None and v > high)]
    assert (kept, dropped) == (len(values) - len(failing), len(failing))
    assert chart[0].count('class="threshold"') == (low is not None) + (high is not None)


def test_states_of_a_metric_are_told_apart(page: str) -> None:
    text = Page(page).text
    assert "15 scored, 1 failed, 0 missing; 2 unreadable and never tried" in text  # aesthetic
    assert "15 scored, 0 failed, 1 missing; 2 unreadable and never tried" in text  # watermark
    assert "Commonest reasons: 1 × the model <gave> up" in text


def test_every_scorer_of_a_metric_is_named(page: str) -> None:
    text = Page(page).text
    assert text.count("Scored by test @ 1 ( 16 images; none; tier test).".replace("( ", "(")) == 4
    assert "Not in use: another/<one> @ 1 (1 images, failed on 1; none; tier test)." in text
    assert text.count("Not in use") == 1
    section = page[page.index('id="score-nsfw"') : page.index('id="score-aesthetic"')]
    assert section.index("Scored by") < section.index("Not in use") < section.index("<svg")


def test_light_models_are_said_to_be_stand_ins(folder: Path, tmp_path: Path) -> None:
    found = catalog.open(tmp_path / "catalog")
    ingest(found, [folder], workers=1)
    named = ("nsfw", "clarity")  # a learned metric and one of a formula
    scorers.register(found, {name: ScorerId(name, "small", "2", "", "light") for name in named})
    report(found, tmp_path / "r.html", thumbs=0)
    text = Page((tmp_path / "r.html").read_text()).text
    assert "Scored by small @ 2 (0 images; light tier: a small stand-in for the model the paper names" in text
    assert "Scored by small @ 2 (0 images; tier light)." in text


def test_a_registered_metric_has_its_section(folder: Path, tmp_path: Path) -> None:
    before = metrics.METRICS
    try:
        metrics.register(Metric("grain", "Grain", "specks & dots", least=3.0, log=True, learned=True))
        found = catalog.open(tmp_path / "catalog")
        ingest(found, [folder], workers=1)
        ids = found.sql("SELECT image_id FROM images WHERE status = 'ok' ORDER BY ALL")["image_id"].to_list()
        commit_scores(found, {image_id: {"grain": float(n)} for n, image_id in enumerate(ids)})
        report(found, tmp_path / "r.html", thumbs=2)
    finally:
        metrics.set_registry(before)
    page = (tmp_path / "r.html").read_text()
    text = Page(
        page[page.index('<h3 id="score-grain"') : page.index('</section>\n<section id="duplicates"')]
    ).text
    assert text.startswith("Grain specks & dots 16 scored, 0 failed, 0 missing")
    assert "the thresholds drop 3 of the values." in text and "at least 3" in text
    assert "specks & dots, logarithmic; the first bar also counts smaller values, down to 0" in text
    assert "min_grain 3" in Page(page).text and [row[0] for row in rows_of(page, "funnel")][9] == "grain"


def test_no_metric_is_named_in_the_report() -> None:
    import lensdata.report

    names = "|".join(
        re.escape(f"{quote}{name}{quote}") for quote in "'\"" for name in [*metrics.names(), "area"]
    )
    files = [
        path for path in Path(lensdata.report.__file__).parent.rglob("*") if path.suffix in (".py", ".j2")
    ]
    assert len(files) > 10
    for path in files:
        assert not re.search(names, path.read_text()), path


def test_contact_sheets_show_the_nearest_on_either_side(scored: Catalog, page: str) -> None:
    section = page[page.index('id="score-nsfw"') : page.index('id="score-aesthetic"')]
    dropped, kept = section.split("<h4>")[1:]
    order = scored.sql("SELECT image_id, nsfw FROM trainable WHERE nsfw IS NOT NULL ORDER BY nsfw")
    above = order.filter(pl.col("nsfw") > 0.5)["image_id"].head(3).to_list()
    below = order.filter(pl.col("nsfw") <= 0.5)["image_id"].tail(3).to_list()[::-1]
    assert "Dropped: nearest above 0.5" in dropped and "Kept: nearest at or below 0.5" in kept
    assert [int(n) for n in re.findall(r"<b>#(\d+)</b>", dropped)] == above
    assert [int(n) for n in re.findall(r"<b>#(\d+)</b>", kept)] == below  # a value at the threshold is kept


def test_status_source_and_failures(scored: Catalog, page: str) -> None:
    rows = rows_of(page, "failures")
    expected = scored.sql("SELECT image_id, status, status_reason FROM images WHERE status <> 'ok'")
    assert sorted((int(row[0]), row[1]) for row in rows) == sorted(
        expected.select("image_id", "status").iter_rows()
    )
    text = Page(page).text
    for reason in expected["status_reason"]:
        assert text.count(" ".join(reason.split())) >= 2  # by status, and in the table of failures
    assert "public-real" in text


def test_duplicates_and_captions(scored: Catalog, page: str) -> None:
    text = Page(page).text
    assert (
        "Of 16 images compared, 8 are copies of 1 keepers: 0 have the same bytes, 0 the same pixels, "
        "8 a near-identical embedding" in text
    )
    assert "9 images the 7 least alike of 8 copies are shown" in text
    assert "0.9920 embedding" in text and "dedup-00000009-light-net-0.985" in text
    assert "15 captions of 15 images, 1 failed; by source" in text


def test_bucket_grid(scored: Catalog, page: str) -> None:
    rows = rows_of(page, "buckets")
    assert [len(row) for row in rows] == [4] * 9
    counts = scored.sql("SELECT base, aspect, count(*) AS n FROM buckets GROUP BY ALL")
    selected = scored.select().frame().group_by("base", "aspect").len()
    assert sum(int(cell.split()[0]) for row in rows for cell in row[1:]) == counts["n"].sum() == 16
    shown = {
        (base, row[0]): tuple(int(n) for n in re.findall(r"\d+", cell)[:2])
        for row in rows
        for base, cell in zip((512, 768, 1024), row[1:], strict=True)
    }
    for base, aspect, n in counts.iter_rows():
        assert shown[base, aspect][0] == n
    for base, aspect, n in selected.iter_rows():
        assert shown[base, aspect][1] == n


def test_selection_moves_the_numbers(scored: Catalog, tmp_path: Path) -> None:
    loose: dict[str, float | None] = dict.fromkeys(scored.select().thresholds)
    loose["max_nsfw"] = 0.25
    chosen = scored.select(**loose, dedup=False, where="width > 300")
    summary = report(scored, tmp_path / "r.html", chosen, thumbs=1)
    page = (tmp_path / "r.html").read_text()
    assert summary.selected == len(chosen.frame()) > 0
    assert page.count('class="threshold"') == 1
    assert "max_nsfw 0.25" in page and "min_area off" in page and "width &gt; 300" in page
    assert "The selection sets no threshold on it." in page


def test_a_picture_that_is_gone_leaves_a_placeholder(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "images"
    copy.mkdir()
    for name in ("00.png", "01.jpg", "02.png"):
        (copy / name).write_bytes((folder / name).read_bytes())
    found = catalog.open(tmp_path / "catalog")
    ingest(found, [copy], workers=1)
    (copy / "00.png").unlink()
    (copy / "01.jpg").write_bytes(b"\xff" * (copy / "01.jpg").stat().st_size)
    summary = report(found, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert (summary.thumbnails, summary.unreadable) == (1, 2)
    assert page.count('class="placeholder"') == 2 * 2  # at the thresholds of the area and of the elongation
    assert "00.png does not exist" in page
    Page(page)


def test_unscored_catalog_says_what_to_run(folder: Path, tmp_path: Path) -> None:
    found = catalog.open(tmp_path / "catalog")
    ingest(found, [folder], workers=1)
    summary = report(found, tmp_path / "r.html", thumbs=0)
    text = Page((tmp_path / "r.html").read_text()).text
    assert (summary.images, summary.selected, summary.thumbnails) == (18, 0, 0)
    assert text.count("No image has a value: run lensdata score .") == 6
    assert "0 scored, 0 failed, 16 missing" in text
    assert "run lensdata dedup ." in text and "run lensdata caption (with --from-names" in text


def test_empty_catalog(tmp_path: Path) -> None:
    found = catalog.open(tmp_path / "catalog")
    summary = report(found, tmp_path / "r.html")
    text = Page((tmp_path / "r.html").read_text()).text
    assert summary.images == 0 and "The catalog holds no image yet" in text and "No image failed." in text


def test_failures_beyond_the_limit_are_counted(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(203):
        (images / f"{number:03}.png").write_bytes(b"nothing %d" % number)
    found = catalog.open(tmp_path / "catalog")
    ingest(found, [images], workers=1)
    report(found, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert len(rows_of(page, "failures")) == 200
    assert "3 more of 203" in page


def test_same_catalog_same_report(scored: Catalog, page: str, tmp_path: Path) -> None:
    report(scored, tmp_path / "again.html", thumbs=3)
    again = (tmp_path / "again.html").read_text()
    undated = [re.sub(r"read \d{4}-\d\d-\d\d \d\d:\d\d UTC", "", text) for text in (page, again)]
    assert undated[0] == undated[1]


@pytest.mark.parametrize("name", ["report.txt", "missing/report.html", "folder.html"])
def test_a_place_that_cannot_be_written_is_bad_input(scored: Catalog, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(BadInput) as caught:
        report(scored, tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_failing_report_leaves_the_old_one(scored: Catalog, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    out.write_text("old")
    with pytest.raises(BadInput):
        report(scored, out, scored.select(where="no_such_column > 1"))
    assert out.read_text() == "old" and [path.name for path in tmp_path.iterdir()] == ["r.html"]
