"""Parquet and Arrow tables, and datasets saved by Hugging Face's library."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

import catalog
from catalog.bytes import locate
from catalog.errors import BadInput
from lensdata.ingest import ingest
from lensdata.sources import Columns
from tests.helpers import fill, picture, png
from tests.lensdata.sources.listing import listed

FOUND = "SELECT image_id, status, alt_text, url, licence, width FROM images ORDER BY image_id"


@pytest.fixture
def opened(tmp_path: Path) -> catalog.Catalog:
    return catalog.open(tmp_path / "catalog")


def table(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def digest(seed: int) -> str:
    return hashlib.sha256(png(seed)).hexdigest()


def test_bytes_in_parquet_become_tars_once(opened: catalog.Catalog, tmp_path: Path, capsys) -> None:
    images = [png(1), b"no image" * 9, None, png(4)]
    texts = ["one", "two", None, "NUL\0"]
    path = table(tmp_path / "My data.parquet", jpg=images, alt=texts, url=["u1", "u2", None, None],
                 license=["CC0", None, None, None], cls=[1, 2, 3, 4])  # fmt: skip
    columns = Columns("jpg", "alt")
    assert ingest(opened, [path], workers=1, columns=columns).added == 3
    assert opened.sql(FOUND).rows() == [
        (1, "ok", "one", "u1", "CC0", 40),
        (2, "unsupported", "two", "u2", None, None),
        (3, "ok", "NUL", None, None, 40),
    ]
    assert "rows of tables without an image: 1 (such as" in capsys.readouterr().err
    row = opened.sql(
        "SELECT located(uri) AS uri, byte_offset, byte_length FROM images WHERE image_id = 1"
    ).row(0)
    assert locate.read(*row) == png(1)
    with tarfile.open(row[0]) as tar:
        assert json.load(tar.extractfile("000000000000.json"))["imported_from"] == str(path)  # type: ignore[arg-type]
    written = Path(row[0]).stat().st_mtime_ns
    assert ingest(opened, [path], workers=1, columns=columns).unchanged == 3
    assert Path(row[0]).stat().st_mtime_ns == written
    assert "copying" not in capsys.readouterr().err


def test_a_changed_table_updates_and_loses_rows(opened: catalog.Catalog, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("lensdata.sources.kept.TAR_BYTES", 1)  # a tar for every image
    path = table(tmp_path / "t.parquet", image=[png(1), png(2), png(3)])
    ingest(opened, [path], workers=1)
    table(path, image=[png(1), png(9)])
    os.utime(path, ns=(1, 1))
    done = ingest(opened, [path], workers=1)
    assert (done.added, done.updated, done.unchanged, done.gone) == (1, 0, 1, 2)
    found = opened.sql("SELECT status, sha256 FROM images ORDER BY image_id").rows()
    assert found == [("ok", digest(1)), ("missing", digest(2)), ("missing", digest(3)), ("ok", digest(9))]
    assert ingest(opened, [path], workers=1).gone == 0


def test_a_killed_import_is_redone(opened: catalog.Catalog, tmp_path: Path) -> None:
    path = table(tmp_path / "t.parquet", image=[png(1), png(2)])
    ingest(opened, [path], workers=1)
    (mark,) = (opened.root / "imported").glob("*/source.json")
    mark.unlink()
    (mark.parent / "000000.tar").unlink()
    (mark.parent / "000001.tar.9.tmp").write_text("half")
    assert ingest(opened, [path], workers=1).unchanged == 2
    assert sorted(file.name for file in mark.parent.iterdir()) == [
        "000000.tar",
        "source.json",
        "uris.parquet",
    ]


def test_paths_and_urls(opened: catalog.Catalog, tmp_path: Path) -> None:
    import fsspec

    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.png").write_bytes(png(1))
    uris = [
        "sub/a.png",
        str(tmp_path / "sub" / "a.png"),
        f"file://{tmp_path}/sub/a.png",
        "gone.png",
        "nothing://x/y",
    ]
    path = table(tmp_path / "t.parquet", image=uris, caption=["1", "2", "3", "4", "5"])
    done = ingest(opened, [path], workers=1)
    assert (done.added, done.updated, done.unchanged, done.gone) == (3, 0, 0, 0)  # three name one file
    found = opened.sql(FOUND).rows()
    assert [row[1:3] for row in found] == [("ok", "1"), ("missing", "4"), ("missing", "5")]
    (tmp_path / "gone.png").write_bytes(png(2))
    assert ingest(opened, [path], workers=1).updated == 1
    assert opened.sql(FOUND).rows()[1][1] == "ok"
    picture(3, 64, 64).save(tmp_path / "sub" / "a.png")
    assert ingest(opened, [path], workers=1).updated == 1
    assert [row[5] for row in opened.sql(FOUND).rows() if row[1] == "ok"] == [40, 64]
    remote = tmp_path / "remote.bin"  # `local://` goes through fsspec like s3:// does
    remote.write_bytes(png(5))
    assert fsspec.core.url_to_fs(f"local://{remote}")
    assert ingest(opened, [table(tmp_path / "r.parquet", image=[f"local://{remote}"])], workers=1).added == 1
    last = opened.sql("SELECT sha256, byte_length, status FROM images ORDER BY image_id").rows()[-1]
    assert last == (digest(5), len(png(5)), "ok")
    assert ingest(opened, [tmp_path / "r.parquet"], workers=1).unchanged == 1


@pytest.mark.parametrize("stream", [True, False])
def test_arrow_files_of_both_layouts(opened: catalog.Catalog, tmp_path: Path, stream: bool) -> None:
    data = pa.table(
        {"image": [{"bytes": png(1), "path": "x.png"}, {"bytes": None, "path": "b.png"}], "text": ["a", "b"]}
    )
    (tmp_path / "b.png").write_bytes(png(2))
    path = tmp_path / "t.arrow"
    with (
        pa.OSFile(str(path), "wb") as file,
        (pa.ipc.new_stream if stream else pa.ipc.new_file)(file, data.schema) as out,
    ):
        out.write_table(data)
    assert ingest(opened, [path], workers=1).added == 2
    assert [row[1:3] for row in opened.sql(FOUND).rows()] == [("ok", "a"), ("ok", "b")]


def test_a_saved_hugging_face_dataset(opened: catalog.Catalog, tmp_path: Path) -> None:
    import datasets

    kinds = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    one, two = (
        datasets.Dataset.from_dict(
            {"image": [picture(n, 32, 32), picture(n + 1, 32, 32)], "text": [f"{n}", "x"]}, kinds
        )
        for n in (1, 5)
    )
    datasets.DatasetDict({"train": one, "test": two.select([1])}).save_to_disk(tmp_path / "both")
    one.save_to_disk(tmp_path / "one")
    assert ingest(opened, [tmp_path / "one"], workers=1).added == 2
    assert [row[1:3] for row in opened.sql(FOUND).rows()] == [("ok", "1"), ("ok", "x")]
    assert ingest(opened, [tmp_path / "both"], workers=1).added == 3
    (tmp_path / "one" / "state.json").write_text("{}")
    with pytest.raises(BadInput, match="no whole dataset"):
        ingest(opened, [tmp_path / "one"])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns("img"), r"has no column 'img'; it has image, n: name one with --image-column"),
        (Columns(text="alt"), "no column 'alt'; it has image, n: name one with --text-column"),
        (Columns("n"), r"column 'n' holds int64, not image bytes, paths or \{bytes, path\}"),
    ],
)
def test_wrong_columns_are_named(tmp_path: Path, columns: Columns, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        listed(table(tmp_path / "t.parquet", image=[png(1)], n=[1]), columns=columns)


def test_a_text_column_that_holds_no_text(opened: catalog.Catalog, tmp_path: Path) -> None:
    odd = table(
        tmp_path / "odd.parquet",
        image=[png(1)],
        text=pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    )
    path = table(tmp_path / "t.parquet", image=[png(1)], text=[["a", "b"]], caption=["c"])
    with pytest.raises(BadInput, match=r"'text' holds map<.*>, not text"):
        listed(odd, columns=Columns(text="text"))
    assert ingest(opened, [path], workers=1).added == 1  # nobody asked for `text`, and `caption` is one
    assert opened.sql(FOUND).rows()[0][2] == "c"


def test_tables_that_are_none(opened: catalog.Catalog, tmp_path: Path) -> None:
    (tmp_path / "junk.parquet").write_bytes(b"junk" * 99)
    (tmp_path / "junk.arrow").write_bytes(b"junk" * 99)
    table(tmp_path / "empty.parquet", image=pa.array([], pa.binary()))
    table(tmp_path / "nulls.parquet", image=pa.array([None], pa.binary()))
    whole = table(tmp_path / "cut.parquet", image=[png(n) for n in range(9)]).read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[:2000])
    damaged = bytearray(whole)
    damaged[5000:9000] = bytes(4000)
    (tmp_path / "damaged.parquet").write_bytes(damaged)
    for name, message in (
        ("junk.parquet", "cannot be read as a table"),
        ("junk.arrow", "cannot be read as a table"),
        ("empty.parquet", "without rows"),
        ("nulls.parquet", "holds no image; rows of tables without an image: 1"),
        ("cut.parquet", "cannot be read as a table"),
        ("damaged.parquet", "is damaged"),
    ):
        with pytest.raises(BadInput, match=message) as caught:
            ingest(opened, [tmp_path / name], workers=1)
        assert "\n" not in str(caught.value)
    assert not list((opened.root / "imported").rglob("*.tmp"))


def test_a_table_inside_a_folder_is_read_if_named(opened: catalog.Catalog, tmp_path: Path, capsys) -> None:
    folder = fill(tmp_path / "f", 1)
    path = table(folder / "t.parquet", image=[png(1)])
    assert ingest(opened, [folder], workers=1).added == 1
    assert "tables inside folders passed over (name them to ingest them): 1" in capsys.readouterr().err
    assert ingest(opened, [folder, path], workers=1).added == 1


def test_the_command(command, tmp_path: Path) -> None:
    path = table(tmp_path / "t.parquet", scan=[png(1)], words=["a"])
    wrong = command("lensdata", "ingest", path)
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1
    assert not (tmp_path / "catalog").exists()
    done = command("lensdata", "ingest", path, "--image-column", "scan", "--text-column", "words", "--json")
    told = json.loads(done.stdout)
    assert [told[name] for name in ("added", "updated", "unchanged", "gone", "states")] == [
        1,
        0,
        0,
        0,
        {"ok": 1},
    ]


def test_a_login_in_a_row_is_neither_used_nor_kept(opened: catalog.Catalog, tmp_path: Path) -> None:
    login = "http://somebody:hunter2@127.0.0.1:9/a.png"
    path = table(tmp_path / "t.parquet", image=[login], url=[login])
    pixels = table(tmp_path / "p.parquet", image=[png(1)], url=[login])
    assert ingest(opened, [path, pixels], workers=1).added == 2
    found = opened.sql(
        "SELECT located(uri) AS uri, url, status, status_reason FROM images ORDER BY image_id"
    ).rows()
    shown = "http://***@127.0.0.1:9/a.png"
    assert found[0] == (shown, shown, "missing", "a URL with a login")
    assert found[1][1:3] == (shown, "ok")
    for kept in opened.root.rglob("*"):
        assert not kept.is_file() or b"hunter2" not in kept.read_bytes()


TEXTS = "SELECT alt_text, brief_text, dense_text FROM images ORDER BY image_id"


def test_brief_and_dense_columns(opened: catalog.Catalog, tmp_path: Path) -> None:
    columns = {"text": ["a", "b"], "short_caption": ["s", ""], "dense": [1, 2], "recaption": [None, "r"]}
    path = table(tmp_path / "t.parquet", image=[png(1), png(2)], **columns)
    ingest(opened, [path], workers=1)
    assert opened.sql(TEXTS).rows() == [("a", "s", None), ("b", None, "r")]
    (tmp_path / "u.png").write_bytes(png(3))
    uris = table(tmp_path / "u.parquet", image=["u.png"], mini=["m"], maxi=["x"])
    named = Columns(brief="mini", dense="maxi")
    assert ingest(opened, [uris], workers=1, columns=named).added == 1
    assert opened.sql(TEXTS).rows()[2:] == [(None, "m", "x")]
    assert ingest(opened, [uris], workers=1, columns=named).unchanged == 1
    for wrong, message in (
        (Columns(brief="no"), "name one with --brief-column"),
        (Columns(dense="no"), "name one with --dense-column"),
        (Columns(dense="dense"), "the column 'dense' holds int64, not text"),
    ):
        with pytest.raises(BadInput, match=message):
            ingest(opened, [path], workers=1, columns=wrong)


def test_what_an_earlier_lens_copied_is_used_as_it_is(opened: catalog.Catalog, tmp_path: Path) -> None:
    (tmp_path / "u.png").write_bytes(png(3))
    path = table(tmp_path / "u.parquet", image=["u.png"], text=["t"], brief=["b"])
    ingest(opened, [path], workers=1)
    (kept,) = (opened.root / "imported").glob("*/uris.parquet")
    pq.write_table(pq.read_table(kept).drop_columns(["brief_text", "dense_text"]), kept)
    twin = catalog.open(tmp_path / "twin")
    shutil.copytree(opened.root / "imported", twin.root / "imported")
    ingest(twin, [path], workers=1)
    assert twin.sql(TEXTS).rows() == [("t", None, None)]
