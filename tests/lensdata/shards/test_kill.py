"""A build that ends between any two steps leaves nothing under a shard's name that is not whole and on the disk."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import catalog
from lensdata.shards import blocks, build, verify
from tests.conftest import ROOT

STEPS = ("pwrite", "fsync", "rename")  # the calls of a build that change the disk
KILLER = """
import os, pathlib, signal, sys
name, number, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
left = [number]

def step(real):
    def call(*args, **options):
        subject = str(args[0])
        if isinstance(args[0], int):
            subject = os.readlink(f"/proc/self/fd/{args[0]}")
        if subject.startswith(out):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)
    return call

if name == "rename":
    pathlib.Path.rename = step(pathlib.Path.rename)
else:
    setattr(os, name, step(getattr(os, name)))
sys.argv = ["lensdata", *sys.argv[4:]]
from lensdata.cli import main
main()
"""


def digests(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.glob("*.tar"))}


def build_until(root: Path, out: Path, step: str, number: int) -> int:
    """The exit code of a build of one sample a shard, killed at the call `number` (from 0) of a step in its folder."""
    options = ["build-shards", "--out", str(out), "--name", "train", "--shard-samples", "1", "--workers", "2"]
    environment = {**os.environ, "LENS_CATALOG": str(root), "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-c", KILLER, step, str(number), str(out), *options]
    return subprocess.run(line, env=environment, capture_output=True, check=False).returncode


@pytest.mark.parametrize("step", STEPS)
def test_killed_between_any_two_steps(filled: catalog.Catalog, tmp_path: Path, step: str) -> None:
    chosen = filled.select().manifest("train")
    whole = digests(build(filled, chosen, tmp_path / "whole", shard_samples=1).manifest.root)
    seen = set()
    for number in range(0, 100, 2 if step == "pwrite" else 3):
        out = tmp_path / str(number)
        code = build_until(filled.root, out, step, number)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        named = digests(out) if out.exists() else {}
        assert named.items() <= whole.items()
        seen.add(len(named))
        build(filled, chosen, out, shard_samples=1, workers=2)
        assert digests(out) == whole
        assert list(verify(out)) == []
    assert number > 6
    assert seen & set(range(1, 8)), "no kill came when some shards stood there, but not all"


def test_what_is_named_is_on_the_disk(filled: catalog.Catalog, tmp_path: Path, monkeypatch) -> None:
    """The order that a power cut asks for: content, then its name, then the names, then manifest.json."""
    events: list[tuple[str, str, int]] = []  # what was done, to which file, its bytes at that time
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(file: int) -> None:
        real_fsync(file)
        path = str(Path(f"/proc/self/fd/{file}").readlink())
        events.append(("fsync", path, os.fstat(file).st_size))

    def rename(path: Path, target: Path) -> Path:
        events.append(("rename", str(path), path.stat().st_size))
        found = real_rename(path, target)
        events.append(("named", str(target), target.stat().st_size))
        return found

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    out = tmp_path / "s"
    build(filled, filled.select().manifest("train"), out, shard_samples=1, workers=2)
    names = [path for what, path, _ in events if what == "named" and path.startswith(str(out))]
    assert sum(path.endswith(".tar") for path in names) == 8
    assert names[-1] == str(out / "manifest.json")
    for number, (what, path, size) in enumerate(events):
        if what == "rename" and path.startswith(str(out)):
            assert ("fsync", path, size) in events[:number], f"{path} was named before it was on the disk"
    for tar in (path for path in names if path.endswith(".tar")):
        index = str(out / ".index" / f"{Path(tar).name}.index")
        assert names.index(index) < names.index(tar)
        place = next(n for n, (what, path, _) in enumerate(events) if (what, path) == ("named", tar))
        last = next(
            n for n, (what, path, _) in enumerate(events) if (what, path) == ("rename", _begun(events))
        )
        assert any((what, path) == ("fsync", str(out)) for what, path, _ in events[place:last])


def _begun(events: list[tuple[str, str, int]]) -> str:
    """The name under which manifest.json was written."""
    return next(path for what, path, _ in events if what == "rename" and "/s/manifest.json." in path)


def test_a_build_that_fails_leaves_no_scraps(filled: catalog.Catalog, tmp_path: Path, monkeypatch) -> None:
    real = os.pwrite

    def full(file: int, data: bytes, at: int) -> int:
        if Path(f"/proc/self/fd/{file}").readlink().is_relative_to(out):
            raise OSError(28, "No space left on device")
        return real(file, data, at)

    out = tmp_path / "s"
    chosen = filled.select().manifest("train")
    with monkeypatch.context() as patch:
        patch.setattr(blocks.os, "pwrite", full)
        with pytest.raises(OSError, match="No space"):
            build(filled, chosen, out, shard_samples=1, workers=2)
    assert sorted(path.name for path in out.rglob("*")) == [".index", "build.json"]
    assert build(filled, chosen, out, shard_samples=1, workers=2).samples == 8
