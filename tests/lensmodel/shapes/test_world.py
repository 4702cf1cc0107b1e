"""The folder: the same bytes from the same recipe, also after a kill, and read by `lensdata` word for word."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catalog.buckets import BUCKETS, BY_NAME, assign
from catalog.console import run_command
from catalog.errors import BadInput
from lensmodel.cli import cli
from lensmodel.data.transform import CENTRE, cover, cover_size, crop
from lensmodel.latents import PixelLatents
from lensmodel.shapes import world
from lensmodel.shapes.scene import UNSEEN
from lensmodel.shapes.spec import Item, Spec
from lensmodel.shapes.verify import strict, verify

ROOT = Path(__file__).parents[3]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("bucket", BUCKETS, ids=lambda b: b.name)
def test_files_go_to_their_bucket_and_shrink_to_minis_pixels(bucket):
    size, width_height = world.picture_size(bucket), world.file_size(bucket)
    assert size == PixelLatents().pixel_size(bucket.width, bucket.height)
    assert assign(*width_height) == bucket
    assert width_height[0] * width_height[1] >= 384**2
    covered = cover_size(*width_height, *size)
    assert sum(covered) - sum(size) <= 3, "columns or rows that the crop takes"


@pytest.mark.parametrize("name", ["512x512", "384x672", "416x640", "960x640", "1024x576", "832x1248"])
def test_what_training_sees_passes_the_brief_caption(tmp_path, name):
    world.write(tmp_path, 12, seed=3, buckets=[name])
    size = world.picture_size(BY_NAME[name])
    for path in sorted(tmp_path.glob("*.png")):
        facts = json.loads(path.with_suffix(".json").read_text())
        seen = crop(cover(np.asarray(Image.open(path)), *size), *size, CENTRE)
        spec = Spec.from_plain(facts["asserts"]["brief"])
        assert strict(seen, spec), (facts["brief"], verify(seen, spec))


def test_the_same_recipe_gives_the_same_bytes_and_a_longer_one_goes_on(tmp_path):
    first = world.write(tmp_path / "a", 6, seed=1, world="free")
    assert (first.made, first.existing, first.buckets) == (6, 0, {"512x512": 6})
    world.write(tmp_path / "b", 3, seed=1, world="free")
    more = world.write(tmp_path / "b", 6, seed=1, world="free")
    assert (more.made, more.existing) == (3, 3)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    world.write(tmp_path / "c", 6, seed=2, world="free")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


def test_worker_processes_write_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(world, "POOL_FROM", 1)
    world.write(tmp_path / "pool", 20, workers=2)
    world.write(tmp_path / "alone", 20, workers=1)
    assert contents(tmp_path / "pool") == contents(tmp_path / "alone")


def test_a_killed_run_resumes_to_the_same_bytes(tmp_path):
    out = tmp_path / "killed"
    line = [sys.executable, "-m", "lensmodel", "shapes", "--out", str(out), "-n", "120", "--workers", "1"]
    run = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    while run.poll() is None and len(list(out.glob("*.png"))) < 10:
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    for path in out.glob("*.png"):
        assert Image.open(path).size == (512, 512)
        assert path.with_suffix(".txt").read_text() and json.loads(path.with_suffix(".json").read_text())
    world.write(out, 120)
    world.write(tmp_path / "whole", 120)
    assert contents(out) == contents(tmp_path / "whole")


def test_pairs_that_are_left_out_do_not_occur():
    recipe = world.Recipe(0, "grid", ("512x512",), True)
    pairs = {(s.colour, s.shape) for n in range(300) for s in world.scene_of(recipe, n)[1].shapes}
    assert not pairs & UNSEEN and len(pairs) == 48 - len(UNSEEN)


def test_mixed_sizes(tmp_path):
    buckets = world.buckets_of([512, 768], ["1:1", "4:3"])
    assert set(buckets) == {"512x512", "608x448", "768x768", "896x672"}
    made = world.write(tmp_path, 16, buckets=buckets)
    assert sum(made.buckets.values()) == 16 and len(made.buckets) > 2
    for path in tmp_path.glob("*.png"):
        facts = json.loads(path.with_suffix(".json").read_text())
        assert assign(*Image.open(path).size).name == facts["bucket"]


def test_wrong_arguments_are_told(tmp_path):
    world.write(tmp_path / "one", 1)
    with pytest.raises(BadInput, match="holds a series made with"):
        world.write(tmp_path / "one", 2, seed=5)
    (tmp_path / "one" / "shapes-000000.json").write_text("[]")
    with pytest.raises(BadInput, match="was not made by"):
        world.write(tmp_path / "one", 2)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is a file"):
        world.write(tmp_path / "file", 1)
    for wrong in ({"world": "flat"}, {"buckets": ["1x1"]}, {"buckets": []}, {"n": -1}):
        with pytest.raises(BadInput):
            world.write(tmp_path / "new", **{"n": 1, **wrong})
    with pytest.raises(BadInput, match="no size 500"):
        world.buckets_of([500], ["1:1"])
    with pytest.raises(BadInput, match="no aspect"):
        world.buckets_of([512], ["5:4"])


def test_the_command(tmp_path, capsys):
    args = ["shapes", "--out", str(tmp_path / "s"), "-n", "2", "--aspect", "3:2", "--json"]
    assert run_command(cli, "lensmodel", args) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"out": str(tmp_path / "s"), "made": 2, "existing": 0, "buckets": {"640x416": 2}}
    assert run_command(cli, "lensmodel", [*args[:5], "--size", "400"]) == 2
    assert "no size 400; there are 512, 768, 1024" in capsys.readouterr().err


def test_lensdata_reads_the_folder_word_for_word(command, tmp_path):
    world.write(tmp_path / "shapes", 24, buckets=["512x512", "448x608"])

    def done(name: str, *args: object) -> str:
        result = command(name, *args)
        assert result.returncode == 0, result.stderr
        return result.stdout

    done("lensdata", "ingest", "shapes")
    done("lensdata", "caption")
    done("lensdata", "bucket")
    least, most = ("aesthetic", "clarity", "entropy", "luminance"), ("nsfw", "watermark", "luminance")
    off = [f"--min-{name}" for name in least] + [f"--max-{name}" for name in most]
    switches = [part for option in off for part in (option, "none")]
    done("lensdata", "build-shards", "--out", "shards", "--virtual", "--no-dedup", *switches)
    from catalog import manifest

    samples = manifest.load(tmp_path / "shards").samples
    assert len(samples) == 24 and set(samples["bucket"]) == {"512x512", "448x608"}
    for uri, bucket, text in samples.select("uri", "bucket", "caption").iter_rows():
        path = Path(uri)
        facts = json.loads(path.with_suffix(".json").read_text())
        assert text == path.with_suffix(".txt").read_text() and bucket == facts["bucket"]


def test_an_item_names_its_plural():
    nouns = [Item("cross", "red", 2).noun, Item("ring", None, 3).noun, Item("cross").noun]
    assert nouns == ["red crosses", "rings", "cross"]
