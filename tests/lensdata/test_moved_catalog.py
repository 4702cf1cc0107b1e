"""A catalog is a folder that may be moved: what it keeps itself goes with it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl

import catalog
from lensdata import score
from lensdata.bucket import bucket
from lensdata.caption import FromSource, caption
from lensdata.ingest import ingest
from tests.helpers import png

LOOSE = {"dedup": False, "min_aesthetic": None, "max_nsfw": None, "max_watermark": None, "min_area": None}


def test_copies_of_a_table_are_read_where_the_catalog_is(tmp_path: Path) -> None:
    table = tmp_path / "t.parquet"
    pl.DataFrame({"image": [png(n) for n in range(3)], "text": ["a", "b", "c"]}).write_parquet(table)
    root = tmp_path / "catalog"
    opened = catalog.open(root)
    assert ingest(opened, [table], workers=1).added == 3
    uris = opened.sql("SELECT DISTINCT uri FROM images")["uri"].to_list()
    assert [uri.partition("/")[0] for uri in uris] == ["catalog:imported"]
    rows = opened.sql("SELECT image_id, uri FROM images").rows()

    moved = catalog.open(root.rename(tmp_path / "a new 'place'"))
    assert score.score(moved, only=("clarity",), workers=1).failed == 0
    assert ingest(moved, [table], workers=1).unchanged == 3
    assert moved.sql("SELECT image_id, uri FROM images").rows() == rows
    caption(moved, FromSource("alt"))
    bucket(moved)
    found = moved.sql("SELECT located(uri) AS uri FROM images")["uri"].to_list()
    assert all(Path(uri).is_file() and Path(uri).is_relative_to(moved.root) for uri in found)
    with duckdb.connect(str(moved.root / "catalog.duckdb"), read_only=True) as plain:  # which knows no folder
        assert plain.sql("SELECT DISTINCT located(uri) FROM images").fetchall() == [(uri,) for uri in uris]
