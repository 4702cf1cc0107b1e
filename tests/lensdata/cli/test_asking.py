"""Asking a catalog from the command line: by path as well as by id, what there is to ask, and answers as files."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import catalog
from lensdata.ask import MOST_FOUND, find
from lensdata.cli import ask
from tests.conftest import ROOT
from tests.helpers import commit_scores, fill, make_tar, png


@pytest.fixture
def named(tmp_path: Path, command):
    """A catalog of folders with equal file names, a tar, and an image that came from a URL."""
    fill(tmp_path / "images", 3)
    fill(tmp_path / "images/more", 2)
    make_tar(tmp_path / "some.tar", [(f"{n}.png", png(n)) for n in range(MOST_FOUND + 1)])
    (tmp_path / "images/link.jpg").symlink_to(tmp_path / "images/picture-0001.jpg")
    assert command("lensdata", "ingest", "images", "some.tar").returncode == 0
    return catalog.open(tmp_path / "catalog")


def test_why_takes_a_path(named, tmp_path: Path, command) -> None:
    path = tmp_path / "images/picture-0001.jpg"
    by_id = named.sql("SELECT image_id FROM images WHERE uri = $uri", uri=str(path)).item()
    wanted = command("lensdata", "why", by_id).stdout
    assert str(path) in wanted
    for name in ("images/picture-0001.jpg", "./images/picture-0001.jpg", path, "images/more/../picture-0001.jpg",
                 f"file://{path}"):  # fmt: skip
        assert command("lensdata", "why", name).stdout == wanted, name


def test_what_names_several_shows_all(named, tmp_path: Path, command) -> None:
    done = command("lensdata", "why", "picture-0000.png", "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(one["uri"]).parent.name for one in found] == ["images", "more"] or len(found) == 2
    assert all(one["uri"].endswith("/picture-0000.png") for one in found)
    assert [
        line
        for line in command("lensdata", "why", "picture-0000.png").stdout.splitlines()
        if "image " in line
    ]
    tar = command("lensdata", "why", "some.tar")
    assert tar.stdout.count("some.tar") == MOST_FOUND and f"the first {MOST_FOUND} images" in tar.stderr


def test_a_url_that_was_downloaded_names_its_image(filled: catalog.Catalog) -> None:
    import duckdb

    with duckdb.connect(str(filled.root / "catalog.duckdb")) as connection:
        connection.execute("UPDATE images SET url = 'https://host/cat.jpg?size=1' WHERE image_id = 7")
    assert find(filled, "https://host/cat.jpg?size=1") == ([7], False)
    assert find(filled, "7") == ([7], False)


@pytest.mark.parametrize(
    "nowhere", ["nope.png", "icture-0000.png", "%", "https://host/none.jpg", "", "'; DROP TABLE x"]
)
def test_an_unknown_place_is_one_line(named, command, nowhere: str) -> None:
    done = command("lensdata", "why", nowhere)
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")
    assert ("knows no image at" if nowhere else "is empty; give an id") in done.stderr


def test_trainable_has_the_folder(named, tmp_path: Path) -> None:
    rows = dict(named.sql("SELECT folder, count(*) FROM trainable GROUP BY folder").iter_rows())
    images = str(tmp_path / "images")
    assert rows.pop(f"{images}/more") == 2 and rows.pop(images) in (3, 4)
    assert rows == {str(tmp_path): MOST_FOUND + 1}


def test_every_example_of_the_help_of_query_works(filled: catalog.Catalog, tmp_path: Path) -> None:
    commit_scores(filled, {1: {"aesthetic": 7.0}})
    text = CliRunner().invoke(ask.query, ["--help"]).output
    examples = [line.strip() for line in text.splitlines() if line.strip().startswith("lensdata query")]
    assert len(examples) >= 5 and any("SHOW TABLES" in line for line in examples)
    made = []
    for line in examples:
        words = shlex.split(line)
        assert words[0] == "lensdata"
        shell = f"{shlex.quote(sys.executable)} -m {line}"
        environment = {"LENS_CATALOG": str(filled.root), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            shell, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), line
        if target := re.search(r"> (\S+)$", line):
            made.append(tmp_path / target[1])
    assert pl.read_parquet(next(path for path in made if path.suffix == ".parquet"))[
        "aesthetic"
    ].to_list() == [7.0]
    assert len(pl.read_csv(next(path for path in made if path.suffix == ".csv"))) > 0


def test_a_rule_that_is_off_is_told(filled: catalog.Catalog, command) -> None:
    done = command("lensdata", "funnel", "--max-nsfw", "none", "--min-clarity", "none")
    assert done.stderr.splitlines() == ["funnel: the rule nsfw is off", "funnel: the rule clarity is off"]
