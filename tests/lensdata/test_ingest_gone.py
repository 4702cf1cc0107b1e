"""Files deleted from a folder are marked missing by the next listing, and nothing else is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import polars as pl
import pytest

import catalog
from catalog.errors import BadInput
from lensdata.ingest import ingest
from tests.helpers import fill, make_tar, png


def statuses(opened: catalog.Catalog, root: Path) -> dict[str, str]:
    rows = opened.sql("SELECT uri, byte_offset, status FROM images ORDER BY image_id").rows()
    return {f"{Path(uri).relative_to(root)}" + (f"@{at}" if at else ""): status for uri, at, status in rows}


@pytest.fixture
def listed(tmp_path: Path) -> tuple[catalog.Catalog, Path]:
    folder = fill(tmp_path / "f", 2, ((40, 30),))
    for name in ("sub", ".hidden", "other"):
        fill(folder / name, 1, ((40, 30),))
    fill(tmp_path / "elsewhere", 1, ((40, 30),))
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    make_tar(folder / "s.tar", [("a.png", png(1)), ("b.png", png(2))])
    (folder / "image.dat").write_bytes(png(3))
    pl.DataFrame({"image": ["image.dat"]}).write_parquet(folder / "t.parquet")
    opened = catalog.open(tmp_path / "catalog")
    sources = [folder, folder / ".hidden", folder / "link", folder / "t.parquet"]
    assert ingest(opened, sources, workers=1).added == 9
    return opened, folder


def test_what_is_elsewhere_is_not_gone(listed) -> None:
    opened, folder = listed
    version = opened.version
    assert str(ingest(opened, [folder], workers=1)) == "0 images added, 0 updated, 6 unchanged"
    assert opened.version == version


def test_a_folder_in_the_place_of_a_file(listed) -> None:
    opened, folder = listed
    (folder / "picture-0001.jpg").unlink()
    fill(folder / "picture-0001.jpg", 1, ((40, 30),))
    done = ingest(opened, [folder], workers=1)
    assert (done.added, done.gone) == (1, 1)
    found = statuses(opened, folder)
    assert (found["picture-0001.jpg"], found["picture-0001.jpg/picture-0000.png"]) == ("missing", "ok")


def test_deleted_files_folders_and_tars(listed) -> None:
    opened, folder = listed
    (folder / "picture-0001.jpg").unlink()
    (folder / "s.tar").unlink()
    (folder / "image.dat").unlink()
    shutil.rmtree(folder / "sub")
    before = opened.sql("SELECT image_id, sha256 FROM images ORDER BY image_id").rows()
    done = ingest(opened, [folder], workers=1)
    assert (done.added, done.updated, done.unchanged, done.gone) == (0, 0, 2, 5)
    gone = {name for name, status in statuses(opened, folder).items() if status == "missing"}
    assert gone == {"picture-0001.jpg", "s.tar@512", *[n for n in gone if n.startswith("s.tar@")], "image.dat",
                    "sub/picture-0000.png"}  # fmt: skip
    assert len(gone) == 5
    reason = opened.sql("SELECT DISTINCT status_reason FROM images WHERE status = 'missing'").item()
    assert "gone from the folder" in reason
    assert opened.sql("SELECT image_id, sha256 FROM images ORDER BY image_id").rows() == before
    version = opened.version
    assert ingest(opened, [folder], workers=1).gone == 0
    assert opened.version == version
    # It comes back, with the same size and time: under its id.
    make_tar(folder / "s.tar", [("a.png", png(1)), ("b.png", png(2))])
    assert ingest(opened, [folder], workers=1).updated == 2
    assert statuses(opened, folder)["s.tar@512"] == "ok"


def test_a_file_that_is_back_unchanged(listed, tmp_path: Path) -> None:
    opened, folder = listed
    (folder / "picture-0000.png").rename(tmp_path / "kept.png")
    assert ingest(opened, [folder], workers=1).gone == 1
    (tmp_path / "kept.png").rename(folder / "picture-0000.png")
    assert ingest(opened, [folder], workers=1).updated == 1
    assert set(statuses(opened, folder).values()) == {"ok"}


def test_what_cannot_be_looked_at_is_not_gone(listed, tmp_path: Path) -> None:
    opened, folder = listed
    for name in ("sub", "other"):  # as after an unmount: the folder is there and empty
        shutil.rmtree(folder / name)
        (folder / name).mkdir()
    assert ingest(opened, [folder], workers=1).gone == 0
    folder.rename(tmp_path / "away")
    with pytest.raises(BadInput, match="no file or folder"):
        ingest(opened, [folder], workers=1)
    folder.mkdir()
    with pytest.raises(BadInput, match="holds no image"):
        ingest(opened, [folder], workers=1)
    assert set(statuses(opened, folder).values()) == {"ok"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_without_permission(listed) -> None:
    opened, folder = listed
    (folder / "sub").chmod(0)
    try:
        assert ingest(opened, [folder], workers=1).gone == 0
    finally:
        (folder / "sub").chmod(0o755)


def test_one_file_named_alone_says_nothing_of_its_folder(listed) -> None:
    opened, folder = listed
    (folder / "picture-0001.jpg").unlink()
    assert ingest(opened, [folder / "s.tar"], workers=1).gone == 0


def test_a_failed_file_is_read_again_only_if_it_changed_or_with_retry(tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "catalog")
    path = tmp_path / "f" / "a.png"
    path.parent.mkdir()
    broken, whole = png(1)[:20].ljust(len(png(1)), b"\0"), png(1)
    path.write_bytes(broken)
    facts = path.stat()
    ingest(opened, [path.parent], workers=1)
    path.write_bytes(whole)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert ingest(opened, [path.parent], workers=1).unchanged == 1  # by size and time it is the same
    assert ingest(opened, [path.parent], workers=1, retry=True).updated == 1
    assert opened.sql("SELECT status FROM images").item() == "ok"
