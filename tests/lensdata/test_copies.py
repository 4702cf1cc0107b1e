"""The catalog's own copies after a takedown: of tables, and of downloads, whose ledger has texts, too."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest

import catalog
from lensdata.copies import blank_removed, is_blank
from lensdata.ingest import ingest
from lensdata.sources.lists import img2dataset
from lensdata.takedown import remove
from tests.conftest import ROOT
from tests.helpers import make_tar, png
from tests.lensdata.sources.lists.web import serve

FAKE = f"{sys.executable} {ROOT / 'tests' / 'fakes' / 'img2dataset.py'}"


def everything(root: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((root / "downloads").rglob("*")) if path.is_file())


def test_downloads_are_blanked_and_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(img2dataset.VARIABLE, FAKE)
    opened = catalog.open(tmp_path / "catalog")
    with serve() as web:
        web.pages |= {f"{n}.png": png(n) for n in (1, 2, 3)}
        table = tmp_path / "list.csv"
        lines = [f"{web.url(f'{n}.png')},secret text of {n}" for n in (1, 2, 3)]
        table.write_text("\n".join(["url,text", *lines]) + "\n")
        ingest(opened, [table], workers=1)
        before = opened.sql("SELECT image_id, sha256, uri, byte_offset FROM images ORDER BY image_id")
        victim = opened.sql("SELECT image_id FROM images WHERE alt_text LIKE '%of 2'").item()
        remove(opened, [victim], "x", [])
        for retry in (False, True):
            assert png(2) not in everything(opened.root)
            assert png(1) in everything(opened.root) and png(3) in everything(opened.root)
            (ledger,) = (opened.root / "downloads").glob("*/*.parquet")
            texts = dict(pl.read_parquet(ledger).select("url", "alt_text").iter_rows())
            assert texts == {web.url("1.png"): "secret text of 1", web.url("2.png"): None,
                             web.url("3.png"): "secret text of 3"}  # fmt: skip
            ingest(opened, [table], workers=1, retry=retry)
            found = opened.sql("SELECT image_id, sha256, uri, byte_offset FROM images ORDER BY image_id")
            assert found.equals(before)
            states = dict(opened.sql("SELECT image_id, status FROM images").iter_rows())
            assert [n for n, status in states.items() if status != "ok"] == [victim]
        shutil.copy(table, tmp_path / "other.csv")  # the same list under another name downloads all again
        ingest(opened, [tmp_path / "other.csv"], workers=1)
        assert png(2) not in everything(opened.root)
        assert opened.sql("SELECT count(*) FROM images WHERE status = 'removed'").item() == 2


def test_what_is_no_copy_of_ours_is_not_touched(tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "catalog")
    tar = make_tar(tmp_path / "mine.tar", [("a.png", png(1)), ("b.png", png(2))])
    ingest(opened, [tar], workers=1)
    content = tar.read_bytes()
    remove(opened, [1], "x", [])
    assert tar.read_bytes() == content


def test_another_image_in_the_place_is_not_blanked(tmp_path: Path) -> None:
    """A copy that was made anew may hold other bytes where the removed ones were."""
    opened = catalog.open(tmp_path / "catalog")
    table = tmp_path / "t.parquet"
    pl.DataFrame({"image": [png(1), png(2)]}).write_parquet(table)
    ingest(opened, [table], workers=1)
    tar = Path(opened.sql("SELECT located(uri) FROM images WHERE image_id = 1").item())
    remove(opened, [1], "x", [])
    other = png(9)
    place = opened.sql("SELECT byte_offset FROM images WHERE image_id = 1").item()
    with tar.open("r+b") as file:
        file.seek(place)
        file.write(other)
    assert blank_removed(opened) == 0
    assert other in tar.read_bytes()


def test_a_killed_takedown_is_completed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = catalog.open(tmp_path / "catalog")
    table = tmp_path / "t.parquet"
    pl.DataFrame({"image": [png(1), png(2)]}).write_parquet(table)
    ingest(opened, [table], workers=1)
    tar = Path(opened.sql("SELECT located(uri) FROM images WHERE image_id = 1").item())
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            "lensdata.takedown.blank_removed", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        remove(opened, [1], "x", [])
    assert png(1) in tar.read_bytes()
    remove(opened, [1], "x", [])
    assert png(1) not in tar.read_bytes() and png(2) in tar.read_bytes()


@pytest.mark.parametrize("size", [1, 511, 2**20, 2**20 + 1])
def test_zeros_are_known_by_their_sum(size: int) -> None:
    import hashlib

    assert is_blank(hashlib.sha256(bytes(size)).hexdigest(), size)
    assert not is_blank(hashlib.sha256(os.urandom(size) + b"x").hexdigest(), size)
    assert not is_blank(hashlib.sha256(b"").hexdigest(), 0)
    assert not is_blank(None, size)
