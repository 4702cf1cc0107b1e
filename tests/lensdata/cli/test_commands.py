"""The command line: real processes, one-line errors, exit codes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import polars as pl
import pytest

import catalog


def one_line(err: str, name: str = "lensdata") -> str:
    """The error line of a failed command, which must be its only one."""
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert lines[0].startswith(f"{name}: ")
    assert "Traceback" not in err
    return lines[0]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("ingest", "nowhere"), "there is no file or folder"),
        (("ingest", "empty"), "holds no image"),
        (("ingest",), "Missing argument"),
        (("score",), "there is no catalog"),
        (("dedup", "--threshold", "1.5"), "there is no catalog"),
        (("query", "SELECT 1"), "there is no catalog"),
        (("report", "--out", "r.html"), "there is no catalog"),
        (("build-shards", "--out", "s"), "there is no catalog"),
        (("run",), "there is no catalog"),
        (("migrate",), "there is no catalog"),
        (("verify-shards", "nowhere"), "is not a folder"),
        (("polish",), "No such command"),
        (("ingest", "--sauce", "x", "y"), "No such option"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    command, tmp_path: Path, args: tuple[str, ...], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    done = command("lensdata", *args)
    assert done.returncode == 2, done.stderr
    assert message in one_line(done.stderr)
    assert not (tmp_path / "catalog").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ("build-shards", "--min-aesthetic", "9.9", "--out", "s"),
            "the rule aesthetic drops the last of 12 images",
        ),
        (("build-shards", "--min-aesthetic", "much", "--out", "s"), "is not a number or `none`"),
        (("build-shards", "--min-aesthetic", "nan", "--out", "s"), "is not a number or `none`"),
        (("build-shards", "--where", "width >", "--out", "s"), "not one SQL condition"),
        (("build-shards", "--where", "breadth > 1", "--out", "s"), "breadth"),
        (("build-shards", "--captions", "long", "--out", "s"), "unknown caption style"),
        (("build-shards", "--out", "catalog"), "is not empty"),
        (("query", "DROP TABLE images"), "DROP statements are refused"),
        (("query", "nosuchquery"), "there is no named query"),
        (("query", "SELECT $a", "--param", "a"), "NAME=VALUE"),
        (("why", "777"), "there is no image 777"),
        (("funnel", "--sweep", "beauty", "1", "2", "1"), "has no threshold to sweep"),
        (("funnel", "--sweep", "aesthetic", "1", "2", "0"), "must run upwards"),
        (("funnel", "--sweep", "aesthetic", "nan", "6", "1"), "must run upwards"),
        (("funnel", "--sweep", "aesthetic", "1", "inf", "1"), "must run upwards"),
        (("why", "1", "--where", "width > 1"), "leave --where out"),
        (("query", "COPY (PIVOT images ON format USING count(*)) TO 'stolen.csv'"), "refused"),
        (("query", "SELECT list(image_id) FROM images", "--format", "csv"), "use --format json"),
        (("build-shards", "--name", "x" * 300, "--out", "s"), "cannot name a manifest"),
        (("score", "--models", "heavy"), "'heavy'"),
        (("score", "--only", "beauty"), "there is no score beauty"),
        (("dedup", "--threshold", "1.5"), "cosine between 0 and 1"),
        (("caption", "--style", "brief", "--from-names"), "does not go with --style brief"),
    ],
)
def test_bad_input_on_a_catalog(
    command, filled: catalog.Catalog, args: tuple[str, ...], message: str
) -> None:
    done = command("lensdata", *args)
    assert done.returncode == 2, done.stderr
    assert message in one_line(done.stderr)


def test_every_command_has_help_with_an_example(command) -> None:
    from lensdata.cli import lensdata

    for name in lensdata.commands:
        done = command("lensdata", name, "--help")
        assert done.returncode == 0
        assert "Example" in done.stdout


def test_queries_in_every_format(command, filled: catalog.Catalog) -> None:
    text = "SELECT image_id, alt_text FROM images ORDER BY image_id LIMIT 2"
    assert command("lensdata", "query", text, "--format", "csv").stdout == (
        "image_id,alt_text\n1,picture number 0\n2,picture number 1\n"
    )
    lines = command("lensdata", "query", text, "--format", "json").stdout.splitlines()
    assert [json.loads(line)["image_id"] for line in lines] == [1, 2]
    assert "picture number 1" in command("lensdata", "query", text).stdout
    assert "funnel" in command("lensdata", "query").stdout
    done = command(
        "lensdata", "query", "SELECT uri FROM images WHERE width = $w", "--param", "w=480", "--format", "csv"
    )
    assert len(done.stdout.splitlines()) == 5


def test_parquet_goes_to_stdout_as_bytes(filled: catalog.Catalog, capfdbinary) -> None:
    from catalog.console import run_command
    from lensdata.cli import lensdata

    args = ["--catalog", str(filled.root), "query", "SELECT image_id FROM images", "--format", "parquet"]
    assert run_command(lensdata, "lensdata", args) == 0
    assert len(pl.read_parquet(io.BytesIO(capfdbinary.readouterr().out))) == 12


def test_shards_from_the_command_line(command, filled: catalog.Catalog, tmp_path: Path) -> None:
    done = command("lensdata", "build-shards", "--min-aesthetic", "3", "--out", "shards", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["samples"], told["dropped"], told["reused"]) == (8, 0, False)
    assert json.loads(command("lensdata", "verify-shards", "shards", "--json").stdout) == {
        "ok": True,
        "faults": [],
    }
    tar = next((tmp_path / "shards").glob("*.tar"))
    tar.write_bytes(tar.read_bytes()[: tar.stat().st_size // 2])
    verified = command("lensdata", "verify-shards", "shards")
    assert verified.returncode == 1
    assert tar.name in verified.stdout


def test_the_ledger_from_the_command_line(command, filled: catalog.Catalog) -> None:
    steps = json.loads(command("lensdata", "funnel", "--json").stdout)
    assert [step["rule"] for step in steps][:2] == ["readable", "resolution"]
    assert steps[-1]["left_over"] == 8
    found = json.loads(command("lensdata", "why", 3, "--json").stdout)
    assert not found["selected"]
    assert [rule["rule"] for rule in found["rules"] if rule["verdict"] != "kept"] == ["resolution"]
    assert "not selected: resolution" in command("lensdata", "why", 3).stdout
    sweep = json.loads(command("lensdata", "funnel", "--sweep", "aesthetic", 4, 6, 0.5, "--json").stdout)
    assert [row["left_over"] for row in sweep] == [8, 8, 8, 0, 0]


def test_run_does_every_stage_and_then_nothing(command, images: Path, tmp_path: Path) -> None:
    options = (
        "--out",
        "shards",
        "--report",
        "report.html",
        "--max-watermark",
        "none",
        "--min-aesthetic",
        "none",
    )
    first = command("lensdata", "run", images, *options)
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "shards" / "manifest.json").is_file()
    assert (tmp_path / "report.html").read_text().startswith("<!")
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "shards").iterdir())
    again = command("lensdata", "run", images, *options)
    assert again.returncode == 0, again.stderr
    assert "ingest: 0 images added" in again.stderr
    assert "score: every image has its scores" in again.stderr
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "shards").iterdir()) == before
