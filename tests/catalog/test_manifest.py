"""Manifests are immutable and give every sample back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import catalog
from catalog import manifest
from catalog.errors import BadInput


def test_every_sample_comes_back_with_its_own_bytes(filled: catalog.Catalog) -> None:
    made = filled.select().manifest("train")
    assert made.virtual
    assert len(made.samples) == 8
    for row in range(8):
        entry = made.samples.row(row, named=True)
        sample = made.read(row)
        path = Path(entry["uri"])
        assert sample.image == path.read_bytes()
        assert sample.caption == path.with_suffix(".txt").read_text()
        assert sample.meta["scores"]["aesthetic"] == 5.0


def test_loading_gives_the_same(filled: catalog.Catalog) -> None:
    made = filled.select().manifest("train")
    loaded = manifest.load(filled.root / "manifests" / "train")
    assert loaded.info == made.info
    assert loaded.samples.equals(made.samples)
    assert filled.sql("SELECT manifest, samples FROM manifests").rows() == [("train", 8)]


def test_the_order_is_bucket_by_bucket_and_fixed(filled: catalog.Catalog) -> None:
    first = filled.select().manifest("one").samples
    again = filled.select(min_aesthetic=4).manifest("two").samples
    assert first["image_id"].to_list() == again["image_id"].to_list()
    buckets = first["bucket"].to_list()
    assert buckets == sorted(buckets, key=buckets.index)
    assert first["image_id"].to_list() != sorted(first["image_id"].to_list())


def test_a_name_is_never_given_to_another_choice(filled: catalog.Catalog) -> None:
    made = filled.select().manifest("train")
    assert filled.select(min_aesthetic=4).manifest("train").fingerprint == made.fingerprint  # the same images
    with pytest.raises(BadInput, match="manifests never change"):
        filled.select(where="width = 480").manifest("train")
    with pytest.raises(BadInput, match="cannot name a manifest"):
        filled.select().manifest("../train")


def test_a_changed_file_is_a_bad_sample_not_another_picture(filled_own: catalog.Catalog) -> None:
    made = filled_own.select().manifest("train")
    path = Path(made.samples["uri"][0])
    data = bytearray(path.read_bytes())
    data[-30] ^= 255
    path.write_bytes(bytes(data))
    with pytest.raises(manifest.SampleError, match="does not hold the bytes that the manifest names"):
        made.read(0)
    path.unlink()
    with pytest.raises(manifest.SampleError):
        made.read(0)
    made.read(1)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "holds no manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "has the format None"),
        (
            lambda folder: (folder / "manifest.json").write_text('{"format": "lens-manifest/9"}'),
            "lens-manifest/9",
        ),
        (lambda folder: (folder / "samples.parquet").write_bytes(b"PAR1"), "cannot be read"),
        (lambda folder: (folder / "samples.parquet").unlink(), "cannot be read"),
    ],
)
def test_damaged_manifests_are_refused_in_one_line(filled: catalog.Catalog, damage, message: str) -> None:
    folder = filled.select().manifest("train").root
    damage(folder)
    with pytest.raises(BadInput, match=message) as caught:
        _ = manifest.load(folder).samples
    assert "\n" not in str(caught.value)


def test_a_list_that_was_edited_is_refused(filled: catalog.Catalog) -> None:
    folder = filled.select().manifest("train").root
    samples = manifest.load(folder).samples
    samples.with_columns(caption=samples["caption"].reverse()).write_parquet(folder / "samples.parquet")
    with pytest.raises(BadInput, match="is not the one that manifest"):
        _ = manifest.load(folder).samples


def test_counts_that_disagree_are_refused(filled: catalog.Catalog) -> None:
    folder = filled.select().manifest("train").root
    info = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(info | {"samples": 9}))
    with pytest.raises(BadInput, match="is not the one that manifest"):
        _ = manifest.load(folder).samples
