"""A storage that does not answer for a while says nothing of its images."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import catalog
from catalog.bytes import locate
from catalog.errors import LensError, Unreadable
from lensdata import score
from lensdata.ingest import ingest
from tests.lensdata.conftest import Store


@pytest.fixture
def listed(tmp_path: Path, store: Store) -> tuple[catalog.Catalog, Path]:
    table = tmp_path / "t.parquet"
    at = f"http://127.0.0.1:{store.server_address[1]}"
    pl.DataFrame({"image": [f"{at}/{name}.png" for name in (1, 2, 3, "none")]}).write_parquet(table)
    return catalog.open(tmp_path / "catalog"), table


def statuses(opened: catalog.Catalog) -> list[tuple[str, bool | None]]:
    return opened.sql("SELECT status, passing FROM images ORDER BY image_id").rows()


def test_what_did_not_answer_is_read_by_the_next_plain_ingest(listed, store: Store) -> None:
    opened, table = listed
    store.silent = frozenset({"2.png"})
    assert ingest(opened, [table], workers=1).added == 4
    assert statuses(opened) == [("ok", None), ("missing", True), ("ok", None), ("missing", None)]
    store.silent, store.asked = frozenset(), 0
    done = ingest(opened, [table], workers=1)
    assert (done.added, done.updated, done.unchanged) == (0, 1, 3)
    assert statuses(opened) == [("ok", None), ("ok", None), ("ok", None), ("missing", None)]
    assert store.asked == 1  # what is not there is not asked for again


def test_score_leaves_it_for_the_next_run(listed, store: Store) -> None:
    opened, table = listed
    ingest(opened, [table], workers=1)
    store.silent = frozenset({"1.png", "3.png"})
    done = score.score(opened, only=("clarity",), workers=1)
    assert (done.images, done.failed, done.left) == (3, 0, 2)
    assert "2 left for the next run" in str(done)
    assert [status for status, _ in statuses(opened)] == ["ok", "ok", "ok", "missing"]
    store.silent = frozenset({"1.png", "3.png"})
    with pytest.raises(LensError, match="their storage does not answer"):
        score.score(opened, only=("clarity",), workers=1)
    store.silent = frozenset()
    assert str(score.score(opened, only=("clarity",), workers=1)) == "2 images scored"


def test_more_than_may_be_read_at_once(tmp_path: Path, store: Store) -> None:
    at = f"http://127.0.0.1:{store.server_address[1]}/1.png"
    whole = locate.read(at)
    assert locate.read(at, 0, None, most=len(whole)) == whole
    path = tmp_path / "1.png"
    path.write_bytes(whole)
    for uri in (at, str(path)):
        with pytest.raises(Unreadable) as failure:
            locate.read(uri, 0, None, most=len(whole) - 1)
        assert failure.value.status == "too-large"
