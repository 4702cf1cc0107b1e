"""Object stores: an S3 server on loopback (moto) for the whole way, with its workers; memory:// for listings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest

import catalog
from catalog.bytes import locate
from catalog.errors import BadInput, LensError, Unreadable
from lensdata.ingest import ingest
from lensdata.sources import Survey, open_all
from lensdata.sources.choose import parse
from tests.helpers import fill, make_tar, png
from tests.lensdata.sources.listing import listed

FOUND = (
    "SELECT image_id, uri, byte_offset, byte_length, status, alt_text, sha256 FROM images ORDER BY image_id"
)


def put(filesystem: Any, folder: Path, prefix: str) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            filesystem.pipe(f"{prefix}/{path.relative_to(folder)}", path.read_bytes())


def test_a_prefix_is_listed_as_its_folder_is(memory: Any, tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", 3, ((40, 30),))
    fill(folder / "b" / "deep", 2, ((40, 30),))
    fill(folder / ".hidden", 1, ((40, 30),))
    make_tar(folder / "m.tar", [("x.png", png(1)), ("x.txt", b"x"), ("../../y.png", png(2))])
    (folder / "t.parquet").write_bytes(b"x")
    (folder / "odd%20#?.png").write_bytes(png(3))
    put(memory, folder, "/bucket/f")
    here, there = Survey(), Survey()
    local, remote = listed(folder, here), listed("memory://bucket/f/", there)
    base = "memory:///bucket/f" if remote[0].uri.startswith("memory:///") else "memory://bucket/f"
    assert [i.uri.replace(base, str(folder)) for i in remote] == [i.uri for i in local]
    for one, two in zip(local, remote, strict=True):
        assert locate.read(two.uri, two.offset, two.length) == locate.read(one.uri, one.offset, one.length)
        assert (one.text is None) == (two.text is None)
        assert one.file_size == two.file_size
    assert {kind: count for kind, (count, _) in there.passed_over.items() if "hidden" not in kind} == {
        kind: count for kind, (count, _) in here.passed_over.items() if "hidden" not in kind
    }


def test_what_is_not_there(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.pipe("/b/only.txt2", b"x")
    for url, message in (
        ("memory://b/none", "no file or folder"),
        ("memory://b", "holds no image"),
        ("memory://b/only.txt2", "not a folder"),
        ("nosuch://b", "nothing here reads nosuch://"),
        ("zip://a.png::memory://b/x.zip", "chained"),
        ("abfs://container/x", "needs another package"),
    ):
        with pytest.raises(BadInput, match=message):
            listed(url)


def test_sources_that_overlap(memory: Any) -> None:
    for name in ("a/x.png", "a/b/y.png", "a/.h/z.png", "a/s.tar", "ab/z.png"):
        memory.pipe(f"/{name}", png(1))
    given = ["memory://a/b", "memory://a", "memory://a/", "memory://a/.h", "memory://ab"]
    assert [source.place for source in open_all(given)] == ["memory://a", "memory://a/.h", "memory://ab"]
    assert parse("file:///a/b") == Path("/a/b")
    assert parse("s3://a//b") == "s3://a//b"
    for empty in ("", " ", "file://"):
        with pytest.raises(BadInput, match="a source is empty"):
            parse(empty)


def test_a_password_in_a_source_is_refused_and_not_told() -> None:
    for url in ("ftp://u:hunter2@127.0.0.1:9/d", "s3://KEY:hunter2@bucket/x", "nosuch://u:hunter2@h/x"):
        with pytest.raises(BadInput, match=r"://\*\*\*@.* with a password, which would be stored") as caught:
            open_all([url])
        assert "hunter2" not in str(caught.value)


def test_a_store_that_fails_on_the_way(memory: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("a/x.png", "b/y.png"):
        memory.pipe(f"/r/{name}", png(1))
    real = type(memory).ls

    def ls(self: Any, path: str, detail: bool = True, **options: Any) -> Any:
        if path.endswith("/b"):
            raise RuntimeError("the network\nis down")
        return real(self, path, detail=detail, **options)

    monkeypatch.setattr(type(memory), "ls", ls)
    with pytest.raises(
        LensError, match=r"cannot be listed .RuntimeError: the network is down.; run the same"
    ):
        listed("memory://r")


def test_the_index_of_a_tar_is_read_in_ranges(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = os.urandom(1_000_000)
    path = make_tar(tmp_path / "s.tar", [(f"{n}.{kind}", big if kind == "png" else b"t") for n in range(8)
                                         for kind in ("png", "txt")])  # fmt: skip
    fetched = []

    class Counted(fsspec.spec.AbstractFileSystem):
        protocol = "counted"

        def info(self, name: str, **options: Any) -> dict:
            return {"name": name, "size": path.stat().st_size, "type": "file"}

        def _open(self, name: str, mode: str = "rb", **options: Any) -> Any:
            return fsspec.spec.AbstractBufferedFile(self, name, mode, size=path.stat().st_size, **options)

        def cat_file(
            self, name: str, start: int | None = None, end: int | None = None, **options: Any
        ) -> bytes:
            data = path.read_bytes()[start:end]
            fetched.append(len(data))
            return data

    monkeypatch.setattr(
        fsspec.spec.AbstractBufferedFile, "_fetch_range", lambda self, a, b: self.fs.cat_file(self.path, a, b)
    )
    fsspec.register_implementation("counted", Counted, clobber=True)
    items = listed("counted://s.tar")
    assert len(items) == 8
    assert sum(fetched) < path.stat().st_size / 8
    assert locate.read(items[5].uri, items[5].offset, items[5].length) == big


def test_a_bucket_is_ingested_and_followed(s3: Any, tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "catalog")
    folder = fill(tmp_path / "f", 4, ((60, 40),))
    make_tar(folder / "m.tar", [("x.png", png(1)), ("x.txt", b"x"), ("y.png", png(2))])
    put(s3, folder, "lens/pre")
    assert ingest(opened, ["s3://lens/pre/"], workers=2).added == 6
    twin = catalog.open(tmp_path / "twin")
    ingest(twin, [folder], workers=1)
    found = opened.sql(FOUND).rows()
    assert [(row[1].replace("s3://lens/pre", str(folder)), *row[2:]) for row in found] == [
        row[1:] for row in twin.sql(FOUND).rows()
    ]
    version = opened.version
    assert ingest(opened, ["s3://lens/pre"], workers=1).unchanged == 6
    assert opened.version == version
    # Another object under one name, of the same size and maybe within the same second; one deleted, one new.
    data = png(7)
    s3.pipe("lens/pre/picture-0000.png", data)
    ingest(opened, ["s3://lens/pre"], workers=1)
    other = data[:-1] + bytes([data[-1] ^ 1])
    s3.pipe("lens/pre/picture-0000.png", other)
    s3.rm("lens/pre/picture-0001.jpg")
    s3.pipe("lens/pre/new.png", png(8))
    done = ingest(opened, ["s3://lens/pre"], workers=1)
    assert (done.added, done.updated, done.unchanged, done.gone) == (1, 1, 4, 1)
    row = opened.sql(
        "SELECT status, status_reason FROM images WHERE uri = 's3://lens/pre/picture-0001.jpg'"
    ).row(0)
    assert row[0] == "missing"
    assert "gone from the folder" in row[1]
    # What is kept nowhere: the credentials.
    kept = b"".join(path.read_bytes() for path in opened.root.rglob("*") if path.is_file())
    assert b"a-secret-key" not in kept


def test_tables_lists_and_ranges_of_a_bucket(s3: Any, tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "catalog")
    frame = pl.DataFrame({"image": [png(n) for n in range(3)], "text": ["a", "b", "c"]})
    frame.write_parquet(tmp_path / "t.parquet")
    s3.put(str(tmp_path / "t.parquet"), "lens/t.parquet")
    s3.pipe("lens/pics/p.png", png(5))
    pl.DataFrame({"image": ["pics/p.png", "pics/none.png"]}).write_parquet(tmp_path / "u.parquet")
    s3.put(str(tmp_path / "u.parquet"), "lens/u.parquet")
    assert ingest(opened, ["s3://lens/t.parquet", "s3://lens/u.parquet"], workers=1).added == 5
    rows = opened.sql(FOUND).rows()
    assert [row[4] for row in rows] == ["ok"] * 4 + ["missing"]
    assert [row[5] for row in rows[:3]] == ["a", "b", "c"]
    assert rows[3][1] == "s3://lens/pics/p.png"
    for offset, length, status in ((990_000, 10, "truncated"), (len(png(5)) - 5, 10, "truncated")):
        with pytest.raises(Unreadable) as caught:
            locate.read("s3://lens/pics/p.png", offset, length)
        assert caught.value.status == status
    with pytest.raises(Unreadable) as caught:
        locate.read("s3://lens/none.png", 0, 10)
    assert caught.value.status == "missing"
    with pytest.raises(BadInput, match="no file or folder s3://nobucket/x"):
        ingest(opened, ["s3://nobucket/x"])
