"""Folders of tables, and folders of lists: one source each."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
import pytest

import catalog
from catalog.errors import BadInput
from lensdata.ingest import ingest
from lensdata.sources import Columns, files, open, open_all
from lensdata.sources.lists import img2dataset
from tests.conftest import ROOT
from tests.helpers import fill, make_tar, png
from tests.lensdata.sources.listing import listed
from tests.lensdata.sources.lists.web import serve

FOUND = "SELECT uri, status, alt_text, url, sha256 FROM images ORDER BY image_id"


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> catalog.Catalog:
    monkeypatch.setenv(
        img2dataset.VARIABLE, f"{sys.executable} {ROOT / 'tests' / 'fakes' / 'img2dataset.py'}"
    )
    return catalog.open(tmp_path / "catalog")


def tables(folder: Path, *contents: dict[str, list]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for n, columns in enumerate(contents):
        pl.DataFrame(columns).write_parquet(folder / f"part-{n}.parquet")
    return folder


def images(first: int, count: int = 2) -> dict[str, list]:
    return {
        "image": [png(n) for n in range(first, first + count)],
        "text": [f"t{n}" for n in range(first, first + count)],
    }


def test_tables_of_a_folder_in_the_order_of_their_names(opened: catalog.Catalog, tmp_path: Path) -> None:
    folder = tables(tmp_path / "t", images(0), images(2))
    tables(folder / "below", images(4))
    (folder / "README.md").write_text("x")
    assert ingest(opened, [folder], workers=1).added == 6
    assert [row[2] for row in opened.sql(FOUND).rows()] == ["t4", "t5", "t0", "t1", "t2", "t3"]
    assert ingest(opened, [folder], workers=1).unchanged == 6
    # A file named alone is the same images, one more is one more to copy.
    before = {path: path.stat().st_mtime_ns for path in (opened.root / "imported").rglob("*.tar")}
    pl.DataFrame(images(6)).write_parquet(folder / "part-2.parquet")
    done = ingest(opened, [folder, folder / "part-1.parquet"], workers=1)
    assert (done.added, done.unchanged) == (2, 6)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_named_table_is_listed_by_its_folder(tmp_path: Path) -> None:
    folder = tables(tmp_path / "t", images(0), images(2))
    assert [source.place for source in open_all([folder / "part-0.parquet", folder])] == [folder]
    fill(folder, 1)  # now its tables are passed over
    given = [folder / "part-0.parquet", folder]
    assert [source.place for source in open_all(given)] == given


def test_lists_of_a_folder_are_downloaded(opened: catalog.Catalog, tmp_path: Path) -> None:
    """As DataComp's metadata are: Parquet with a column of URLs, and .npz beside each."""
    with serve() as web:
        web.pages |= {f"{n}.png": png(n) for n in range(4)}
        lists = [{"uid": ["u"] * 2, "url": [web.url(f"{n}.png"), web.url(f"no{n}.png")], "text": [f"t{n}", None]}
                 for n in range(3)]  # fmt: skip
        folder = tables(tmp_path / "dc", *lists)
        (folder / "part-0.npz").write_bytes(b"x")
        columns = Columns(url="url", text="text")
        assert ingest(opened, [folder], workers=1, columns=columns).added == 6
        rows = opened.sql(FOUND).rows()
        assert [row[1] for row in rows] == ["ok", "missing"] * 3
        assert [row[2] for row in rows] == ["t0", None, "t1", None, "t2", None]
        asked = dict(web.asked)
        assert ingest(opened, [folder], workers=1, columns=columns).unchanged == 6
        assert dict(web.asked) == asked
        web.pages["no1.png"] = png(9)
        assert ingest(opened, [folder], workers=1, columns=columns, retry=True).updated == 1

        (tmp_path / "csv").mkdir()
        for n in (1, 0):
            (tmp_path / "csv" / f"{n}.tsv").write_text(f"URL\tcaption\n{web.url(f'{n}.png?')}\tc{n}\n")
        (tmp_path / "csv" / "2.csv").write_text("url\n")
        (tmp_path / "csv" / "license.txt").write_text("x")
        assert ingest(opened, [tmp_path / "csv"], workers=1).added == 2
        assert [row[2] for row in opened.sql(FOUND).rows()[6:]] == ["c0", "c1"]


