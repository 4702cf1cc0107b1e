"""What must survive: kill -9 at any instant, a full disk, a query in the middle of a job."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

import catalog
from catalog import manifest
from tests.conftest import ROOT
from tests.helpers import fill

CHEAP = ("--only", "clarity", "--only", "entropy", "--only", "luminance")


def start(catalog_folder: Path, *args: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "LENS_CATALOG": str(catalog_folder), "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "lensdata", *map(str, args)]
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(catalog_folder: Path, *args: object) -> str:
    job = start(catalog_folder, *args)
    out, err = job.communicate(timeout=300)
    assert job.returncode == 0, err
    return out


def timed(catalog_folder: Path, *args: object) -> float:
    """Seconds that a command takes undisturbed."""
    start = time.monotonic()
    finish(catalog_folder, *args)
    return time.monotonic() - start


def kill_until_done(catalog_folder: Path, *args: object, seed: int, kills: int, seconds: float) -> int:
    """Run a command, killing it -9 at `kills` random instants of its usual run, then let it finish.

    `seconds` is how long it took undisturbed; the earliest instants come first, since other work on the machine may
    have gone since then. Returns how often the kill came before the end.
    """
    rng = random.Random(seed)
    hit = 0
    for share in sorted(rng.uniform(0.1, 0.95) for _ in range(kills)):
        job = start(catalog_folder, *args)
        try:
            job.communicate(timeout=seconds * share)
        except subprocess.TimeoutExpired:
            os.kill(job.pid, signal.SIGKILL)
            job.communicate()
            hit += 1
        if job.returncode == 0:
            break
    finish(catalog_folder, *args)
    return hit


def tables(root: Path) -> dict[str, pl.DataFrame]:
    opened = catalog.open(root, read_only=True)
    columns = {
        "images": "* EXCLUDE ingested_at", "scores": "*", "captions": "* EXCLUDE created_at", "buckets": "*",
        "clusters": "*", "scorers": "* EXCLUDE created_at",
    }  # fmt: skip
    found = {name: opened.sql(f"SELECT {what} FROM {name} ORDER BY ALL") for name, what in columns.items()}
    assert (
        opened.sql("SELECT count(*) FROM parts").item()
        == opened.sql("SELECT count(DISTINCT part_id) FROM parts").item()
    )
    return found


def same(left: dict[str, pl.DataFrame], right: dict[str, pl.DataFrame]) -> bool:
    return all(left[name].equals(right[name]) for name in left)


def digests(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.iterdir())}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("many") / "images", 420, sizes=((400, 400), (360, 440)))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, many: Path) -> Path:
    root = tmp_path_factory.mktemp("undisturbed") / "catalog"
    finish(root, "ingest", many)
    finish(root, "score", *CHEAP)
    finish(root, "caption")
    finish(root, "bucket")
    return root


def test_killed_scoring_gives_the_same_tables(tmp_path: Path, many: Path, undisturbed: Path) -> None:
    finish(tmp_path / "timed", "ingest", many)
    seconds = timed(tmp_path / "timed", "score", *CHEAP)
    root = tmp_path / "catalog"
    finish(root, "ingest", many)
    assert kill_until_done(root, "score", *CHEAP, seed=1, kills=5, seconds=seconds) > 0
    finish(root, "caption")
    finish(root, "bucket")
    assert same(tables(root), tables(undisturbed))
    assert not list((root / "parts").rglob("*.parquet"))


def test_killed_ingest_gives_the_same_ids(tmp_path: Path, many: Path, undisturbed: Path) -> None:
    seconds = timed(tmp_path / "timed", "ingest", many)
    root = tmp_path / "catalog"
    assert kill_until_done(root, "ingest", many, seed=2, kills=6, seconds=seconds) > 0
    assert tables(root)["images"]["uri"].to_list() == tables(undisturbed)["images"]["uri"].to_list()
    assert tables(root)["images"]["image_id"].to_list() == list(range(1, 421))


def test_killed_build_gives_the_same_tars(tmp_path: Path, undisturbed: Path) -> None:
    options = ("build-shards", "--no-dedup", "--max-nsfw", "none", "--min-aesthetic", "none", "--max-watermark", "none",
               "--min-area", "none", "--shard-samples", 4)  # fmt: skip
    root = tmp_path / "catalog"
    shutil.copytree(undisturbed, root)
    seconds = timed(root, *options, "--out", tmp_path / "whole")
    assert kill_until_done(root, *options, "--out", tmp_path / "killed", seed=3, kills=6, seconds=seconds) > 0
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")
    assert len(manifest.load(tmp_path / "killed").samples) == 420
    opened = catalog.open(root, read_only=True)
    assert opened.sql("SELECT sum(samples), count(*) = count(DISTINCT shard) FROM shards").row(0) == (
        420,
        True,
    )


def test_a_query_answers_while_scoring_runs(tmp_path: Path, many: Path) -> None:
    root = tmp_path / "catalog"
    finish(root, "ingest", many)
    job = start(root, "score", *CHEAP)
    answers = []
    reader = catalog.open(root, read_only=True)
    while job.poll() is None:
        answers.append(reader.sql("SELECT count(*) FROM scores").item())
        time.sleep(0.02)
    assert job.returncode == 0, job.communicate()[1]
    assert len(answers) > 3
    assert answers == sorted(answers)
    assert reader.sql("SELECT count(clarity) FROM scores").item() == 420


def test_a_second_writer_is_refused_in_one_line(tmp_path: Path, many: Path) -> None:
    root = tmp_path / "catalog"
    finish(root, "ingest", many)
    opened = catalog.open(root)
    with opened.job("score"):
        second = start(root, "bucket")
        _, err = second.communicate(timeout=60)
    assert second.returncode == 2
    assert err.strip().count("\n") == 0
    assert "being filled by `score`" in err
    finish(root, "bucket")


@pytest.fixture
def small_disk(tmp_path: Path):
    """A mounted file system of 12 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_stops_scoring_and_loses_nothing(small_disk: Path, many: Path, undisturbed: Path) -> None:
    root = small_disk / "catalog"
    finish(root, "ingest", many)
    filler = small_disk / "filler"
    _fill_up(filler)
    job = start(root, "score", *CHEAP)
    _, err = job.communicate(timeout=120)
    assert job.returncode == 1
    lines = [line for line in err.splitlines() if line.startswith("lensdata:")]
    assert len(lines) == 1
    assert "no space left" in lines[0]
    assert "Traceback" not in err
    filler.unlink()
    finish(root, "score", *CHEAP)
    assert tables(root)["scores"].equals(tables(undisturbed)["scores"])


def test_a_full_disk_stops_building_and_loses_nothing(
    small_disk: Path, tmp_path: Path, undisturbed: Path
) -> None:
    root = tmp_path / "catalog"
    shutil.copytree(undisturbed, root)
    options = ("build-shards", "--no-dedup", "--max-nsfw", "none", "--min-aesthetic", "none", "--max-watermark", "none",
               "--min-area", "none", "--shard-samples", 20)  # fmt: skip
    finish(root, *options, "--out", tmp_path / "whole")
    job = start(root, *options, "--out", small_disk / "out")
    _, err = job.communicate(timeout=120)
    assert job.returncode == 1, err
    assert "no space left" in err
    assert "Traceback" not in err
    whole = digests(tmp_path / "whole")
    finished = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (small_disk / "out").glob("*.tar")
    }
    assert finished
    assert finished.items() <= whole.items()
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    finish(root, *options, "--out", small_disk / "out")
    assert digests(small_disk / "out") == whole


def _fill_up(path: Path) -> None:
    with path.open("wb") as file:
        try:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        except OSError:
            pass
