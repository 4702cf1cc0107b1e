"""Ingest and texts: none is lost or mangled in silence, tables update them, and the last line's totals are what lies
there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import catalog
from catalog.bytes.identity import same_bytes
from catalog.errors import BadInput
from lensdata.ask import why
from lensdata.caption import copy_all
from lensdata.ingest import ingest
from lensdata.sources import Columns, Survey, open_all
from lensdata.sources.lists import img2dataset
from tests.conftest import ROOT
from tests.helpers import GOOD, fill, make_tar, png, set_scores
from tests.lensdata.sources.lists.web import serve

FAKE = f"{sys.executable} {ROOT / 'tests' / 'fakes' / 'img2dataset.py'}"
TEXTS = "SELECT alt_text, brief_text, dense_text FROM images ORDER BY image_id"
WESTERN = "read as Windows-1252, since it is not UTF-8"
NOT_TEXT = "neither UTF-8 nor UTF-16, and not surely Windows-1252"


@pytest.fixture
def opened(tmp_path: Path) -> catalog.Catalog:
    return catalog.open(tmp_path / "catalog")


def found(opened: catalog.Catalog, columns: str = "alt_text, alt_error") -> dict[str, tuple]:
    rows = opened.sql(f"SELECT uri, {columns} FROM images ORDER BY image_id").rows()
    return {Path(row[0]).stem: row[1:] for row in rows}


def put(folder: Path, name: str, ending: str = "", data: bytes = b"", seed: int = 1) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.png").write_bytes(png(seed))
    if ending:
        (folder / f"{name}{ending}").write_bytes(data)


def test_sidecars_of_every_encoding_and_kind(opened: catalog.Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "f"
    for name, ending, data in (
        ("latin", ".txt", "un café près de l'église".encode("latin-1")),
        ("wide", ".txt", "日本語".encode("utf-16")),
        ("wide-caption", ".caption", "日本語".encode("utf-16")),
        ("unmarked", ".txt", "a dog on a beach".encode("utf-16-le")),
        ("russian", ".txt", "собака на пляже".encode("cp1251")),
        ("list", ".json", b'{"caption": ["", "first", "second"]}'),
        ("single", ".json", b'{"Caption": ["only"]}'),
        ("number", ".json", b'{"caption": 5}'),
        ("numbers", ".json", b'{"caption": [5, 6], "title": "a title"}'),
        ("latin-json", ".json", '{"TEXT": "un café"}'.encode("latin-1")),
        ("wide-json", ".json", '{"caption": "日本語"}'.encode("utf-16-le")),
        ("caption", ".caption", b"of kohya"),
        ("other-field", ".json", b'{"prompt": "a dog", "license": "CC0"}'),
        ("no-text", ".json", b'{"caption": null, "key": "0001", "url": "http://a/b"}'),
        ("origin-alone", ".json", b'{"license": "CC0", "width": 9}'),
    ):
        put(folder, name, ending, data)
    put(folder, "both", ".txt", b"of the txt")
    (folder / "both.caption").write_text("of the caption")
    make_tar(
        tmp_path / "t.tar", [("in-tar.png", png(2)), ("in-tar.caption", b"of a tar"), ("in-tar.cls", b"1")]
    )
    done = ingest(opened, [folder, tmp_path / "t.tar"], workers=1)
    got = found(opened)
    assert got.pop("t") == ("of a tar", None)
    assert got == {
        "latin": ("un café près de l'église", WESTERN),
        "wide": ("日本語", None),
        "wide-caption": ("日本語", None),
        "unmarked": ("a dog on a beach", None),
        "russian": (None, f"sidecar .txt: {NOT_TEXT}"),
        "list": ("first", "only the first of several texts is used"),
        "single": ("only", None),
        "number": (None, "caption: a number, no text"),
        "numbers": ("a title", None),
        "latin-json": ("un café", WESTERN),
        "wide-json": ("日本語", None),
        "caption": ("of kohya", None),
        "other-field": (None, "sidecar .json: no field that is known to be a text"),
        "no-text": (None, None),
        "origin-alone": (None, None),
        "both": ("of the txt", None),
    }
    assert (done.texts_unused, done.texts_mended) == (
        {
            f"sidecar .txt: {NOT_TEXT}": 1,
            "caption: a number, no text": 1,
            "sidecar .json: no field that is known to be a text": 1,
        },
        {WESTERN: 2, "only the first of several texts is used": 1},
    )
    assert "; 3 texts not used (1 caption: a number, no text, 1 sidecar .json: no field" in str(done)
    number = opened.sql("SELECT image_id FROM images WHERE uri LIKE '%/russian.png'").item()
    assert why(opened.select(), number)["alt_error"] == f"sidecar .txt: {NOT_TEXT}"
    copied = copy_all(opened, workers=1)
    assert (copied.alt, copied.without) == (12, 5)
    # the sidecar counts with the image's file: bytes that are as they were are known without hashing them
    known = opened.sql("SELECT uri, file_size, file_mtime_ns FROM images WHERE uri LIKE '%/caption.png'").row(
        0
    )
    assert same_bytes(png(1), known[0], "another", *known[1:])
    (folder / "caption.caption").write_text("another")
    os.utime(folder / "caption.caption", ns=(2**61, 2**61))
    assert ingest(opened, [folder], workers=1).updated == 1
    assert found(opened)["caption"] == ("another", None)


def test_json_that_python_does_not_read_is_told_in_plain_words(
    opened: catalog.Catalog, tmp_path: Path
) -> None:
    folder = tmp_path / "f"
    put(folder, "long", ".json", b'{"caption": "a cat", "n": ' + b"9" * 5000 + b"}")
    put(folder, "longer", ".json", b'{"caption": ' + b"9" * 5000 + b"}")
    put(folder, "deep", ".json", b"[" * 100_000)
    done = ingest(opened, [folder], workers=1)
    assert found(opened) == {
        "long": ("a cat", None),
        "longer": (None, "caption: a number, no text"),
        "deep": (None, "sidecar .json: JSON that is nested too deeply"),
    }
    assert sum(done.texts_unused.values()) == 2


def test_lists_of_every_encoding(opened: catalog.Catalog, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(img2dataset.VARIABLE, FAKE)
    with serve() as web:
        web.pages |= {
            "ni%C3%B1o%201.png": png(1),
            "%E3%81%AD%E3%81%93.png": png(2),
            "ni%C3%B1o%202.png": png(3),
        }
        latin, wide, raw = (tmp_path / f"{name}.csv" for name in ("latin", "wide", "raw"))
        latin.write_bytes(f"url,caption\n{web.url('niño 1.png')},le café\n".encode("latin-1"))
        wide.write_bytes(f"URL,Text\n{web.url('ねこ.png')},ねこ\n".encode("utf-16"))
        raw.write_bytes(f"URL\ttext\n{web.url('ni%C3%B1o%202.png')}\t".encode() + b"\xe3\xc1\xcb\xcf\n")
        raw = raw.rename(tmp_path / "raw.tsv")
        lines = tmp_path / "lines.jsonl"
        lines.write_text(json.dumps({"url": web.url("gone ñ.png"), "text": ["one", "two"]}) + "\n")
        done = ingest(opened, [latin, wide, raw, lines], workers=1)
        rows = opened.sql("SELECT status, alt_text, alt_error FROM images ORDER BY image_id").rows()
        assert rows == [
            ("ok", "le café", WESTERN),
            ("ok", "ねこ", None),
            ("ok", None, f"text: {NOT_TEXT}"),
            ("missing", "one", "only the first of several texts is used"),
        ]
        assert done.states == {"ok": 3, "missing": 1} and (done.not_downloaded, done.not_read) == (1, 0)
        assert "; 1 of 4 could not be downloaded; 1 texts not used (1 text: neither UTF-8" in str(done)
        web.pages["gone%20%C3%B1.png"] = png(4)
        assert ingest(opened, [lines], workers=1, retry=True).updated == 1
        assert opened.sql("SELECT status, alt_text, alt_error FROM images WHERE image_id = 4").row(0) == (
            "ok", "one", "only the first of several texts is used",
        )  # fmt: skip
    assert b"\xef\xbf\xbd" not in b"".join(path.read_bytes() for path in opened.root.rglob("*.tar"))


def test_tables_of_other_names_and_types(opened: catalog.Catalog, tmp_path: Path) -> None:
    """Columns as WebDataset, LAION and COCO have them; bytes as lists of numbers and in base64."""
    import base64

    written = base64.b64encode(png(3)).decode()
    for name, columns in (
        ("a", {"jpg": [png(1)], "txt": ["of txt"]}),
        ("b", {"image": pa.array([list(png(2))], pa.list_(pa.uint8())), "TEXT": ["of TEXT"]}),
        ("c", {"image": [f"data:image/png;base64,{written}"], "Caption": [["x", "y"]]}),
        (
            "d",
            {"image": [base64.b64encode(png(4)).decode(), "data:image/png;base64,???"], "text": ["d", "e"]},
        ),
        ("e", {"Image": [png(5)], "caption": [7]}),
    ):
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    (tmp_path / "f.csv").write_text(f"image,text\n{base64.b64encode(png(6)).decode()},of csv\n")
    names = ("a.parquet", "b.parquet", "e.parquet", "c.parquet", "d.parquet", "f.csv")
    done = ingest(opened, [tmp_path / name for name in names], workers=1)
    rows = opened.sql(
        "SELECT status, width, alt_text, alt_error, length(uri) < 999 FROM images ORDER BY 3"
    ).rows()
    assert rows == [
        ("ok", 40, "d", None, True),
        ("ok", 40, "of TEXT", None, True),
        ("ok", 40, "of csv", None, True),
        ("ok", 40, "of txt", None, True),
        ("ok", 40, "x", "only the first of several texts is used", True),
        ("ok", 40, None, "caption: a number, no text", True),
    ]
    assert done.added == 6
    pq.write_table(pa.table({"image": ["data:image/png;base64,???"]}), tmp_path / "none.parquet")
    with pytest.raises(
        BadInput, match="holds no image; rows of tables whose image is a data: URI that cannot be decoded: 1"
    ):
        ingest(opened, [tmp_path / "none.parquet"], workers=1)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet", "arrow"])
def test_a_table_of_new_texts_updates_known_images(
    opened: catalog.Catalog, tmp_path: Path, kind: str
) -> None:
    folder = fill(tmp_path / "f", 3, ((40, 30),))
    ingest(opened, [folder], workers=1)
    set_scores(opened, **GOOD)
    copy_all(opened, workers=1)
    names = sorted(path.name for path in folder.glob("*.[jp][pn]g"))
    frame = pl.DataFrame({"filename": names[:2], "caption": ["new 0", None], "dense_caption": ["d0", "d1"]})
    (tmp_path / "other").mkdir()
    path = tmp_path / "other" / f"texts.{kind}"
    frame = frame.with_columns(filename="../f/" + pl.col("filename"))
    if kind in ("csv", "tsv"):
        frame.write_csv(path, separator="," if kind == "csv" else "\t")
    elif kind == "jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_parquet(path) if kind == "parquet" else frame.write_ipc(path)
    before = opened.sql("SELECT image_id, sha256, uri FROM images ORDER BY image_id").rows()
    done = ingest(opened, [path], workers=1)
    assert (done.added, done.updated, done.unchanged) == (0, 2, 0)
    assert opened.sql("SELECT image_id, sha256, uri FROM images ORDER BY image_id").rows() == before
    assert opened.sql(TEXTS).rows() == [
        ("new 0", None, "d0"), ("picture number 1", None, "d1"), ("picture number 2", None, None),
    ]  # fmt: skip
    assert opened.sql("SELECT count(*) FROM scores WHERE aesthetic_state = 'scored'").item() == 3
    assert opened.sql("SELECT image_id FROM captions ORDER BY image_id").rows() == [
        (3,)
    ]  # the others are outdated
    version = opened.version
    assert ingest(opened, [path], workers=1).unchanged == 2
    assert ingest(opened, [folder], workers=1).unchanged == 3
    assert opened.version == version
    # a second table fills what the first did not tell
    (tmp_path / "briefs.csv").write_text(f"path,brief\nf/{names[0]},b0\n")
    assert ingest(opened, [tmp_path / "briefs.csv"], workers=1).updated == 1
    assert opened.sql(TEXTS).row(0) == ("new 0", "b0", "d0")


@pytest.mark.parametrize("first", [True, False])
def test_one_command_with_a_folder_and_two_tables(
    opened: catalog.Catalog, tmp_path: Path, first: bool
) -> None:
    """What a table tells of an image that is still under way is not lost."""
    folder = fill(tmp_path / "f", 2, ((40, 30),))
    (tmp_path / "alt.csv").write_text("path,caption\nf/picture-0000.png,alt\n")
    (tmp_path / "dense.csv").write_text("path,dense_caption\nf/picture-0000.png,dense\n")
    tables = [tmp_path / "alt.csv", tmp_path / "dense.csv"]
    done = ingest(opened, [folder, *tables] if first else [*tables, folder], workers=2)
    assert (done.added, done.updated) == (2, 2 if first else 1)
    assert opened.sql(TEXTS).rows() == [("alt", None, "dense"), ("picture number 1", None, None)]


def test_a_row_a_caption_counts_once(opened: catalog.Catalog, tmp_path: Path, monkeypatch) -> None:
    """As Flickr8k comes: five rows an image. The first counts, also where a listing's page ends between them."""
    monkeypatch.setattr("lensdata.listing.PAGE_ITEMS", 2)
    folder = fill(tmp_path / "f", 2, ((40, 30),))
    lines = [f"f/picture-000{n}.{'jpg' if n else 'png'},text {k} of {n}\n" for k in range(3) for n in (0, 1)]
    (tmp_path / "t.csv").write_text("image,caption\n" + "".join(lines))
    ingest(opened, [folder, tmp_path / "t.csv"], workers=1)
    assert opened.sql(TEXTS)["alt_text"].to_list() == ["text 0 of 0", "text 0 of 1"]
    version = opened.version
    assert ingest(opened, [tmp_path / "t.csv"], workers=1).unchanged == 2
    assert opened.version == version


