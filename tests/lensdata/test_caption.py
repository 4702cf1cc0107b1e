"""Captions: versioned rows, failures with their reasons."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import catalog
from lensdata.caption import Caption, Captioner, caption, from_source
from lensdata.ingest import ingest
from tests.helpers import picture


@pytest.fixture
def opened(tmp_path: Path) -> catalog.Catalog:
    folder = tmp_path / "Lake_Como 2019"
    folder.mkdir()
    for name in ("IMG-2041 boat", "007", "told"):
        picture(1, 40, 40).save(folder / f"{name}.png")
    (folder / "told.txt").write_text("a boat\non the lake")
    found = catalog.open(tmp_path / "catalog")
    ingest(found, [folder], workers=1)
    return found


def texts(opened: catalog.Catalog, style: str = "alt") -> dict[str, str | None]:
    rows = opened.sql(
        "SELECT uri, arg_max(text, c.created_at) FROM captions c JOIN images USING (image_id) "
        "WHERE style = $style GROUP BY uri",
        style=style,
    )
    return {Path(uri).stem: text for uri, text in rows.iter_rows()}


def test_the_sources_text_is_taken_as_it_is(opened: catalog.Catalog) -> None:
    assert caption(opened, from_source()) == (1, 2)
    assert opened.sql("SELECT text, words, model FROM captions WHERE text IS NOT NULL").row(0) == (
        "a boat\non the lake", 5, "source",
    )  # fmt: skip
    assert opened.sql("SELECT count(*) FROM captions WHERE error = 'the source gives no text'").item() == 2
    assert caption(opened, from_source()) == (0, 0)
    assert caption(opened, from_source(), retry_failed=True) == (0, 2)


def test_names_fill_what_is_missing(opened: catalog.Catalog) -> None:
    caption(opened, from_source())
    assert caption(opened, from_source(names=True)) == (3, 0)
    assert texts(opened) == {
        "IMG-2041 boat": "Lake Como: IMG boat",
        "007": "Lake Como",
        "told": "a boat\non the lake",
    }


def test_another_captioner_adds_versions_and_keeps_its_failures(opened: catalog.Catalog) -> None:
    def look(rows: list[dict[str, Any]]) -> Iterable[Caption]:
        for row in reversed(rows):
            if "007" in row["uri"]:
                yield Caption(row["image_id"], None, "refused", tokens=7)
            else:
                yield Caption(row["image_id"], f"dense text of {row['image_id']}", tokens=20, cost=0.001)

    first = Captioner("dense", "some-vlm", look, prompt_hash="a", settings=json.dumps({"temperature": 0}))
    assert caption(opened, first) == (2, 1)
    assert caption(opened, Captioner("dense", "some-vlm", look, prompt_hash="b")) == (2, 1)
    rows = opened.sql(
        "SELECT prompt_hash, count(text), count(error), sum(tokens) FROM captions GROUP BY ALL ORDER BY 1"
    )
    assert rows.rows() == [("a", 2, 1, 47), ("b", 2, 1, 47)]
    assert opened.sql("SELECT count(dense) FROM trainable").item() == 2
