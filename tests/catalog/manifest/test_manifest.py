"""Manifests are immutable and give every sample back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import catalog
from catalog import manifest
from catalog.errors import BadInput
from catalog.manifest import files
from catalog.manifest.load import REQUIRED
from tests.conftest import ROOT


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


def texts(filled: catalog.Catalog) -> None:
    """Make images 1 to 3 text-synthetic (3 is too small to be selected)."""
    import duckdb

    with duckdb.connect(str(filled.root / "catalog.duckdb")) as connection:
        connection.execute("UPDATE images SET source = 'text-synthetic' WHERE image_id <= 3")


def test_weights_make_another_manifest(filled: catalog.Catalog) -> None:
    texts(filled)
    plain = filled.select().manifest("plain")
    assert plain.info["sources"] == {"public-real": 6, "text-synthetic": 2}
    assert plain.mixture == {} and plain.info["format"] == files.FORMAT
    once = filled.select(sources={"public-real": 1, "text-synthetic": 1}).manifest()
    assert once.fingerprint == plain.fingerprint and once.mixture == {}
    twice = filled.select(sources={"public-real": 1, "text-synthetic": 2}).manifest()
    loaded = manifest.load(twice.root)
    assert loaded.mixture == {"public-real": 1.0, "text-synthetic": 2.0}
    assert loaded.info["format"] == files.MIXED  # an earlier Lens would leave the weights out
    thrice = filled.select(sources={"public-real": 1, "text-synthetic": 3}).manifest()
    assert len({plain.fingerprint, twice.fingerprint, thrice.fingerprint}) == 3
    with pytest.raises(BadInput, match="other images or weights; manifests never change"):
        filled.select(sources={"public-real": 1, "text-synthetic": 2}).manifest("plain")


def test_a_weight_of_a_source_without_a_selected_image_changes_nothing(filled: catalog.Catalog) -> None:
    texts(filled)
    alone = filled.select(sources={"public-real": 1}).manifest()
    both = filled.select(sources={"public-real": 1, "text-synthetic": 9}, where="image_id > 3").manifest(
        "both"
    )
    assert both.fingerprint == alone.fingerprint and both.mixture == {}
    assert both.info["sources"] == {"public-real": 6, "text-synthetic": 0}


def test_the_source_of_a_sample_counts_only_under_weights(filled: catalog.Catalog) -> None:
    samples = filled.select().manifest().samples
    other = samples.with_columns(source=samples["image_id"].cast(str))
    assert manifest.fingerprint_of(samples, {}) == manifest.fingerprint_of(other, {})
    assert manifest.fingerprint_of(samples, {"1": 2.0}) != manifest.fingerprint_of(other, {"1": 2.0})


@pytest.mark.parametrize("mixture", [{"public-real": 0}, {"public-real": "2"}, ["public-real"], 3, None])
def test_a_mixture_that_is_none_is_refused(filled: catalog.Catalog, mixture) -> None:
    folder = filled.select().manifest("train").root
    info = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(info | {"mixture": mixture}))
    with pytest.raises(BadInput, match="has no valid mixture"):
        manifest.load(folder)


@pytest.mark.parametrize(
    "damage",
    [
        {"shards": None}, {"shards": 5}, {"shards": "a.tar"}, {"shards": [5]}, {"shards": [{}]},
        {"shards": [{"name": "a.tar"}]}, {"shards": [{"name": 5, "bytes": 3}]},
        {"shards": [{"name": "a", "bytes": "3"}]},
        {"shards": [{"name": "..", "bytes": 3}]}, {"shards": [{"name": "", "bytes": 3}]},
        {"shards": [{"name": "x/../a.tar", "bytes": 3}]}, {"shards": [{"name": "s3://other/a.tar", "bytes": 3}]},
        {"shards": [{"name": "a" * 999, "bytes": 3}]}, {"shards": [{"name": "a\0", "bytes": 3}]},
        {"samples_file": 5}, {"samples_file": ".."}, {"samples_file": ""}, {"samples_file": None},
    ],
)  # fmt: skip
def test_a_manifest_of_another_shape_is_one_line(tmp_path: Path, damage: dict) -> None:
    whole = dict.fromkeys(REQUIRED, "x") | {"format": files.FORMAT, "samples": 1, "shards": []}
    (tmp_path / "manifest.json").write_text(json.dumps(whole | damage))
    with pytest.raises(BadInput) as caught:
        manifest.load(tmp_path)
    assert "\n" not in str(caught.value)


FIXER = """
import sys, time
import catalog
from catalog.errors import BadInput
opened = catalog.open(sys.argv[1])
selection = opened.select(where=sys.argv[2])
selection.frame()
print("ready", flush=True)
sys.stdin.readline()
try:
    print(selection.manifest("train").fingerprint)
except BadInput as error:
    print(f"refused: {error}")
"""


def test_two_processes_never_give_one_name_twice(filled: catalog.Catalog) -> None:
    """Both fix another selection under the same name at the same time, while jobs start and sweep."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-c", FIXER, str(filled.root)]
    both = [
        subprocess.Popen(
            [*line, where], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for where in ("width = 480", "width = 520")
    ]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    while any(process.poll() is None for process in both):
        with filled.job("score", resumes=True):
            pass
    told = sorted((process.communicate()[0] for process in both), key=len)
    kept = manifest.load(filled.root / "manifests" / "train")
    assert told[0].strip() == kept.fingerprint
    assert "refused: the manifest train exists" in told[1]
    assert filled.sql("SELECT fingerprint FROM manifests").rows() == [(kept.fingerprint,)]