def test_new_rows_of_the_table_beside_images(opened: catalog.Catalog, tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", 2, ((40, 30),))
    table = folder / "metadata.csv"
    table.write_text("file_name,text\npicture-0000.png,one\n")
    ingest(opened, [folder], workers=1)
    assert opened.sql(TEXTS)["alt_text"].to_list() == ["one", "picture number 1"]
    table.write_text("file_name,text,dense\npicture-0000.png,one,more\npicture-0001.jpg,two,\n")
    done = ingest(opened, [folder], workers=1)
    assert (done.added, done.updated, done.unchanged) == (0, 2, 0)
    assert opened.sql(TEXTS).rows() == [("one", None, "more"), ("two", None, None)]
    assert ingest(opened, [folder], workers=1).unchanged == 2


def test_the_totals_are_what_lies_there(command, tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", 3, ((40, 30),))
    for name in ("a.jxl", "b.heif", "c.HEIF", "d.ppm", "e.tga", "f.apng", "noend", "g"):
        (folder / name).write_bytes(b"x")
    (folder / "cut.png").write_bytes(png(1)[:40])
    (folder / "no.jpg").write_bytes(b"no image at all, but text")
    (folder / "cut.txt").write_bytes("собака".encode("cp1251"))
    done = command("lensdata", "ingest", folder)
    assert done.returncode == 0, done.stderr
    assert (
        "8 files passed over: 2 .heif, 2 without an ending, 1 .apng, 1 .jxl, 1 .ppm, 1 .tga (such as"
        in done.stderr
    )
    last = done.stdout.strip().splitlines()[-1]
    head, *rest = last.split("; ")
    assert head == f"5 images added, 0 updated, 0 unchanged in {tmp_path / 'catalog'}"
    assert rest == ["2 of 5 could not be read", f"1 texts not used (1 sidecar .txt: {NOT_TEXT})"]
    told = json.loads(command("lensdata", "--catalog", tmp_path / "twin", "ingest", folder, "--json").stdout)
    opened = catalog.open(tmp_path / "catalog", read_only=True)
    states = dict(opened.sql("SELECT status, count(*) FROM images GROUP BY status").rows())
    assert told["states"] == states and sum(states.values()) == told["added"] == 5
    assert states["ok"] + told["not_read"] + told["not_downloaded"] == told["added"]
    number = opened.sql("SELECT image_id FROM images WHERE uri LIKE '%/cut.png'").item()
    assert f"its text: sidecar .txt: {NOT_TEXT}" in command("lensdata", "why", number).stdout


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            "id,words\n1,x\n",
            r"no column of paths of images, such as `file_name`; it has id, words: name one with --image-column, or",
        ),
        ("a.jsonl", "[1]\n", r"a\.jsonl, line 1: not an object of JSON"),
        ("a.jsonl", "{oh\n", r"a\.jsonl, line 1: not JSON"),
        ("a.csv", "image,text\n", "holds no image"),
        ("a.csv", 'image,text\na.png,"open\n', "a quote within a quoted text is doubled"),
    ],
)
def test_tables_of_lines_that_are_none(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BadInput, match=message):
        for source in open_all([tmp_path / name]):
            list(source.list(Survey(), tmp_path / "root"))


