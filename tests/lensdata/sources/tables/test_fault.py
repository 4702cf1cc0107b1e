"""Rows that cannot be read as they stand: no text is cut in silence, and the ingest's last line counts them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import catalog
from lensdata.ingest import ingest
from lensdata.sources.lists import img2dataset
from tests.conftest import ROOT
from tests.helpers import png
from tests.lensdata.sources.lists.web import serve

MORE, FEWER = "more fields than the header", "fewer fields than the header"
QUOTES = "a text that holds the delimiter stands in quotes"


@pytest.fixture
def opened(tmp_path: Path) -> catalog.Catalog:
    return catalog.open(tmp_path / "catalog")


def photos(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for n, name in enumerate(names):
        (folder / name).write_bytes(png(n))
    return folder


def found(opened: catalog.Catalog) -> dict[str, tuple]:
    rows = opened.sql("SELECT uri, alt_text, dense_text, alt_error FROM images").rows()
    return {Path(row[0]).name: row[1:] for row in rows}


def wrong(reason: str) -> str:
    return f"its row of the table: {reason}"


@pytest.mark.parametrize("named_itself", [False, True])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "filename,caption\na.png,a red car, on a street\nb.png\nc.png,fine,,\n"),
        ("t.csv", "filename;caption\na.png;one; two\nb.png\nc.png;fine;;\n"),
        ("t.tsv", "filename\tcaption\na.png\tone\ttwo\nb.png\nc.png\tfine\t\t\n"),
        ("t.csv", "caption,filename\na red car, on a street,a.png\nb\nfine,c.png,,\n"),
    ],
)
def test_a_row_with_fields_too_many_or_few(
    opened: catalog.Catalog, tmp_path: Path, name: str, content: str, named_itself: bool, caplog
) -> None:
    folder = photos(tmp_path / "f", "a.png", "b.png", "c.png")
    table = folder / name
    table.write_text(content)
    done = ingest(opened, [table if named_itself else folder], workers=1)
    assert done.rows_unused == {MORE: 1, FEWER: 1} and not done.texts_unused
    assert str(done).endswith(f"; 2 rows of tables not used (1 {FEWER}, 1 {MORE})")
    texts = found(opened)
    assert texts["c.png"] == ("fine", None, None)
    assert texts["a.png"] == (None, None, wrong(f"{MORE} (line 2: 3 instead of 2, {QUOTES})"))
    if content.startswith("file"):  # else the row does not say whose it is
        assert texts["b.png"] == (None, None, wrong(f"{FEWER} (line 3: 1 instead of 2)"))
    assert f"rows of tables that are not used: {MORE}: 1 (such as {table}, line 2: 3 instead" in caplog.text
    again = ingest(opened, [table if named_itself else folder], workers=1)
    assert again.rows_unused == done.rows_unused and again.added == again.updated == 0


def test_a_known_image_is_told_of_too_and_keeps_its_text(opened: catalog.Catalog, tmp_path: Path) -> None:
    folder = photos(tmp_path / "f", "a.png", "b.png")
    (folder / "a.txt").write_text("of the sidecar")
    ingest(opened, [folder], workers=1)
    (tmp_path / "t.csv").write_text(
        "path,dense_caption\nf/a.png,a dog, running\nf/b.png,fine\nsome, f/where,x\n"
    )
    done = ingest(opened, [tmp_path / "t.csv"], workers=1)
    assert (done.added, done.updated, done.rows_unused) == (0, 1, {MORE: 2})  # nothing is listed as missing
    assert found(opened) == {"a.png": ("of the sidecar", None, None), "b.png": (None, "fine", None)}


@pytest.mark.parametrize("named_itself", [False, True])
def test_the_good_lines_of_json_are_used(
    opened: catalog.Catalog, tmp_path: Path, named_itself: bool, caplog
) -> None:
    folder = photos(tmp_path / "f", "a.png", "b.png", "c.png")
    table = folder / "metadata.jsonl"
    table.write_text(
        f'{{"file_name": "a.png", "text": "one", "id": {"9" * 5000}}}\n{{oh\n{{"file_name": "b.png", "text": "two"}}\n'
        + "[" * 100_000
        + "\n[5]\n"
    )
    done = ingest(opened, [table if named_itself else folder], workers=1)
    texts = found(opened)
    assert texts["a.png"] == ("one", None, None) and texts["b.png"] == ("two", None, None)
    assert done.rows_unused == {
        "not JSON": 1, "JSON that is nested too deeply": 1, "not an object of JSON": 1,
    }  # fmt: skip
    assert f"not JSON: 1 (such as {table}, line 2: Expecting property name" in caplog.text
    assert "nested too deeply: 1 (such as" in caplog.text and "line 4" in caplog.text


def test_a_table_that_cannot_be_read_on_is_on_the_last_line(opened: catalog.Catalog, tmp_path: Path) -> None:
    folder = photos(tmp_path / "f", "a.png", "b.png")
    (folder / "t.csv").write_text('filename,caption\na.png,one\nb.png,"two\n')
    done = ingest(opened, [folder], workers=1)
    assert done.tables_unused == 1 and str(done).endswith("; 1 tables of texts not used")


@pytest.mark.parametrize("named_itself", [False, True])
def test_two_columns_of_one_name(opened: catalog.Catalog, tmp_path: Path, named_itself: bool, caplog) -> None:
    folder = photos(tmp_path / "f", "a.png")
    table = folder / "t.csv"
    table.write_text("filename,caption,caption,dense\na.png,one,two,three\n")
    done = ingest(opened, [table if named_itself else folder], workers=1)
    assert found(opened) == {"a.png": (None, "three", None)}
    assert done.tables_unused == 1
    assert f"(rename all but one): 1 (such as {table}, which has 'caption' more than once)" in caplog.text


def test_rows_of_lists(opened: catalog.Catalog, tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setenv(
        img2dataset.VARIABLE, f"{sys.executable} {ROOT / 'tests' / 'fakes' / 'img2dataset.py'}"
    )
    with serve() as web:
        web.pages |= {"a.png": png(1), "b.png": png(2)}
        path = tmp_path / "l.csv"
        path.write_text(
            f"url,caption\n{web.url('a.png')},fine\n{web.url('cut')},a, b\n{web.url('b.png')}\n"
            "data:image/png;base64,xx,q\n"
        )
        done = ingest(opened, [path], workers=1)
        assert not web.asked["cut"]
        again = ingest(opened, [path], workers=1)
    rows = opened.sql("SELECT url, alt_text, alt_error FROM images ORDER BY image_id").rows()
    assert rows == [
        (web.url("a.png"), "fine", None),
        (web.url("b.png"), None, wrong(f"{FEWER} (line 4: 1 instead of 2)")),
    ]
    assert done.rows_unused == again.rows_unused == {MORE: 2, FEWER: 1}
    assert f"{MORE}: 2 (such as {path}, line 3: 3 instead of 2, {QUOTES})" in caplog.text
