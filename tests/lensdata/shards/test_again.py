"""What a build could not read: told by its fingerprint, read from other files, tried again by the same command."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import catalog
from catalog import manifest
from catalog.errors import BadInput, LensError
from catalog.manifest import Manifest
from lensdata.ingest import ingest
from lensdata.shards import build, resume, verify
from lensdata.shards.builder import Built
from lensdata.takedown import remove


def tars(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.glob("*.tar"))}


def places(chosen: Manifest, *rows: int) -> list[Path]:
    return [Path(chosen.samples["uri"][row]) for row in rows]


@pytest.fixture
def chosen(filled_own: catalog.Catalog) -> Manifest:
    return filled_own.select().manifest("train")


@pytest.fixture
def whole(filled_own: catalog.Catalog, chosen: Manifest, tmp_path: Path) -> Built:
    return build(filled_own, chosen, tmp_path / "whole", shard_samples=1, workers=1)


def test_other_data_has_another_fingerprint(
    filled_own: catalog.Catalog, chosen: Manifest, whole: Built, tmp_path: Path
) -> None:
    for path in places(chosen, 2, 5):
        path.unlink()
    made = build(filled_own, chosen, tmp_path / "s", shard_samples=1, workers=1)
    assert whole.manifest.fingerprint == chosen.fingerprint
    assert made.manifest.fingerprint != chosen.fingerprint
    assert made.manifest.fingerprint == manifest.fingerprint_of(manifest.load(tmp_path / "s").samples, {})
    rows = [n for n in range(8) if n not in (2, 5)]
    assert made.manifest.fingerprint == manifest.fingerprint_of(chosen.samples[rows], {})
    (tmp_path / "t").mkdir()
    assert (
        build(filled_own, chosen, tmp_path / "t", workers=1).manifest.fingerprint == made.manifest.fingerprint
    )
    found = filled_own.sql("SELECT fingerprint, dropped FROM builds ORDER BY created_at").rows()
    assert found == [(chosen.fingerprint, 0), *[(made.manifest.fingerprint, 2)] * 2]


def test_weights_of_a_source_that_was_lost_are_not_in_force(
    filled_own: catalog.Catalog, tmp_path: Path, images: Path
) -> None:
    import duckdb

    with duckdb.connect(str(filled_own.root / "catalog.duckdb")) as connection:
        connection.execute("UPDATE images SET source = 'text-synthetic' WHERE image_id = 1")
    chosen = filled_own.select(sources={"public-real": 1, "text-synthetic": 2}).manifest("mixed")
    assert chosen.mixture
    (images / "picture-0000.png").unlink()
    made = build(filled_own, chosen, tmp_path / "s", workers=1)
    assert (made.samples, made.manifest.mixture) == (7, {})
    assert made.manifest.info["sources"] == {"public-real": 7, "text-synthetic": 0}


def test_the_same_command_tries_again_what_was_dropped(
    filled_own: catalog.Catalog, chosen: Manifest, whole: Built, tmp_path: Path
) -> None:
    lost = {path: path.read_bytes() for path in places(chosen, 2, 5)}
    for path in lost:
        path.unlink()
    out = tmp_path / "s"
    made = build(filled_own, chosen, out, shard_samples=1, workers=1)
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    again = build(filled_own, chosen, out, shard_samples=1, workers=1)
    assert (again.reused, again.dropped) == (True, 2)
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")} == kept
    one, other = lost
    one.write_bytes(lost[one])
    again = build(filled_own, chosen, out, shard_samples=1, workers=1)
    assert (again.reused, again.samples, again.dropped) == (False, 7, 1)
    assert again.manifest.fingerprint not in (made.manifest.fingerprint, chosen.fingerprint)
    now = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert (
        sum(now[name] == time for name, time in kept.items()) >= 6
    )  # only what lacked a sample is written anew
    other.write_bytes(lost[other])
    again = build(filled_own, chosen, out, shard_samples=1, workers=1)
    assert (again.reused, again.samples, again.dropped) == (False, 8, 0)
    assert again.manifest.fingerprint == chosen.fingerprint
    assert tars(out) == tars(whole.manifest.root)
    assert list(verify(out)) == []
    assert sorted(path.name for path in out.iterdir() if path.suffix != ".tar") == [
        "manifest.json", "samples.parquet",
    ]  # fmt: skip
    assert build(filled_own, chosen, out, shard_samples=1, workers=1).reused


def test_so_does_a_build_that_goes_on(
    filled_own: catalog.Catalog, chosen: Manifest, whole: Built, tmp_path: Path, monkeypatch
) -> None:
    """The disk was away when some shards were made, and the build was killed before its end."""
    (path,) = places(chosen, 3)
    data = path.read_bytes()
    path.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(
            "lensdata.shards.builder.finish", lambda *args: (_ for _ in ()).throw(LensError("killed"))
        )
        with pytest.raises(LensError, match="killed"):
            build(filled_own, chosen, tmp_path / "s", shard_samples=1, workers=1)
    path.write_bytes(data)
    made = build(filled_own, chosen, tmp_path / "s", shard_samples=1, workers=1)
    assert (made.samples, made.manifest.fingerprint) == (8, chosen.fingerprint)
    assert tars(tmp_path / "s") == tars(whole.manifest.root)


def test_resume_tries_again_too(
    filled_own: catalog.Catalog, chosen: Manifest, whole: Built, tmp_path: Path
) -> None:
    (path,) = places(chosen, 3)
    data = path.read_bytes()
    path.unlink()
    assert build(filled_own, chosen, tmp_path / "s", shard_samples=1, workers=1).dropped == 1
    path.write_bytes(data)
    made = resume(filled_own, tmp_path / "s", {}, workers=1)
    assert made is not None
    assert (made.dropped, tars(tmp_path / "s")) == (0, tars(whole.manifest.root))


def test_killed_while_it_tries_again(
    filled_own: catalog.Catalog, chosen: Manifest, whole: Built, tmp_path: Path, monkeypatch
) -> None:
    (path,) = places(chosen, 3)
    data = path.read_bytes()
    path.unlink()
    out = tmp_path / "s"
    build(filled_own, chosen, out, shard_samples=1, workers=1)
    path.write_bytes(data)
    for where in ("lensdata.shards.again.folder.begin", "lensdata.shards.builder.finish"):
        with monkeypatch.context() as patch:
            patch.setattr(where, lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                build(filled_own, chosen, out, shard_samples=1, workers=1)
    made = build(filled_own, chosen, out, shard_samples=1, workers=1)
    assert (made.dropped, tars(out)) == (0, tars(whole.manifest.root))
    assert list(verify(out)) == []


def test_a_takedown_amid_is_not_undone(filled_own: catalog.Catalog, chosen: Manifest, tmp_path: Path) -> None:
    (path,) = places(chosen, 3)
    data = path.read_bytes()
    path.unlink()
    out = build(filled_own, chosen, tmp_path / "s", shard_samples=1, workers=1).manifest.root
    victim = chosen.samples["image_id"][0]
    remove(filled_own, [victim], "x", [out])
    path.write_bytes(data)
    made = resume(filled_own, out, {}, workers=1)
    assert made is not None
    assert made.reused
    assert victim not in manifest.load(out).samples["image_id"].to_list()
    later = filled_own.select().manifest("train")
    with pytest.raises(BadInput, match="another selection"):
        build(filled_own, later, out, shard_samples=1, workers=1)


def test_what_a_takedown_left_is_there_already(
    filled_own: catalog.Catalog, chosen: Manifest, whole: Built
) -> None:
    out = whole.manifest.root
    remove(filled_own, [chosen.samples["image_id"][0]], "x", [out])
    again = build(filled_own, filled_own.select().manifest("train"), out, shard_samples=1, workers=1)
    assert (again.reused, again.samples, again.manifest.name) == (True, 7, "train-r1")


def test_a_copy_of_the_same_bytes_serves(
    filled_own: catalog.Catalog, chosen: Manifest, whole: Built, images: Path, tmp_path: Path
) -> None:
    """The folder was moved by its owner, and ingested where it is now."""
    moved = images.rename(tmp_path / "moved")
    ingest(filled_own, [moved], workers=1)
    made = build(filled_own, chosen, tmp_path / "s", shard_samples=1, workers=1)
    assert (made.samples, made.dropped) == (8, 0)
    assert tars(tmp_path / "s") == tars(whole.manifest.root)
    assert made.manifest.fingerprint == chosen.fingerprint


def test_a_copy_that_has_changed_does_not_serve(
    filled_own: catalog.Catalog, chosen: Manifest, images: Path, tmp_path: Path
) -> None:
    moved = images.rename(tmp_path / "moved")
    ingest(filled_own, [moved], workers=1)
    (gone,) = places(chosen, 4)
    (moved / gone.name).write_bytes(b"another picture")
    made = build(filled_own, chosen, tmp_path / "s", shard_samples=1, workers=1)
    assert (made.samples, made.dropped) == (7, 1)
    assert made.reasons == {"its file does not exist": 1}


def test_few_losses_are_told_and_many_fail(
    command, filled_own: catalog.Catalog, chosen: Manifest, tmp_path: Path
) -> None:
    line = ("build-shards", "--out", tmp_path / "s", "--name", "train", "--workers", 1)
    for path in places(chosen, 0, 1):
        path.unlink()
    changed = places(chosen, 2)[0]
    changed.write_bytes(b"another picture")
    done = command("lensdata", *line, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["complete"]
    last = done.stderr.splitlines()[-1]
    assert "3 of 8 selected images could not be read" in last
    assert "2: its file does not exist, 1: its file is shorter than it was" in last
    places(chosen, 3)[0].unlink()
    for name in ("t", "t"):  # also when it is there already
        line = ("build-shards", "--out", tmp_path / name, "--name", "train", "--workers", 1)
        done = command("lensdata", *line)
        assert done.returncode == 1
        assert "4 of 8 selected images could not be read" in done.stderr.splitlines()[-1]
        assert "lensdata ingest" in done.stderr.splitlines()[-1]
    assert list(verify(tmp_path / "t")) == []
