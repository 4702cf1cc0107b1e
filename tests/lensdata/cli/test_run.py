"""`lensdata run`: again with new images, and over a folder without texts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from lensdata.shards import verify
from tests.helpers import picture


def files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_new_images_are_built_beside_the_old(command, tmp_path: Path, images: Path) -> None:
    line = ("run", images, "--out", tmp_path / "s", "--no-filters", "--workers", 1)
    done = command("lensdata", *line)
    assert done.returncode == 0, done.stderr
    first = files(tmp_path / "s")
    assert "12 samples" in done.stderr
    for n in (1, 2):
        picture(900 + n).save(images / f"new-{n}.png")
        (images / f"new-{n}.txt").write_text(f"new {n}")
    done = command("lensdata", *line)
    assert done.returncode == 0, done.stderr
    assert f"this one goes to {tmp_path / 's-2'}" in done.stderr
    assert f"run: wrote {tmp_path / 's-2'}" in done.stderr
    assert files(tmp_path / "s") == first
    assert json.loads((tmp_path / "s-2" / "manifest.json").read_text())["samples"] == 14
    assert list(verify(tmp_path / "s-2")) == []
    second = files(tmp_path / "s-2")
    done = command("lensdata", *line)
    assert done.returncode == 0, done.stderr
    assert "14 samples in 4 shards were there already" in done.stderr
    assert files(tmp_path / "s-2") == second
    assert not (tmp_path / "s-3").exists()


def test_a_folder_without_texts(command, tmp_path: Path) -> None:
    folder = tmp_path / "red_boats"
    folder.mkdir()
    for n in range(3):
        picture(n).save(folder / f"boat-{n}.png")
    line = (
        "run",
        folder,
        "--out",
        tmp_path / "s",
        "--no-filters",
        "--workers",
        1,
        "--report",
        tmp_path / "r.html",
    )
    done = command("lensdata", *line)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert "for 3 of them the source gives no such text" in last
    assert "--from-names" in last
    assert '<section id="failures">' in (tmp_path / "r.html").read_text()
    assert f"run: wrote {tmp_path / 'r.html'}" in done.stderr
    done = command("lensdata", *line, "--from-names")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "s" / "manifest.json").read_text())["samples"] == 3


def test_it_takes_the_columns_of_tables(command, tmp_path: Path) -> None:
    import polars as pl

    from tests.helpers import png

    pl.DataFrame({"bild": [png(1), png(2)], "satz": ["eins", "zwei"]}).write_parquet(tmp_path / "t.parquet")
    line = ("run", tmp_path / "t.parquet", "--no-filters", "--workers", 1)
    assert command("lensdata", *line).returncode == 2
    done = command("lensdata", *line, "--image-column", "bild", "--text-column", "satz")
    assert done.returncode == 0, done.stderr
    assert "2 alt captions" in done.stderr
