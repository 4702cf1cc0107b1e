"""A listing is looked up in pages that grow, and ends them when it takes long."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import catalog
from catalog.errors import LensError
from lensdata import listing
from lensdata.ingest import ingest
from lensdata.sources import Item, Source, Survey
from tests.helpers import fill


class Files(Source):
    """Files in the order of their names, which may break off."""

    def __init__(self, place: Path, broken_at: int = 10**9) -> None:
        super().__init__(place)
        self.broken_at = broken_at

    def check(self) -> None:
        pass

    def _items(self, survey: Survey, root: Path, retry: bool):
        for n, path in enumerate(sorted(self.place.iterdir())):
            if n == self.broken_at:
                raise LensError("the line is dead; run the same command again")
            found = path.stat()
            yield Item(str(path), 0, found.st_size, None, None, found.st_size, found.st_mtime_ns)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pages that were looked up."""
    found: list[str] = []
    export = catalog.Catalog.export

    def told(self, text: str, path: Path, rows: int, **params: object) -> None:
        found.append(str(params["listing"]))
        export(self, text, path, rows, **params)

    monkeypatch.setattr(catalog.Catalog, "export", told)
    return found


def test_pages_double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    monkeypatch.setattr(listing, "PAGE_ITEMS", 2)
    folder = fill(tmp_path / "f", 33, ((40, 30),))
    opened = catalog.open(tmp_path / "catalog")
    images = [path for path in folder.iterdir() if path.suffix != ".txt"]
    assert ingest(opened, [folder], workers=1).added == len(images)
    assert len(asked) == 6  # 2, 2, 4, 8, 16 and what is left
    rows = opened.sql("SELECT image_id, uri FROM images ORDER BY image_id").rows()
    assert rows == [(n, str(path)) for n, path in enumerate(sorted(images), 1)]
    assert ingest(opened, [folder], workers=1).unchanged == len(images)
    assert len(asked) == 12
    assert not list((tmp_path / "catalog" / "parts").glob("*.tmp"))


def test_a_slow_source_is_read_while_it_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    monkeypatch.setattr(listing, "PAGE_SECONDS", -1e9)
    folder = fill(tmp_path / "f", 3, ((40, 30),))
    opened = catalog.open(tmp_path / "catalog")
    assert ingest(opened, [folder], workers=1).added == 3
    assert len(asked) > 1  # not one page


def test_what_a_source_gave_before_it_broke_off_is_in(tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", 5, ((40, 30),))
    for path in folder.glob("*.txt"):
        path.unlink()
    opened = catalog.open(tmp_path / "catalog")
    with pytest.raises(LensError, match="the line is dead"):
        ingest(opened, [Files(folder, 3)], workers=1)
    assert opened.sql("SELECT count(*) FROM images").item() == 3
    assert ingest(opened, [Files(folder)], workers=1).added == 2


def test_an_item_survives_its_page() -> None:
    given = {"alt_text": "a 🐟, 'quoted'", "url": None}
    item = Item("/a b/ñ.tar", 512, None, ("/t", 0, 3), None, 7, 8, given, ("missing", "why"), "http://x/y")
    assert listing._item(json.dumps([getattr(item, name) for name in listing.FIELDS])) == item
