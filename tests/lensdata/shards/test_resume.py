"""A killed build is finished as it was begun, though the catalog has changed since."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import catalog
from catalog import manifest
from catalog.errors import BadInput
from lensdata.shards import build, resume, verify, wishes
from lensdata.takedown import remove
from tests.conftest import ROOT
from tests.helpers import commit_scores

SMALL = ("--shard-samples", 1, "--workers", 1)


def digests(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.iterdir())}


def kill_amid(root: Path, out: Path, *args: object) -> None:
    """Start a build and kill it -9 when its first shards stand there, but not all."""
    environment = {**os.environ, "LENS_CATALOG": str(root), "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "lensdata", "build-shards", "--out", str(out), *map(str, args)]
    job = subprocess.Popen(line, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while job.poll() is None and not list(out.glob("*.tar")):
        time.sleep(0.001)
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    assert list(out.glob("*.tar"))
    assert not (out / "manifest.json").exists()


def change(opened: catalog.Catalog) -> None:
    """Image 1 is suddenly unsafe, so that a selection gives seven images."""
    commit_scores(opened, {1: {"nsfw": 0.99}})


@pytest.fixture
def cut(filled: catalog.Catalog, tmp_path: Path) -> Path:
    """A build killed half-way, of the manifest `train` with one sample a shard; the catalog has changed since."""
    chosen = filled.select().manifest("train")
    whole = build(filled, chosen, tmp_path / "whole", shard_samples=1, workers=1)
    assert whole.samples == 8
    kill_amid(filled.root, tmp_path / "s", "--name", "train", *SMALL)
    change(filled)
    return tmp_path / "s"


def test_resume_gives_the_tars_of_the_manifest_it_was_begun_with(command, cut: Path, tmp_path: Path) -> None:
    refused = command("lensdata", "build-shards", "--out", cut, *SMALL)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    refused = command("lensdata", "build-shards", "--out", cut, "--name", "train", *SMALL)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    done = command("lensdata", "build-shards", "--out", cut, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["samples"] == 8
    assert digests(cut) == digests(tmp_path / "whole")
    assert list(verify(cut)) == []
    again = command("lensdata", "build-shards", "--out", cut, "--resume", "--json")
    assert json.loads(again.stdout)["reused"]
    assert digests(cut) == digests(tmp_path / "whole")


def test_resume_does_not_take_other_settings_in_silence(
    filled: catalog.Catalog, cut: Path, tmp_path: Path
) -> None:
    other = filled.select(
        min_aesthetic=4,
        max_nsfw=None,
        dedup=False,
        captions=("alt",),
        where="width > 9",
        sources={"public-real": 2},
    )
    wanted = wishes(other, {"min_aesthetic", "max_nsfw", "dedup", "captions", "where", "sources"})
    assert len(wanted) == 7
    for what, value in {
        **wanted,
        "shard_samples": 2,
        "shard_bytes": 5,
        "virtual": True,
        "name": "other",
    }.items():
        with pytest.raises(BadInput, match=rf"was begun with (another condition|{what} )"):
            resume(filled, cut, {what: value})
    same = filled.select(min_aesthetic=3, captions=("dense", "alt"))
    wanted = wishes(same, {"min_aesthetic", "captions", "dedup", "where"})
    made = resume(filled, cut, {**wanted, "name": "train", "shard_samples": 1}, workers=1, verify_bytes=True)
    assert made is not None
    assert digests(cut) == digests(tmp_path / "whole")


def test_the_command_knows_what_it_was_told(command, cut: Path) -> None:
    for args, told in (
        (("--shard-mb", 2), "begun with shard_bytes"),
        (("--no-dedup", "--workers", 1), "begun with dedup True"),
        (("--source", "public-real=2"), "begun with sources None"),
    ):
        done = command("lensdata", "build-shards", "--out", cut, "--resume", *args)
        assert done.returncode == 2
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_with_nothing_to_resume_it_starts_anew(command, filled: catalog.Catalog, tmp_path: Path) -> None:
    done = command("lensdata", "build-shards", "--out", tmp_path / "new", "--resume", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["samples"] == 8


def test_what_was_taken_down_since_does_not_come_back(filled: catalog.Catalog, cut: Path) -> None:
    remove(filled, [1], "rights holder", [])
    with pytest.raises(BadInput, match="taken down"):
        resume(filled, cut, {})


def test_weights_are_resumed_too(filled: catalog.Catalog, tmp_path: Path) -> None:
    twice = filled.select(sources={"public-real": 2.0})
    chosen = twice.manifest("twice")
    out = tmp_path / "s"
    kill_amid(filled.root, out, "--name", "twice", "--source", "public-real=2", *SMALL)
    change(filled)
    with pytest.raises(BadInput, match="begun with weights"):
        resume(filled, out, wishes(filled.select(sources={"public-real": 3}), {"sources"}))
    assert resume(filled, out, wishes(twice, {"sources"}), workers=1) is not None
    assert manifest.load(out).mixture == chosen.mixture == {"public-real": 2.0}
