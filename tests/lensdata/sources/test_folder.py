"""Folders: odd files are passed over and counted, and never stop the listing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import catalog
from catalog.errors import BadInput
from lensdata.ingest import ingest
from lensdata.shards import build
from lensdata.sources import Survey, open_all
from tests.conftest import ROOT
from tests.helpers import fill, make_tar, picture, png
from tests.lensdata.sources.listing import listed


def names(folder: Path) -> tuple[list[str], str]:
    survey = Survey()
    found = [str(Path(item.uri).relative_to(folder)) for item in listed(folder, survey)]
    return found, "\n".join(survey.lines())


def test_odd_entries_are_counted_and_said(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    picture(1, 32, 32).save(folder / "a.PNG")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(folder / "pipe.png")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "socket.jpg"))
    server.close()
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png")).write_bytes(b"x")
    (folder / "orphan.txt").write_text("x")
    (folder / "film.mp4").write_text("x")
    (folder / "s.tar.gz").write_text("x")
    (folder / "junk.tar").write_text("x")
    (folder / ".hidden.png").write_text("x")
    found, said = names(folder)
    assert found == ["a.PNG"]
    for line in (
        "links that cannot be followed (Too many levels of symbolic links): 1",
        "links that cannot be followed (No such file or directory): 1",
        "pipes, sockets and devices passed over: 2",
        "names that are not UTF-8 passed over (rename them): 1",
        "texts without an image of their name: 1",
        "1 files passed over: 1 .mp4 (such as",
        "compressed tars passed over (decompress them: images are read in place): 1",
        "files named .tar that are passed over: 1",
        "hidden files and folders passed over: 1",
    ):
        assert line in said
    assert "\\udcff.png" in said
    assert said.replace("\n", "").isprintable()


def test_folders_nested_deeper_than_calls_may_be(tmp_path: Path) -> None:
    depth = sys.getrecursionlimit() + 100
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    with open(os.open("a.png", os.O_WRONLY | os.O_CREAT, dir_fd=at), "wb") as file:
        file.write(png(1))
    os.close(at)
    try:
        found, _ = names(tmp_path)
        assert found == ["d/" * depth + "a.png"]
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)  # pytest's own clean-up recurses


def test_a_folder_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch) -> None:
    folder = fill(tmp_path / "f", 1)
    fill(folder / "closed", 1)
    scandir = os.scandir

    def refusing(path: str):
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)  # root, who runs tests in containers, may read anything
    found, said = names(folder)
    assert found == ["picture-0000.png"]
    assert "folders that cannot be read (Permission denied): 1" in said
    with pytest.raises(BadInput, match="Permission denied"):
        open_all([folder / "closed"])


def test_order_and_sidecars(tmp_path: Path) -> None:
    fill(tmp_path / "b", 1)
    fill(tmp_path / "c", 1)
    picture(1, 32, 32).save(tmp_path / "a.png")
    (tmp_path / "a.TXT").write_text("text")
    (tmp_path / "a.json").write_text("{}")
    picture(1, 32, 32).save(tmp_path / "z.png")
    make_tar(tmp_path / "b.tar", [("k.png", png(1))])
    items = listed(tmp_path)
    assert [Path(item.uri).name for item in items] == [
        "a.png",
        "picture-0000.png",
        "b.tar",
        "picture-0000.png",
        "z.png",
    ]
    assert items[0].text == (str(tmp_path / "a.TXT"), 0, 4)
    assert items[0].json == (str(tmp_path / "a.json"), 0, 2)
    assert items[0].file_size == (tmp_path / "a.png").stat().st_size + 6
    os.utime(tmp_path / "a.json", ns=(0, 2**62))
    assert listed(tmp_path)[0].file_mtime_ns == 2**62


def test_folders_that_lens_wrote_are_no_source(tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", 1)
    for name, mark, text in (
        ("shards", "manifest.json", '{\n "format": "lens-manifest/1"}'),
        ("unfinished", "build.json", '{"fingerprint": "x", "virtual": false}'),
        ("cat", "catalog.duckdb", ""),
        ("mine", "manifest.json", '{"start_url": "/"}'),
        ("mine-too", "build.json", "[]"),
    ):
        fill(folder / name, 1)
        (folder / name / mark).write_text(text)
    os.mkfifo(folder / "manifest.json")
    found, said = names(folder)
    assert found == ["mine/picture-0000.png", "mine-too/picture-0000.png", "picture-0000.png"]
    assert "shards of Lens's own passed over: 2" in said
    assert "catalogs of Lens's own passed over: 1" in said
    assert names(folder / "shards")[0] == ["picture-0000.png"]  # named, shards are a source like any tars
    with pytest.raises(BadInput, match="catalogs of Lens's own"):
        open_all([folder / "cat"])


def test_shards_beside_their_images_are_not_ingested(filled_own: catalog.Catalog, images: Path) -> None:
    build(filled_own, filled_own.select().manifest(), images / "shards", workers=1)
    assert list((images / "shards").glob("*.tar"))
    assert str(ingest(filled_own, [images], workers=1)) == "0 images added, 0 updated, 12 unchanged"


def test_pipes_and_devices_are_refused_without_being_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        done = subprocess.run(
            [sys.executable, "-m", "lensdata", "--catalog", str(tmp_path / "c"), "ingest", str(path)],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert "pipe, socket or device" in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "c").exists()
