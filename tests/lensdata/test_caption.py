"""Captions: versioned rows, failures with their reasons."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import catalog
from lensdata.caption import Caption, Copied, FromSource, caption, copy_all
from lensdata.ingest import ingest
from tests.helpers import picture


@dataclass(frozen=True)
class Vlm:
    """A captioner of dense captions that says what it is told to."""

    look: Callable[[list[dict[str, Any]]], Iterable[Caption]]
    prompt_hash: str | None = None
    settings: str | None = None
    style: str = "dense"
    model: str = "some-vlm"

    def __call__(self, rows: list[dict[str, Any]]) -> Iterable[Caption]:
        return self.look(rows)


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
    assert caption(opened, FromSource()) == (1, 2)
    assert opened.sql("SELECT text, words, model FROM captions WHERE text IS NOT NULL").row(0) == (
        "a boat\non the lake", 5, "source",
    )  # fmt: skip
    assert opened.sql("SELECT count(*) FROM captions WHERE error = 'the source gives no text'").item() == 2
    assert caption(opened, FromSource()) == (0, 0)
    assert caption(opened, FromSource(), retry_failed=True) == (0, 2)


def test_names_fill_what_is_missing(opened: catalog.Catalog) -> None:
    caption(opened, FromSource())
    assert caption(opened, FromSource(names=True)) == (3, 0)
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

    first = Vlm(look, "a", json.dumps({"temperature": 0}))
    assert caption(opened, first) == (2, 1)
    assert caption(opened, Vlm(look, "b")) == (2, 1)
    rows = opened.sql(
        "SELECT prompt_hash, count(text), count(error), sum(tokens) FROM captions GROUP BY ALL ORDER BY 1"
    )
    assert rows.rows() == [("a", 2, 1, 47), ("b", 2, 1, 47)]
    assert opened.sql("SELECT count(dense) FROM trainable").item() == 2


def add(opened: catalog.Catalog, tmp_path: Path, name: str, **fields: str) -> None:
    """Change a picture's .json."""
    path = tmp_path / "Lake_Como 2019" / f"{name}.json"
    path.write_text(json.dumps(fields))
    ingest(opened, [path.parent], workers=1)


def test_brief_and_dense_captions_of_the_source(opened: catalog.Catalog, tmp_path: Path) -> None:
    add(opened, tmp_path, "told", brief="a boat", dense_caption="A red boat on a blue lake.")
    assert copy_all(opened) == Copied(1, 2, 1, 1)
    assert copy_all(opened) == Copied(0, 0, 0, 0)
    row = opened.sql("SELECT alt, brief, dense FROM trainable WHERE uri LIKE '%told%'").row(0)
    assert row == ("a boat\non the lake", "a boat", "A red boat on a blue lake.")
    assert opened.sql("SELECT count(*) FROM captions WHERE error IS NOT NULL AND style <> 'alt'").item() == 0
    assert "1 alt, 1 brief, 1 dense captions" in str(Copied(1, 2, 1, 1))


def test_what_was_asked_for_and_is_not_there_is_recorded(opened: catalog.Catalog, tmp_path: Path) -> None:
    add(opened, tmp_path, "told", brief="a boat")
    (tmp_path / "Lake_Como 2019" / "007.json").write_text("{no json")
    ingest(opened, [tmp_path / "Lake_Como 2019"], workers=1)
    assert caption(opened, FromSource(style="brief")) == (1, 2)
    errors = opened.sql("SELECT error FROM captions WHERE error IS NOT NULL ORDER BY error")[
        "error"
    ].to_list()
    assert errors[0] == "the source gives no brief text"
    assert errors[1].startswith("the source gives no brief text (sidecar .json: ")
    assert caption(opened, FromSource(style="brief")) == (0, 0)
    assert caption(opened, FromSource(style="brief"), retry_failed=True) == (0, 2)
    assert copy_all(opened) == Copied(1, 2, 0, 0)
    add(opened, tmp_path, "007", short_caption="a spy")
    assert copy_all(opened).brief == 1


def test_the_sources_dense_caption_never_replaces_a_captioners(
    opened: catalog.Catalog, tmp_path: Path
) -> None:
    look = Vlm(lambda rows: (Caption(row["image_id"], "seen") for row in rows))
    assert caption(opened, look) == (3, 0)
    add(opened, tmp_path, "told", recaption="told")
    assert copy_all(opened).dense == 0
    assert texts(opened, "dense")["told"] == "seen"
    assert caption(opened, FromSource(style="dense")) == (1, 2)  # unless asked for
    assert opened.sql("SELECT dense FROM trainable WHERE uri LIKE '%told%'").item() == "told"


def test_a_changed_brief_text_replaces_what_was_copied(opened: catalog.Catalog, tmp_path: Path) -> None:
    add(opened, tmp_path, "told", brief="a boat")
    copy_all(opened)
    add(opened, tmp_path, "told", brief="a ship")
    assert copy_all(opened) == Copied(1, 0, 1, 0)
    assert texts(opened, "brief") == {"told": "a ship"}
    (tmp_path / "Lake_Como 2019" / "told.json").unlink()
    ingest(opened, [tmp_path / "Lake_Como 2019"], workers=1)
    assert copy_all(opened) == Copied(1, 0, 0, 0)
    assert texts(opened, "brief") == {}


def test_what_is_tried_again_takes_the_place_of_the_failure(opened: catalog.Catalog) -> None:
    """Two images without a text are two failures, however often that is found; a text found at last ends one."""
    rows = "SELECT count(*) FILTER (text IS NULL), count(text) FROM captions"
    caption(opened, FromSource())
    assert opened.sql(rows).row(0) == (2, 1)
    for _ in range(3):
        assert caption(opened, FromSource(), retry_failed=True) == (0, 2)
        assert opened.sql(rows).row(0) == (2, 1)
    other = Vlm(lambda rows: (Caption(row["image_id"], None, "refused") for row in rows), style="alt")
    assert caption(opened, other) == (0, 3)
    assert opened.sql(rows).row(0) == (5, 1)  # another captioner's failures are its own
    found = Vlm(lambda rows: (Caption(row["image_id"], "seen") for row in rows), style="alt")
    assert caption(opened, found, retry_failed=True) == (3, 0)
    assert opened.sql(rows).row(0) == (2, 4)