def test_what_img2dataset_wrote_is_read_as_tars(opened: catalog.Catalog, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "crawl"
    folder.mkdir()
    for n in range(2):
        make_tar(folder / f"0000{n}.tar", [(f"{n}.jpg", png(n)), (f"{n}.txt", b"t")])
        pl.DataFrame({"url": ["http://127.0.0.1:9/x"], "status": ["success"]}).write_parquet(
            folder / f"0000{n}.parquet"
        )
        (folder / f"0000{n}_stats.json").write_text(json.dumps({"count": 1}))
    assert ingest(opened, [folder], workers=1).added == 2
    assert "tables that tell of the tar of their name passed over: 2" in capsys.readouterr().err
    for tar in folder.glob("*.tar"):  # every download failed
        make_tar(tar, [("a.json", b"{}")])
    with pytest.raises(
        BadInput, match=r"holds no image .* tables that tell of the tar of their name passed over: 2"
    ):
        listed(folder)


def test_one_set_of_columns_is_checked_on_each(tmp_path: Path) -> None:
    odd = tables(tmp_path / "odd", images(0), {"img": [png(1)]})
    urls = tables(tmp_path / "urls", {"url": ["http://127.0.0.1:9/a"]}, {"link": ["http://127.0.0.1:9/a"]})
    mixed = tables(tmp_path / "mixed", images(0), {"url": ["http://127.0.0.1:9/a"]})
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "a.csv").write_text("id,link\n")
    junk = tables(tmp_path / "junk", images(0))
    (junk / "x.parquet").write_bytes(b"junk" * 99)
    for folder, message in (
        (
            odd,
            "holds no image, so that its tables or lists are read: .*part-1.parquet has no column 'image'; it has img",
        ),
        (urls, "part-1.parquet has no column `url`; it has link"),
        (mixed, "part-1.parquet has no column 'image'"),
        (tmp_path / "csv", "a.csv has no column of paths of images, such as `file_name`; it has id, link"),
        (junk, "x.parquet cannot be read as a table"),
    ):
        with pytest.raises(BadInput, match=message) as caught:
            open_all([folder])
        assert "\n" not in str(caught.value)


def test_empty_tables_are_told_of_unless_all_are(opened: catalog.Catalog, tmp_path: Path, capsys) -> None:
    nothing = pl.DataFrame({"image": [], "text": []}, schema={"image": pl.Binary, "text": pl.String})
    folder = tables(tmp_path / "t", images(0), images(2))
    nothing.write_parquet(folder / "part-0.parquet")
    pl.DataFrame({"image": [None], "text": ["x"]}, schema=nothing.schema).write_parquet(
        folder / "part-2.parquet"
    )
    assert ingest(opened, [folder], workers=1).added == 2
    assert "tables and lists that hold nothing: 2 (such as" in capsys.readouterr().err
    nothing.write_parquet(folder / "part-1.parquet")
    (folder / "part-2.parquet").unlink()
    with pytest.raises(BadInput, match="none that holds anything"):
        open_all([folder])


def test_many_files_are_checked_when_their_turn_comes(
    opened: catalog.Catalog, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(files, "AHEAD", 2)
    folder = tables(tmp_path / "t", images(0), images(2), {"img": [png(9)]})
    source = open(folder)
    source.check()
    with pytest.raises(BadInput, match=r"part-2.parquet has no column 'image'"):
        ingest(opened, [source], workers=1)
    (folder / "part-2.parquet").unlink()
    ingest(opened, [folder], workers=1)
    assert [row[2] for row in opened.sql(FOUND).rows()] == ["t0", "t1", "t2", "t3"]


def test_tables_beside_lists(tmp_path: Path) -> None:
    """Where there are tables, a list beside them is something else."""
    folder = tables(tmp_path / "t", images(0))
    (folder / "stats.csv").write_text("a,b\n")
    source = open(folder)
    source.check()
    assert [path.name for path in source.tables.found] == ["part-0.parquet"]
