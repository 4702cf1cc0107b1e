"""Patterns that no shell expanded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import catalog
from catalog.errors import BadInput
from lensdata.ingest import ingest
from lensdata.sources import Columns, Survey, open, open_all
from lensdata.sources.glob import Glob, Pattern
from tests.helpers import fill, make_tar, png
from tests.lensdata.sources.listing import listed


def names(pattern: Path | str, root: Path, survey: Survey | None = None) -> list[str]:
    """What a pattern lists, by the paths below `root`."""
    return [item.uri.replace(f"{root}/", "") for item in listed(pattern, survey)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    fill(tmp_path / "a" / "x", 2, ((40, 30),))
    fill(tmp_path / "b" / "x", 1, ((40, 30),))
    fill(tmp_path / "b" / ".x", 1, ((40, 30),))
    for n in range(3):
        make_tar(tmp_path / "b" / f"{n}.tar", [("k.png", png(n))])
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("b/*.tar", ["b/0.tar", "b/1.tar", "b/2.tar"]),
        ("b/[01].tar", ["b/0.tar", "b/1.tar"]),
        ("b/?.tar", ["b/0.tar", "b/1.tar", "b/2.tar"]),
        ("?/x", ["a/x/picture-0000.png", "a/x/picture-0001.jpg", "b/x/picture-0000.png"]),
        ("*/x/*.jpg", ["a/x/picture-0001.jpg"]),
        ("**/*.png", ["a/x/picture-0000.png", "b/x/picture-0000.png"]),
        ("b/**", ["b/0.tar", "b/1.tar", "b/2.tar", "b/x/picture-0000.png"]),
        ("**/x/**/*.png", ["a/x/picture-0000.png", "b/x/picture-0000.png"]),
        ("a*/*", ["a/x/picture-0000.png", "a/x/picture-0001.jpg"]),
    ],
)
def test_what_a_pattern_matches(tree: Path, pattern: str, found: list[str]) -> None:
    assert names(tree / pattern, tree) == found


def test_an_image_has_its_sidecar_whether_or_not_that_matches(tree: Path) -> None:
    survey = Survey()
    (item,) = listed(tree / "b" / "x" / "*.png", survey)
    assert item.text is not None and item.text[0].endswith("picture-0000.txt")
    assert survey.lines() == []


def test_only_folders_that_match_whole_are_said_to_be_listed(tree: Path) -> None:
    survey = Survey()
    names(tree / "?" / "x", tree, survey)
    assert survey.roots == [str(tree / "a" / "x"), str(tree / "b" / "x")]
    survey = Survey()
    names(tree / "b" / "*.tar", tree, survey)
    assert survey.roots == []


def test_a_name_with_the_characters_of_a_pattern(tmp_path: Path) -> None:
    fill(tmp_path / "[ab]", 1, ((40, 30),))
    fill(tmp_path / "a", 2, ((40, 30),))
    make_tar(tmp_path / "*.tar", [("k.png", png(1))])
    make_tar(tmp_path / "other.tar", [("k.png", png(1))])
    assert len(listed(tmp_path / "[ab]")) == 1  # the folder of that name
    assert names(tmp_path / "*.tar", tmp_path) == ["*.tar"]
    assert names(tmp_path / "[ab]*" / "*.png", tmp_path) == ["a/picture-0000.png"]
    assert names(tmp_path / "[ab]" / "*.png", tmp_path) == ["[ab]/picture-0000.png", "a/picture-0000.png"]


def test_links_and_what_lens_wrote(tree: Path) -> None:
    (tree / "link").symlink_to(tree / "a")
    fill(tree / "shards" / "s", 1, ((40, 30),))
    (tree / "shards" / "manifest.json").write_text('{"format": "lens-manifest/1"}')
    for pattern, message in (
        ("[ls]*/s*", "shards of Lens's own passed over: 1"),
        ("lin?/*", "links to folders not"),
    ):
        with pytest.raises(BadInput, match=f"no file or folder matches .*{message}"):
            names(tree / pattern, tree)
    for named in ("sha*", "shards/*", "shards/s"):  # shards that are named are a source like any
        assert names(tree / named, tree) == ["shards/s/picture-0000.png"]


def test_nothing_matches(tmp_path: Path) -> None:
    (tmp_path / "x.md").write_text("x")
    for pattern, message in (
        ("*.tar", "no file or folder matches .*/\\*.tar$"),
        ("none/*.tar", "no file or folder matches .*No such file or directory"),
        ("*.md", "holds no image .* 1 files passed over: 1 .md"),
        ("none", "there is no file or folder"),
    ):
        with pytest.raises(BadInput, match=message) as caught:
            listed(tmp_path / pattern)
        assert "\n" not in str(caught.value)


def test_sources_that_overlap(tree: Path) -> None:
    def left(*given: str) -> list[str]:
        return [
            str(source.place).replace(f"{tree}/", "") for source in open_all([tree / name for name in given])
        ]

    assert left("b/*.tar", "b/1.tar", "a/x") == ["b/*.tar", "a/x"]
    assert left("b", "b/*.tar") == ["b"]
    assert left("?", "a/x", "b/2.tar") == ["?"]
    assert left("*/*.tar", "a") == ["*/*.tar", "a"]
    assert left("**", "b/.x") == ["**", "b/.x"]


def test_lists_and_tables_of_a_pattern(tmp_path: Path) -> None:
    for name in ("u-2.txt", "u-1.txt"):
        (tmp_path / name).write_text("http://127.0.0.1:9/a.png\n")
    pl.DataFrame({"image": [png(1)]}).write_parquet(tmp_path / "t-0.parquet")
    pl.DataFrame({"image": [png(2)]}).write_parquet(tmp_path / "t-1.parquet")
    pl.DataFrame({"img": [png(2)]}).write_parquet(tmp_path / "other.parquet")
    for pattern, names in (
        ("u-*.txt", ["u-1.txt", "u-2.txt"]),
        ("t-*.parquet", ["t-0.parquet", "t-1.parquet"]),
    ):
        source = open(tmp_path / pattern)
        assert isinstance(source, Glob)
        source.check()
        assert source.tables is not None
        assert list(source.tables.found) == [tmp_path / name for name in names]
    with pytest.raises(BadInput, match=r"^/.*other.parquet has no column 'image'"):
        listed(tmp_path / "*.parquet")
    opened = catalog.open(tmp_path / "catalog")
    assert ingest(opened, [tmp_path / "t-*.parquet"], workers=1).added == 2
    assert ingest(opened, [tmp_path / "t-*.parquet", tmp_path / "t-1.parquet"], workers=1).unchanged == 2
    assert ingest(opened, [tmp_path / "o*.parquet"], columns=Columns("img"), workers=1).added == 1


def test_a_pattern_of_a_store(memory: Any, tmp_path: Path) -> None:
    for name in ("0.tar", "1.tar", "x.parquet"):
        make_tar(tmp_path / "t.tar", [("k.png", png(1))])
        memory.pipe(f"/b/crawl/{name}", (tmp_path / "t.tar").read_bytes())
    memory.pipe("/b/crawl/deep/a?b.png", png(2))
    assert [i.uri.rpartition("/b/")[2] for i in listed("memory://b/crawl/*.tar")] == [
        "crawl/0.tar",
        "crawl/1.tar",
    ]
    assert [i.uri.rpartition("/b/")[2] for i in listed("memory://b/**/*.png")] == ["crawl/deep/a?b.png"]
    with pytest.raises(BadInput, match="no file or folder matches memory://b/none"):
        listed("memory://b/none*")
    with pytest.raises(BadInput, match="there is no file or folder"):
        listed("memory://b*")  # a bucket is no pattern
    assert [s.place for s in open_all(["memory://b/crawl/*.tar", "memory://b/crawl/1.tar"])] == [
        "memory://b/crawl/*.tar"
    ]


def test_a_folder_is_listed_once_however_many_ways_lead_there(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = os.scandir, []
    monkeypatch.setattr(os, "scandir", lambda path: (seen.append(path), real(path))[1])
    names(tree / "**" / "**" / "x" / "**" / "*.png", tree)
    assert len(seen) == len(set(seen)) == 5


def test_a_pattern_step_by_step() -> None:
    pattern = Pattern(["**", "x", "*.png"])
    steps = pattern.start
    for name, done in (("a", False), ("x", False), ("x", False), ("q.png", True)):
        steps = pattern.after(steps, name)
        assert pattern.done(steps) == done
    assert not Pattern(["x"]).after(Pattern(["x"]).start, "y")
