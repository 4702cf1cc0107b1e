"""Tables of texts beside images: who gets which text, what is told, and that nothing of the work stays."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from pathlib import Path

import polars as pl
import pytest

from catalog.errors import LensError
from lensdata.sources import Columns, Survey, describe, open
from lensdata.sources.texts import beside
from tests.helpers import make_tar, png

NINO = "nin\u0303o.png"  # as a Mac writes it


def texts(place: Path | str, root: Path, columns: Columns | None = None) -> tuple[dict[str, tuple], str]:
    """Of each image below `place` its alt, brief and dense text and alt_error; and what was told."""
    source, survey = open(place, columns or Columns()), Survey()
    source.check()
    found = {}
    for item in source.list(survey, root):
        row = describe(item)
        name = os.path.relpath(item.uri, place) if isinstance(place, Path) else item.uri
        found[name] = tuple(row[key] for key in ("alt_text", "brief_text", "dense_text", "alt_error"))
    assert not list(root.rglob("*.tmp"))
    return found, "\n".join(survey.lines())


def put(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(1))
    return folder


@pytest.mark.parametrize("page", [1, 2, beside.PAGE])
def test_captions_beside_photos(tmp_path: Path, monkeypatch, page: int) -> None:
    monkeypatch.setattr(beside, "PAGE", page)
    folder = put(tmp_path / "f", "a.png", "b.png", "c.png", "z.png", "sub/a.png", "other/a.png")
    (folder / "captions.csv").write_text(
        "filename,Caption,dense_caption\na.png,a cat,\nb.png,,a long text\nsub/a.png,deep,deeper\ngone.png,x,\n"
        "a.png,a cat again,\n./other/../c.png,c,\n../f/z.png,no,\n"
    )
    (folder / "z.txt").write_text("of the sidecar")
    (folder / "b.txt").write_text("b of the sidecar")
    (folder / "sub" / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "nearer"}\n\n')
    found, told = texts(folder, tmp_path / "root")
    assert found == {
        "a.png": ("a cat", None, None, None),
        "b.png": ("b of the sidecar", None, "a long text", None),
        "c.png": ("c", None, None, None),
        "other/a.png": (None, None, None, None),
        "sub/a.png": ("nearer", None, "deeper", None),
        "z.png": ("of the sidecar", None, None, None),
    }
    assert "rows of tables beside images that gave them texts: 5 (" in told
    assert "name no image below their folder: 2 (such as" in told and "captions.csv: gone.png)" in told
    assert "for an image that had its texts already: 1 (" in told


FRAME = pl.DataFrame(
    {"file_name": ["a.png", "b.png"], "text": [["first", "second"], ["", "only"]], "n": [1, 2]}
)


def hugging_face(folder: Path, kind: str) -> None:
    """FRAME as the metadata of an image folder."""
    if kind == "parquet":
        FRAME.write_parquet(folder / "metadata.parquet")
    elif kind == "arrow":
        FRAME.write_ipc(folder / "metadata.arrow")
    elif kind == "jsonl":
        FRAME.write_ndjson(folder / "metadata.jsonl")
    else:
        rows = [("file_name", "TEXT", "n"), ("a.png", "first", "1"), ("b.png", "only", "2")]
        joined = {"csv": ",", "tsv": "\t"}[kind]
        (folder / f"metadata.{kind}").write_text("".join(joined.join(row) + "\n" for row in rows))


@pytest.mark.parametrize("kind", ["parquet", "arrow", "jsonl", "csv", "tsv"])
def test_image_folders_of_every_format(tmp_path: Path, kind: str) -> None:
    folder = put(tmp_path / "f", "a.png", "b.png")
    hugging_face(folder, kind)
    found, told = texts(folder, tmp_path / "root")
    first = None if kind in ("csv", "tsv") else "only the first of several texts is used"
    assert found == {"a.png": ("first", None, None, first), "b.png": ("only", None, None, None)}
    assert "passed over" not in told


def test_encodings_and_odd_cells(tmp_path: Path) -> None:
    folder = put(tmp_path / "f", "a.png", "b.png", "w/a.png", "w/b.png", "j/a.png", "j/b.png", NINO)
    (folder / "l.csv").write_bytes(
        "file;caption\na.png;café\nb.png;".encode("latin-1") + b"\xe3\xc1\xcb\xcf\n"
    )
    (folder / "m.csv").write_text(f"path,text\n{unicodedata.normalize('NFC', NINO)},composed\n")
    (folder / "w" / "l.csv").write_bytes("path,text\na.png,日本語\nb.png,été\n".encode("utf-16"))
    (folder / "j" / "l.jsonl").write_text(
        '{"path": "a.png", "text": 5}\n{"path": "b.png", "text": {"en": "x"}}\n'
    )
    found, _ = texts(folder, tmp_path / "root")
    western = "read as Windows-1252, since it is not UTF-8"
    assert found["a.png"] == ("café", None, None, western)
    assert found["b.png"][0] is None
    assert found["b.png"][3] == "caption: neither UTF-8 nor UTF-16, and not surely Windows-1252"
    assert found[NINO][0] == "composed"
    assert [found[name][0] for name in ("w/a.png", "w/b.png")] == ["日本語", "été"]
    assert found["j/a.png"] == (None, None, None, "text: a number, no text")
    assert found["j/b.png"] == (None, None, None, "text: an object, no text")


def test_tables_that_are_none_of_texts_are_told(tmp_path: Path) -> None:
    folder = put(tmp_path / "f", "a.png")
    (folder / "labels.csv").write_text("file_name,label\na.png,3\n")
    (folder / "stats.csv").write_text("n,mean\n1,2\n")
    (folder / "urls.csv").write_text("url,caption\nhttp://a/b.png,x\n")
    (folder / "bad.csv").write_text('file_name,text\na.png,"x\n')
    (folder / "junk.parquet").write_bytes(b"junk")
    make_tar(folder / "00000.tar", [("k.png", png(2))])
    pl.DataFrame({"file_name": ["a.png"], "text": ["of the tar"]}).write_parquet(folder / "00000.parquet")
    found, told = texts(folder, tmp_path / "root")
    assert found["a.png"] == (None, None, None, None)
    assert (
        "tables without a column that is surely of texts (name it with --text-column): 1 (such as" in told
        and "which has file_name, label" in told
    )
    assert "lists inside folders passed over (name them to ingest them): 1 (" in told
    assert "tables beside images without a column of paths, such as `file_name`" in told
    assert "stats.csv, which has n, mean)" in told
    assert "tables beside images that cannot be read: 2 (" in told
    assert "tables that tell of the tar of their name passed over: 1" in told
    found, told = texts(folder, tmp_path / "root", Columns(text="label"))
    assert found["a.png"] == ("3", None, None, None)


def test_rows_that_give_no_text_are_told_apart(tmp_path: Path) -> None:
    folder = put(tmp_path / "f", "a.png", "b.png", "c.png", "d.png")
    rows = ({"text": "one"}, {"text": ""}, {}, {"dense": "four"})
    lines = [json.dumps({"file_name": f"{name}.png", **row}) for name, row in zip("abcd", rows, strict=True)]
    (folder / "metadata.jsonl").write_text("\n".join([*lines, lines[0]]))
    _, told = texts(folder, tmp_path / "root")
    assert "rows of tables beside images that gave them texts: 2 (" in told
    assert "rows of tables beside images without a text: 2 (" in told
    assert "for an image that had its texts already: 1 (" in told


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,caption\n1,x\n", "without a column of paths.*: 1 .*t.csv, which has id, caption\\)"),
        (
            "a.png,x\n",
            "without a column of paths.*: 1 .*t.csv, which has a.png, x .the first line must name the col",
        ),
        (
            "file_name,text\na,x\nsub/b,y\n",
            "name no image .*: 2 .*t.csv: a, a path without an image's ending",
        ),
    ],
)
def test_what_a_table_lacks_is_said(tmp_path: Path, content: str, message: str) -> None:
    folder = put(tmp_path / "f", "a.png")
    (folder / "t.csv").write_text(content)
    _, told = texts(folder, tmp_path / "root")
    assert re.search(message, told) and "lists" not in told


def test_a_pattern_and_a_store_have_them_too(tmp_path: Path, memory) -> None:
    folder = put(tmp_path / "f", "a.png", "b.jpg")
    (folder / "metadata.csv").write_text("file_name,text\na.png,one\nb.jpg,two\n")
    source, survey = open(folder / "*.png"), Survey()
    assert [describe(item)["alt_text"] for item in source.list(survey, tmp_path / "root")] == ["one"]
    memory.pipe("/bucket/p/a.png", png(1))
    memory.pipe("/bucket/p/metadata.jsonl", json.dumps({"file_name": "a.png", "dense_caption": "d"}).encode())
    found, _ = texts("memory://bucket/p", tmp_path / "root")
    assert found == {"memory:///bucket/p/a.png": (None, None, "d", None)}


def test_folders_of_very_many_tables_are_not_opened(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(beside, "MOST", 2)
    folder = put(tmp_path / "f", "a.png")
    for n in range(3):
        (folder / f"{n}.csv").write_text("file_name,text\na.png,x\n")
    found, told = texts(folder, tmp_path / "root")
    assert found["a.png"][0] is None
    assert "lists inside folders passed over (name them to ingest them): 3 (" in told


def test_what_a_broken_listing_gave_before_is_there(tmp_path: Path, memory, monkeypatch) -> None:
    memory.pipe("/bucket/a.png", png(1))
    memory.pipe("/bucket/m.csv", b"file_name,text\na.png,x\n")
    memory.pipe("/bucket/z/b.png", png(2))
    source = open("memory://bucket")
    ls = memory.ls
    monkeypatch.setattr(memory, "ls", lambda path, **more: ls(path, **more) if "z" not in path else 1 / 0)
    monkeypatch.setattr(source.tree, "filesystem", memory)
    listed = source.list(Survey(), tmp_path / "root")
    assert describe(next(listed))["alt_text"] == "x"
    with pytest.raises(LensError, match="cannot be listed"):
        next(listed)


def test_a_listing_that_ends_early_leaves_nothing(tmp_path: Path) -> None:
    folder = put(tmp_path / "f", "a.png", "b.png")
    (folder / "m.csv").write_text("file_name,text\na.png,x\n")
    listed = open(folder).list(Survey(), tmp_path / "root")
    next(listed)
    assert list((tmp_path / "root").rglob("*.tmp"))
    listed.close()
    assert not list((tmp_path / "root").rglob("*.tmp"))