@pytest.mark.parametrize("url", ["http://host/x.jpg", "https://host/a/b.PNG?w=10", "http://host/x.webp#f"])
def test_the_address_of_one_image_belongs_into_a_list(url: str) -> None:
    with pytest.raises(BadInput, match=r"is one image by its name; put its URL into a list"):
        open_all([url], Columns())


def recipe(title: str) -> str:
    """The code of a recipe of docs/sources.md."""
    text = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8").partition(f"### {title}\n")[2]
    return "\n".join(
        re.findall(r"```bash\n(.*?)```", text.partition("\n### ")[0].partition("\n## ")[0], re.S)
    )


@pytest.mark.parametrize("title", ["Captions from a model of your own, as a table", "... or as sidecars"])
def test_the_recipes_for_own_captions(tmp_path: Path, title: str) -> None:
    """As written in the docs, on a folder of photos in the catalog already."""
    fill(tmp_path / "photos", 3, ((40, 30),))
    environment = {**os.environ, "LENS_CATALOG": str(tmp_path / "catalog"), "PYTHONPATH": str(ROOT)}
    script = 'lensdata() { "$PYTHON" -m lensdata "$@"; }\npython() { "$PYTHON" "$@"; }\n'
    done = subprocess.run(
        ["bash", "-euc", script + "lensdata ingest photos\nlensdata caption\n" + recipe(title)], cwd=tmp_path,
        env={**environment, "PYTHON": sys.executable}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    opened = catalog.open(tmp_path / "catalog", read_only=True)
    assert opened.sql("SELECT count(*) FROM images").item() == 3
    kinds = opened.sql(
        "SELECT style, count(*) FROM captions WHERE text IS NOT NULL GROUP BY style ORDER BY style"
    )
    assert kinds.rows() == [("alt", 3), ("dense", 3)]


def test_a_table_whose_images_are_elsewhere_is_one_line(opened: catalog.Catalog, tmp_path: Path) -> None:
    fill(tmp_path / "f", 1)
    (tmp_path / "captions.csv").write_text("filename,caption\npicture-0000.png,x\n")
    with pytest.raises(
        BadInput, match=r"no image is where its first 1 rows say \(such as picture-0000.png\); paths are"
    ):
        ingest(opened, [tmp_path / "captions.csv"], workers=1)
    assert opened.version == 0


def test_columns_that_may_be_texts_are_told(
    opened: catalog.Catalog, tmp_path: Path, monkeypatch, capsys
) -> None:
    """Images that come in without captions do not come in without a word."""
    monkeypatch.setenv(img2dataset.VARIABLE, FAKE)
    pl.DataFrame({"image": [png(1)], "words": ["a dog"], "n": [1]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"image": [png(2)], "n": [1]}).write_parquet(tmp_path / "b.parquet")
    (tmp_path / "c.csv").write_text("url,title\nhttp://127.0.0.1:9/a.png,a cat\n")
    ingest(opened, [tmp_path / name for name in ("a.parquet", "b.parquet", "c.csv")], workers=1)
    said = capsys.readouterr().err
    assert "tables without a column that is surely of texts (name it with --text-column): 2 (such as" in said
    assert "a.parquet, which has image, words, n)" in said
