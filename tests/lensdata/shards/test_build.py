"""Shards: readable by anyone, byte-identical, resumable, verified."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path

import datasets
import pytest
import webdataset

import catalog
from catalog import manifest
from catalog.errors import BadInput, LensError
from lensdata.shards import build, resume, verify
from lensdata.shards.folder import claim
from lensdata.shards.layout import layout


def made(opened: catalog.Catalog, out: Path, **options) -> manifest.Manifest:
    chosen = opened.select().manifest("train")
    return build(opened, chosen, out, workers=1, **options).manifest


def digests(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.iterdir())}


def test_plain_webdataset_and_datasets_read_them(filled: catalog.Catalog, tmp_path: Path) -> None:
    out = made(filled, tmp_path / "s").root
    tars = sorted(str(path) for path in out.glob("*.tar"))
    assert [Path(tar).name for tar in tars] == [
        "448x608-jpg-000000.tar",
        "448x608-png-000000.tar",
        "512x512-jpg-000000.tar",
        "512x512-png-000000.tar",
    ]
    samples = list(webdataset.WebDataset(tars, shardshuffle=False))
    assert len(samples) == 8
    for sample in samples:
        meta = json.loads(sample["json"])
        image = sample.get("jpg") or sample.get("png")
        assert hashlib.sha256(image).hexdigest() == meta["sha256"]
        assert sample["__key__"] == f"{meta['image_id']:012d}"
        assert sample["txt"].decode() == f"picture number {meta['image_id'] - 1}"
    for ext in ("jpg", "png"):
        files = [tar for tar in tars if f"-{ext}-" in tar]
        rows = list(datasets.load_dataset("webdataset", data_files=files, split="train", streaming=True))
        assert len(rows) == 4
        assert all(row[ext].size == (row["json"]["width"], row["json"]["height"]) for row in rows)


def test_they_are_ustar_without_time_or_owner(filled: catalog.Catalog, tmp_path: Path) -> None:
    out = made(filled, tmp_path / "s").root
    for path in out.glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                assert (member.mtime, member.uid, member.gid, member.uname, member.pax_headers) == (
                    0,
                    0,
                    0,
                    "",
                    {},
                )
        assert path.stat().st_size % 10240 == 0


def test_two_builds_are_the_same_bytes(filled: catalog.Catalog, tmp_path: Path) -> None:
    first, second = (
        made(filled, tmp_path / "a", shard_samples=1),
        made(filled, tmp_path / "b", shard_samples=1),
    )
    assert digests(first.root) == digests(second.root)
    assert {shard["samples"] for shard in first.info["shards"]} == {1}


def test_random_access_gives_the_virtual_manifests_samples(filled: catalog.Catalog, tmp_path: Path) -> None:
    virtual = filled.select().manifest("train")
    real = manifest.load(made(filled, tmp_path / "s").root)
    assert real.fingerprint == virtual.fingerprint
    assert [real.read(n) for n in range(8)] == [virtual.read(n) for n in range(8)]


def test_virtual_shards_are_a_manifest_alone(filled: catalog.Catalog, tmp_path: Path) -> None:
    out = made(filled, tmp_path / "v", virtual=True).root
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "samples.parquet"]
    assert manifest.load(out).read(3).caption.startswith("picture number")


def test_building_again_changes_nothing(filled: catalog.Catalog, tmp_path: Path) -> None:
    out = made(filled, tmp_path / "s").root
    before = digests(out)
    again = build(filled, filled.select().manifest("train"), out, workers=1)
    assert again.reused
    assert digests(out) == before
    assert filled.sql("SELECT count(*), sum(samples) FROM shards").row(0) == (4, 8)


def test_a_half_built_folder_is_completed(filled: catalog.Catalog, tmp_path: Path) -> None:
    whole = made(filled, tmp_path / "whole", shard_samples=1)
    # What a kill leaves: the mark, some finished shards with their indexes, a scrap of the next.
    part = tmp_path / "part"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "lensdata.shards.builder.finish", lambda *args: (_ for _ in ()).throw(LensError("killed"))
        )
        with pytest.raises(LensError, match="killed"):
            made(filled, part, shard_samples=1)
    victim = sorted(part.glob("*.tar"))[1]
    victim.rename(victim.with_name(f"{victim.name}.77.tmp"))
    assert digests(made(filled, part, shard_samples=1).root) == digests(whole.root)


def test_a_foreign_folder_is_not_touched(filled: catalog.Catalog, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "thesis.tex").write_text("mine")
    with pytest.raises(BadInput, match="is not empty"):
        made(filled, tmp_path / "s")
    made(filled, tmp_path / "t")
    with pytest.raises(BadInput, match="another selection"):
        build(filled, filled.select(where="width = 480").manifest("other"), tmp_path / "t", workers=1)
    with pytest.raises(BadInput, match="another selection"):
        made(filled, tmp_path / "t", shard_samples=3)


def test_a_lost_image_is_left_out_with_its_reason(
    filled_own: catalog.Catalog, images: Path, tmp_path: Path
) -> None:
    chosen = filled_own.select().manifest("train")
    lost, changed = (Path(chosen.samples["uri"][n]) for n in (0, 5))
    lost.unlink()
    changed.write_bytes(changed.read_bytes()[:-7] + b"damaged")
    result = build(filled_own, chosen, tmp_path / "s", workers=1)
    assert (result.samples, result.dropped) == (6, 2)
    reasons = [
        json.loads(line)["reason"] for line in (tmp_path / "s" / "dropped.jsonl").read_text().splitlines()
    ]
    assert any("has changed" in reason for reason in reasons)
    assert list(verify(tmp_path / "s")) == []
    assert len(manifest.load(tmp_path / "s").samples) == 6


def test_if_every_image_is_lost_the_job_fails_until_they_are_back(
    filled_own: catalog.Catalog, images: Path, tmp_path: Path
) -> None:
    chosen = filled_own.select().manifest("train")
    away = images.rename(tmp_path / "away")
    for _ in range(2):
        with pytest.raises(LensError, match="none of the 8 selected images could be read"):
            build(filled_own, chosen, tmp_path / "s", workers=1)
    away.rename(images)
    done = build(filled_own, chosen, tmp_path / "s", workers=1)
    assert (done.samples, done.dropped) == (8, 0)
    assert list(verify(tmp_path / "s")) == []
    assert not (tmp_path / "s" / "dropped.jsonl").exists()


@pytest.mark.parametrize("note", ['{"x"', "[]", "{}"])
def test_a_damaged_note_of_a_build_is_named(filled: catalog.Catalog, tmp_path: Path, note: str) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "build.json").write_text(note)
    with pytest.raises(BadInput, match="is damaged"):
        made(filled, tmp_path / "s")
    with pytest.raises(BadInput, match="is damaged"):
        resume(filled, tmp_path / "s", {})


def cut_at_a_member(path: Path) -> None:
    with tarfile.open(path) as tar:
        offsets = sorted(member.offset for member in tar)
    path.write_bytes(path.read_bytes()[: offsets[3]])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_at_a_member, "samples instead of 2"),
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "bytes instead of"),
        (
            lambda path: path.write_bytes(path.read_bytes().replace(b"picture number", b"picture Number")),
            "sha256",
        ),
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.with_name("extra.tar").write_bytes(path.read_bytes()), "not in the manifest"),
    ],
)
def test_verify_finds_damage(filled: catalog.Catalog, tmp_path: Path, damage, message: str) -> None:
    out = made(filled, tmp_path / "s").root
    assert list(verify(out)) == []
    damage(out / "512x512-png-000000.tar")
    assert any(message in fault for fault in verify(out))


def test_verify_finds_shards_that_have_changed_places(filled: catalog.Catalog, tmp_path: Path) -> None:
    out = made(filled, tmp_path / "s").root
    one, other = out / "512x512-png-000000.tar", out / "448x608-png-000000.tar"
    one.rename(out / "aside")
    other.rename(one)
    (out / "aside").rename(other)
    faults = list(verify(out))
    for name in (one.name, other.name):
        assert any(fault.startswith(name) and "sha256" in fault for fault in faults)
        assert any(fault.startswith(name) and "2 missing, 2 unknown" in fault for fault in faults)


def test_verify_finds_an_image_that_was_changed_unseen(
    filled_own: catalog.Catalog, images: Path, tmp_path: Path
) -> None:
    # The same size and time as at ingest, as after `cp -p` of other bytes: only hashing can tell.
    chosen = filled_own.select().manifest("train")
    path = Path(chosen.samples["uri"][0])
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    path.write_bytes(path.read_bytes()[:-3] + b"new")
    os.utime(path, ns=times)
    assert build(filled_own, chosen, tmp_path / "s", workers=1).dropped == 0
    faults = list(verify(tmp_path / "s"))
    assert len(faults) == 1
    assert "is not the image that was selected" in faults[0]
    with pytest.raises(manifest.SampleError, match="does not hold the bytes"):
        manifest.load(tmp_path / "s").read(0)
    hashed = build(filled_own, chosen, tmp_path / "t", workers=1, verify_bytes=True)
    assert (hashed.samples, hashed.dropped) == (7, 1)
    assert list(verify(tmp_path / "t")) == []


@pytest.mark.parametrize(("most", "most_bytes"), [(1, 10**9), (3, 10**9), (10**6, 40_000), (10**6, 1)])
def test_a_plan_does_not_depend_on_how_the_table_is_read(
    filled: catalog.Catalog, most: int, most_bytes: int
) -> None:
    rows = filled.select().manifest("train").samples
    whole = list(layout([rows], most, most_bytes))
    assert [name for name, _ in whole] == sorted({name for name, _ in whole}, key=[n for n, _ in whole].index)
    for size in (1, 2, 3, 5):
        cut = list(layout(rows.iter_slices(size), most, most_bytes))
        assert [(name, part.rows()) for name, part in cut] == [(name, part.rows()) for name, part in whole]


def test_training_refuses_a_cut_shard(filled: catalog.Catalog, tmp_path: Path) -> None:
    out = made(filled, tmp_path / "s").root
    cut_at_a_member(out / "512x512-png-000000.tar")
    with pytest.raises(BadInput, match=r"512x512-png-000000\.tar has"):
        manifest.load(out)


def test_a_second_build_of_the_same_folder_leaves_the_first_alone(
    filled: catalog.Catalog, tmp_path: Path
) -> None:
    chosen = filled.select().manifest("train")
    scrap = tmp_path / "s" / "512x512-png-000000.tar.1.tmp"
    with filled.job("build-shards"):
        scrap.parent.mkdir()
        scrap.write_bytes(b"under way")
        with pytest.raises(BadInput, match="being filled by `build-shards`"):
            build(filled, chosen, tmp_path / "s", workers=1)
        assert scrap.exists()
    shutil.copytree(filled.root, tmp_path / "other")
    other = catalog.open(tmp_path / "other")
    with claim(tmp_path / "s"), pytest.raises(BadInput, match="being filled by another build"):
        build(other, chosen, tmp_path / "s", workers=1)
    assert build(other, chosen, tmp_path / "s", workers=1).samples == 8
    assert not scrap.exists()


def test_builds_of_other_sizes_are_told_apart(filled: catalog.Catalog, tmp_path: Path) -> None:
    made(filled, tmp_path / "a", shard_samples=1)
    made(filled, tmp_path / "b", shard_samples=2)
    rows = filled.sql("SELECT build, sum(samples) AS n FROM shards GROUP BY build")
    assert rows["n"].to_list() == [8, 8]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--name", "", "--out", "s"), "'' cannot name a manifest"),
        (
            ("--out", "/proc/x"),
            "/proc/x cannot be made (No such file or directory); name another folder with --out",
        ),
    ],
)
def test_a_name_or_folder_that_cannot_be_is_one_line(
    command, filled: catalog.Catalog, args, told: str
) -> None:
    done = command("lensdata", "build-shards", *args)
    assert done.returncode == 2
    assert done.stderr.startswith(f"lensdata: {told}") and done.stderr.count("\n") == 1
