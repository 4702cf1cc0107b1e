"""Ingest: every file becomes a row, in listing order, once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import catalog
from catalog.errors import BadInput
from lensdata.ingest import STAGE, ingest
from tests.fakes import zoo
from tests.helpers import fill, make_tar, picture, png


@pytest.fixture
def opened(tmp_path: Path) -> catalog.Catalog:
    return catalog.open(tmp_path / "catalog")


def rows(opened: catalog.Catalog, columns: str) -> list[tuple]:
    return opened.sql(f"SELECT {columns} FROM images ORDER BY image_id").rows()


def test_ids_are_dense_and_follow_the_paths(opened: catalog.Catalog, images: Path) -> None:
    assert ingest(opened, [images], workers=2).added == 12
    found = rows(opened, "image_id, uri, width, height, alt_text, source")
    assert [row[0] for row in found] == list(range(1, 13))
    assert [row[1] for row in found] == sorted(row[1] for row in found)
    assert found[0][2:] == (520, 520, "picture number 0", "public-real")
    assert found[1][2:4] == (480, 640)


def test_again_adds_only_what_is_new(opened: catalog.Catalog, images: Path) -> None:
    ingest(opened, [images], workers=1)
    picture(99).save(images / "aaa.png")
    assert ingest(opened, [images], workers=1).added == 1
    assert ingest(opened, [images], workers=1).added == 0
    assert rows(opened, "image_id")[-1] == (13,)
    assert rows(opened, "uri")[-1][0].endswith("aaa.png")


def test_parts_of_many_sizes_give_the_same_ids(tmp_path: Path, images: Path, monkeypatch) -> None:
    from lensdata import ingest as module

    catalogs = []
    for size in (512, 5):
        monkeypatch.setattr("lensdata.ingest.STAGE", replace(STAGE, part_items=size))
        catalogs.append(catalog.open(tmp_path / f"c{size}"))
        module.ingest(catalogs[-1], [images], workers=2)
    columns = "image_id, uri, sha256, status"
    assert rows(catalogs[0], columns) == rows(catalogs[1], columns)


def test_every_animal_of_the_zoo_is_a_row(opened: catalog.Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "zoo"
    folder.mkdir()
    animals = zoo.animals()
    for animal in animals:
        (folder / f"{animal.name}.png").write_bytes(animal.data)
    assert ingest(opened, [folder], workers=1).added == len(animals)
    assert opened.sql("SELECT sum(n) FROM (SELECT count(*) n FROM images GROUP BY status)").item() == len(
        animals
    )
    assert (
        opened.sql(
            "SELECT count(*) FROM images WHERE status NOT IN ('ok', 'ok-warnings') AND status_reason IS NULL"
        ).item()
        == 0
    )
    assert opened.sql("SELECT count(*) FROM images WHERE sha256 IS NULL").item() == 0


def test_sidecars(opened: catalog.Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()

    def put(name: str, txt: bytes | None = None, fields: object = None) -> None:
        picture(1, 32, 32).save(folder / f"{name}.png")
        if txt is not None:
            (folder / f"{name}.txt").write_bytes(txt)
        if fields is not None:
            (folder / f"{name}.json").write_text(fields if isinstance(fields, str) else json.dumps(fields))

    put("a", b"\xef\xbb\xbf a caption \n")
    put("b", None, {"caption": "from json", "license": "CC0", "url": "http://x/y"})
    put("c", b"from txt", {"caption": "from json"})
    put("d", b"with\0NUL")
    put("e", b"\xff\xfe broken")
    put("f", None, "{not json")
    put("g", b"   ")
    put("h", None, ["a", "list"])
    put(
        "i",
        b"alt",
        {"brief": " short ", "long_caption": "lo\0ng", "dense": ["no text"], "brief_caption": "other"},
    )
    put("j", None, {"caption": "c", "brief": "", "short_caption": "second", "recaption": "r"})
    ingest(opened, [folder], workers=1)
    found = {Path(row[0]).stem: row[1:] for row in rows(opened, "uri, alt_text, licence, url, alt_error")}
    assert found["a"] == ("a caption", None, None, None)
    assert found["b"] == ("from json", "CC0", "http://x/y", None)
    assert found["c"][0] == "from txt"
    assert found["d"] == ("withNUL", None, None, "NUL characters removed")
    assert found["e"][0] is None
    assert "sidecar .txt" in found["e"][3]
    assert "sidecar .json" in found["f"][3]
    assert found["g"] == (None, None, None, None)
    assert "not an object" in found["h"][3]
    given = {
        Path(row[0]).stem: row[1:] for row in rows(opened, "uri, alt_text, brief_text, dense_text, alt_error")
    }
    assert given["i"] == ("alt", "short", "long", "NUL characters removed")
    assert given["j"] == ("c", "second", "r", None)
    assert all(given[name][1:3] == (None, None) for name in "abcdefgh")


def test_a_webdataset_tar_is_read_in_place(opened: catalog.Catalog, tmp_path: Path) -> None:
    members = [
        ("x/a.png", png(1)),
        ("x/a.txt", b"first"),
        ("x/b.v2.png", png(2)),
        ("x/b.json", b'{"caption": "second", "brief": "2"}'),
        ("y/a.png", png(3)),
        ("../../etc/evil.png", png(4)),
    ]
    make_tar(tmp_path / "s.tar", members)
    assert ingest(opened, [tmp_path / "s.tar"], workers=1).added == 4
    found = rows(opened, "uri, byte_offset, byte_length, alt_text, status")
    for (uri, offset, length, _, status), data in zip(found, (png(1), png(2), png(3), png(4)), strict=True):
        assert Path(uri).read_bytes()[offset : offset + length] == data
        assert status == "ok"
    assert [row[3] for row in found] == ["first", "second", None, None]
    assert [row[0] for row in rows(opened, "brief_text")] == [None, "2", None, None]
    assert not (tmp_path.parent / "etc").exists()


def test_a_broken_tar_gives_what_stands_before_the_break(
    opened: catalog.Catalog, tmp_path: Path, capsys
) -> None:
    path = tmp_path / "s.tar"
    make_tar(path, [("a.png", png(1)), ("b.png", png(2))])
    data = path.read_bytes()
    border = 512 + -(-len(png(1)) // 512) * 512
    path.write_bytes(data[:border])  # between two members: the reader sees no error
    assert ingest(opened, [path], workers=1).added == 1
    assert "end without an end mark" in capsys.readouterr().err
    path.with_name("t.tar").write_bytes(data[: border + 812])  # inside the second picture
    assert ingest(opened, [path.with_name("t.tar")], workers=1).added == 2
    assert rows(opened, "status")[-1] == ("truncated",)


def test_missing_and_empty_sources(opened: catalog.Catalog, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "letter.txt").write_text("x")
    for path, message in (
        ("none", "no file or folder"),
        ("empty", "holds no image"),
        ("letter.txt", "holds no URL"),
        ("a" * 300, "File name too long"),
        ("~nobody-of-this-name/x", "no user of the name"),
    ):
        with pytest.raises(BadInput, match=message):
            ingest(opened, [Path(path) if path.startswith("~") else tmp_path / path])


def test_a_loop_of_links_ends(opened: catalog.Catalog, tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", 2)
    (folder / "again").symlink_to(folder, target_is_directory=True)
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert ingest(opened, [folder], workers=1).added == 2


def test_sources_that_overlap_are_listed_once(opened: catalog.Catalog, images: Path, monkeypatch) -> None:
    fill(images / "sub", 2)
    fill(images / ".hidden", 2)
    (images / "link").symlink_to(images / "sub")
    make_tar(images / "s.tar", [("a.png", png(1))])
    monkeypatch.setattr("lensdata.ingest.STAGE", replace(STAGE, part_items=4))
    paths = [images / "sub", images, images / ".." / "images", images, images / "s.tar"]
    assert ingest(opened, paths, workers=2).added == 15
    assert opened.sql("SELECT count(DISTINCT (uri, byte_offset)), max(image_id) FROM images").row(0) == (
        15,
        15,
    )
    # What listing a folder passes over is not dropped when it is named itself.
    assert ingest(opened, [images, images / ".hidden"], workers=1).added == 2
    assert ingest(opened, [images, images / "link"], workers=1).added == 2


def test_one_odd_item_becomes_a_row(opened: catalog.Catalog, tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", 1)
    for name, text in (
        ("surrogate", '{"caption": "lone \\ud800 one", "url": "\\udfff"}'),
        ("deep", "[" * 100_000),
    ):
        picture(1, 32, 32).save(folder / f"{name}.png")
        (folder / f"{name}.json").write_text(text)
    picture(1, 32, 32).save(folder / "long.png")
    (folder / "long.txt").write_text("x" * (2**24 + 1))
    with (folder / "vast.png").open("wb") as file:
        file.truncate(2**30 + 1)  # takes no room on the disk
    assert ingest(opened, [folder], workers=1).added == 5
    found = {Path(row[0]).stem: row[1:] for row in rows(opened, "uri, status, alt_text, alt_error, url")}
    assert found["surrogate"] == ("ok", "lone  one", "lone surrogates removed", None)
    assert found["deep"][0] == "ok"
    assert "sidecar .json" in found["deep"][2]
    assert found["vast"][0] == "too-large"
    assert found["long"][:2] == ("ok", None)
    assert "the most that is read" in found["long"][2]


@pytest.mark.parametrize("kind", ["", "  ", " a", "a\nb"])
def test_a_kind_of_source_has_a_name(opened: catalog.Catalog, images: Path, kind: str) -> None:
    with pytest.raises(BadInput, match="is no name of a kind of source"):
        ingest(opened, [images], kind, workers=1)
    assert opened.version == 0
