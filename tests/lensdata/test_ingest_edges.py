"""No value that a file holds ends an ingest: its row says what is wrong, and the terminal stays quiet."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

import catalog
from catalog import pixels
from lensdata import ingest as stage
from lensdata.ingest import ingest
from tests.fakes import zoo
from tests.helpers import fill, make_tar, png

FAR = 10_413_792_000  # 1 January 2300, seconds
BMP = zoo.encode(zoo.picture(), "BMP")


def statuses(opened) -> dict[str, tuple[str, str | None]]:
    rows = opened.sql("SELECT uri, status, status_reason FROM images").iter_rows()
    return {Path(uri).name: (status, reason) for uri, status, reason in rows}


def test_a_bmp_of_impossible_width_is_a_failed_row(tmp_path: Path, command) -> None:
    fill(tmp_path / "images", 3)
    (tmp_path / "images/bad.bmp").write_bytes(BMP[:18] + struct.pack("<I", 0xFFFFFF81) + BMP[22:])
    done = command("lensdata", "ingest", "images")
    assert done.returncode == 0 and "4 images added" in done.stdout
    opened = catalog.open(tmp_path / "catalog")
    assert statuses(opened)["bad.bmp"] == (pixels.CORRUPT, "an image of 4294967169x64 pixels")
    assert opened.sql("SELECT count(*) FROM images WHERE status = 'ok'").item() == 3


def test_what_probing_says_is_never_too_large_for_its_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should a header's number get past the probe, its row fails, and no other."""
    real = pixels.probe

    def claimed(data: bytes) -> pixels.Header:
        header = real(data)
        return header if header.width != 520 else pixels.Header("png", 2**40, 520, 1)

    monkeypatch.setattr(pixels, "probe", claimed)
    opened = catalog.open(tmp_path / "catalog")
    fill(tmp_path / "images", 3)
    from lensdata import engine

    monkeypatch.setattr(stage, "run_stage", lambda *a, **k: _here(engine, *a, **k))
    assert ingest(opened, [tmp_path / "images"]).added == 3
    found = statuses(opened)
    assert found["picture-0000.png"] == (
        pixels.CORRUPT, "its width, 1099511627776, does not fit a column of Int32",
    )  # fmt: skip
    assert found["picture-0001.jpg"][0] == found["picture-0002.png"][0] == pixels.OK


def _here(engine, catalog, stage, tasks, total, workers, on, *rest, **options):
    from lensdata.stage import run_stage

    return run_stage(catalog, stage, tasks, total, workers, engine.HERE, *rest, **options)


@pytest.mark.parametrize("when", [FAR, -1, -(10**9), 0, 2**33])
def test_a_file_of_any_date_is_ingested_once(tmp_path: Path, when: int) -> None:
    fill(tmp_path / "images", 2)
    make_tar(tmp_path / "some.tar", [("a.png", png(1))])
    for path in (
        tmp_path / "images/picture-0000.png",
        tmp_path / "images/picture-0001.txt",
        tmp_path / "some.tar",
    ):
        os.utime(path, (when, when))
    opened = catalog.open(tmp_path / "catalog")
    done = ingest(opened, [tmp_path / "images", tmp_path / "some.tar"], workers=1)
    assert (done.added, done.updated, done.gone) == (3, 0, 0)
    assert opened.sql("SELECT count(*) FROM images WHERE status = 'ok'").item() == 3
    again = ingest(opened, [tmp_path / "images", tmp_path / "some.tar"], workers=1)
    assert (again.unchanged, again.updated, again.gone) == (3, 0, 0)


def test_decoders_warnings_are_reasons_and_not_on_the_terminal(tmp_path: Path, command) -> None:
    images = tmp_path / "images"
    images.mkdir()
    tiff = bytearray(zoo.encode(zoo.picture(), "TIFF", tiffinfo={305: "some software"}))
    (at,) = struct.unpack_from("<I", tiff, 4)
    (tags,) = struct.unpack_from("<H", tiff, at)
    place = next(
        p for p in range(at + 2, at + 2 + 12 * tags, 12) if struct.unpack_from("<H", tiff, p)[0] == 305
    )
    struct.pack_into("<II", tiff, place + 4, 200, 0xFFFFFF00)
    (images / "warned.tiff").write_bytes(tiff)
    lzw = bytearray(zoo.encode(zoo.picture(), "TIFF", compression="tiff_lzw"))
    lzw[2000:2200] = bytes(range(200))
    (images / "printed.tiff").write_bytes(lzw)
    assert command("lensdata", "ingest", "images").returncode == 0
    done = command("lensdata", "score", "--only", "clarity")
    assert done.returncode == 0
    assert "Warning" not in done.stderr and "table" not in done.stderr and len(done.stderr.splitlines()) <= 1
    found = statuses(catalog.open(tmp_path / "catalog"))
    assert found["warned.tiff"] == (pixels.OK_WARNINGS, "Truncated File Read")
    assert found["printed.tiff"][0] == pixels.CORRUPT and "not yet in table" in (
        found["printed.tiff"][1] or ""
    )
