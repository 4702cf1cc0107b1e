"""Loading: the plan's samples in order, bad ones replaced by a rule and recorded, captions by a rule."""

import hashlib
import io
import json
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from catalog.errors import LensError
from lensmodel.data.loader import BadSamples, Captions, Loader, Pictures
from lensmodel.data.plan import DataPlan, key_of, keys_of
from lensmodel.latents import PixelLatents

SIZES = {512: 4, 768: 3, 1024: 2}


def parts(manifest, out: Path, cache_mb=0, dropout=0.0, brief=0.0):
    plan = DataPlan(manifest.samples["bucket"].to_list(), np.arange(len(manifest.samples)), SIZES, 7)
    bad = BadSamples(out / "bad_samples.jsonl")
    bad.read()
    pictures = Pictures(manifest, PixelLatents().pixel_size, 7, cache_mb, bad)
    return plan, pictures, Captions(manifest, 7, brief, dropout)


def take(plan, pictures, captions, n, **options):
    with Loader(plan, pictures, captions, **options) as loader:
        return [batch for _, batch in zip(range(n), loader, strict=False)]


def test_batches_follow_the_plan(tiny, tmp_path):
    plan, pictures, captions = parts(tiny, tmp_path)
    batches = take(plan, pictures, captions, 14)
    for number, batch in enumerate(batches):
        planned = plan.batch(number)
        width, height = pictures.target(batch.bucket)
        assert batch.rows == planned.rows.tolist() and batch.bucket == planned.bucket
        assert batch.pixels.shape == (len(batch.rows), 3, height, width)
        assert batch.captions == [tiny.samples["caption"][row] for row in batch.rows]
    second = take(plan, pictures, captions, 3, position=5, rank=1, world=2)
    assert [b.number for b in second] == [6, 8, 10]
    assert (second[0].pixels == batches[6].pixels).all()


def test_memory_of_scaled_images_changes_nothing(tiny, tmp_path):
    without = take(*parts(tiny, tmp_path), 25)
    with_cache = take(*parts(tiny, tmp_path, cache_mb=64), 25, workers=3)
    assert all((a.pixels == b.pixels).all() for a, b in zip(without, with_cache, strict=True))


def test_a_sample_that_cannot_be_read_is_replaced_by_the_next_of_its_bucket(make_manifest, tmp_path):
    manifest = make_manifest(tmp_path / "data")
    plan, pictures, captions = parts(manifest, tmp_path)
    good = take(plan, pictures, captions, plan.batches_per_epoch)
    broken, gone = int(good[0].rows[0]), int(good[1].rows[0])
    file = Path(manifest.samples["uri"][broken])
    file.write_bytes(file.read_bytes()[:60])
    Path(manifest.samples["uri"][gone]).unlink()

    plan, pictures, captions = parts(manifest, tmp_path)
    batches = take(plan, pictures, captions, 2 * plan.batches_per_epoch)
    members = plan.members[good[0].bucket].tolist()
    after = members[(members.index(broken) + 1) % len(members)]
    if after == gone:
        after = members[(members.index(gone) + 1) % len(members)]
    assert batches[0].rows[0] == after
    assert batches[0].captions[0] == manifest.samples["caption"][after]
    assert batches[0].rows[1:] == good[0].rows[1:]
    lines = [json.loads(line) for line in (tmp_path / "bad_samples.jsonl").read_text().splitlines()]
    assert sorted(line["image_id"] for line in lines) == sorted(
        [broken, gone]
    )  # once each, not once an epoch
    assert all(line["reason"] for line in lines)

    again = take(*parts(manifest, tmp_path), 4, workers=1)
    assert [b.rows for b in again] == [b.rows for b in batches[:4]]
    assert len((tmp_path / "bad_samples.jsonl").read_text().splitlines()) == 2


def test_a_replacement_depends_on_nothing_but_the_sample(make_manifest, tmp_path):
    """Not on the number of workers or ranks, nor on where the run starts, nor on what it met before."""
    manifest = make_manifest(tmp_path / "data")
    for row in (3, 4, 5, 11, 30, 40):
        Path(manifest.samples["uri"][row]).write_bytes(b"\x89PNG\r\n\x1a\n and no more")

    def run(name, n, **options):
        (tmp_path / name).mkdir()
        found = take(*parts(manifest, tmp_path / name), n, **options)
        path = tmp_path / name / "bad_samples.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return found, {json.loads(line)["image_id"]: json.loads(line)["reason"] for line in lines}

    whole, bad = run("whole", 30, workers=1, prefetch=1)
    assert sorted(bad) == [3, 4, 5, 11, 30, 40]
    assert not any(row in bad for batch in whole for row in batch.rows)
    threads, same = run("threads", 30, workers=5, prefetch=7)
    resumed, _ = run("resumed", 17, position=13, workers=3)
    ranks = [run(f"rank{rank}", 15, rank=rank, world=2)[0] for rank in range(2)]
    both = [batch for pair in zip(*ranks, strict=True) for batch in pair]
    assert same == bad
    for start, others in ((0, threads), (13, resumed), (0, both)):
        for one, two in zip(whole[start:], others, strict=True):
            assert one.number == two.number and one.rows == two.rows and one.captions == two.captions
            assert (one.pixels == two.pixels).all()


def test_an_image_too_narrow_to_scale_is_a_bad_sample(make_manifest, tmp_path):
    manifest = make_manifest(tmp_path / "data", (("512x512", 5),))
    data = io.BytesIO()
    Image.new("RGB", (1, 150_000)).save(data, "PNG")
    path, entry = Path(manifest.samples["uri"][2]), manifest.samples.row(2, named=True)
    path.write_bytes(data.getvalue())
    narrow = {"sha256": hashlib.sha256(data.getvalue()).hexdigest(), "length": len(data.getvalue())}
    rows = [
        {**r, **(narrow if r["uri"] == entry["uri"] else {})} for r in manifest.samples.iter_rows(named=True)
    ]
    manifest.samples = pl.DataFrame(rows, schema=manifest.samples.schema)
    plan, pictures, _ = parts(manifest, tmp_path)
    out = np.empty((3, 32, 32), dtype=np.float32)
    assert pictures.picture(2, plan.members["512x512"], lambda image_id: (0.5, 0.5), out) == 3
    assert "too narrow" in pictures.bad.reasons[entry["image_id"]]


def test_the_wait_is_the_time_in_which_the_consumer_stands(tiny, tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("lensmodel.data.loader.time.monotonic", lambda: clock[0])
    plan, pictures, captions = parts(tiny, tmp_path)
    decode = pictures.covered

    def covered(row, **options):
        clock[0] += 1
        return decode(row, **options)

    pictures.covered = covered
    with Loader(plan, pictures, captions, workers=1, prefetch=1) as loader:
        stream, seen = iter(loader), 0
        for _ in range(3):
            seen += len(next(stream).rows)
            clock[0] += 100  # the step
    assert loader.waited == seen


def test_a_bucket_without_one_usable_sample_stops_the_job(make_manifest, tmp_path):
    manifest = make_manifest(tmp_path / "data", (("512x512", 5),))
    for uri in manifest.samples["uri"]:
        Path(uri).write_bytes(b"not an image")
    with pytest.raises(LensError, match="no sample of bucket 512x512"):
        take(*parts(manifest, tmp_path), 1)


def test_captions_are_dropped_and_shortened_at_the_asked_rates(tiny, tmp_path):
    _, _, captions = parts(tiny, tmp_path, dropout=0.1, brief=0.4)
    rows = [1, 3, 5, 7]  # those that have a brief caption
    drawn = [captions.choose(epoch, row) for epoch in range(1500) for row in rows]
    assert abs(drawn.count(None) / len(drawn) - 0.1) < 0.02
    brief = sum(c is not None and c.startswith("square") for c in drawn)
    assert abs(brief / len(drawn) - 0.9 * 0.4) < 0.03
    assert drawn[:8] == [captions.choose(epoch, row) for epoch in range(2) for row in rows]
    assert captions.choose(0, 2) in (None, tiny.samples["caption"][2])
    assert set(captions.all(np.array([1, 2]))) == {
        "a green square, number 1",
        "a blue square, number 2",
        "square 1",
    }


def windowed(manifest, out: Path, window=3):
    """As `parts`, with samples sorted by the length of the caption they train with."""
    _, pictures, captions = parts(manifest, out, dropout=0.2, brief=0.5)
    buckets, rows = manifest.samples["bucket"].to_list(), np.arange(len(manifest.samples))
    plan = DataPlan(buckets, rows, SIZES, 7, lengths=captions.lengths, window=window)
    return plan, pictures, captions


def test_lengths_are_those_of_the_captions_of_the_epoch(tiny, tmp_path):
    _, _, captions = parts(tiny, tmp_path, brief=0.5)
    rows = np.random.default_rng(0).permutation(len(tiny.samples))
    found = [captions.lengths(epoch, rows).tolist() for epoch in range(6)]
    assert found == [[len(captions.choose(epoch, row)) for row in rows.tolist()] for epoch in range(6)]
    assert len(set(map(tuple, found))) == 6
    captions.dropout = 0.9
    assert captions.lengths(5, rows).tolist() == found[5], (
        "dropped captions must not gather in batches of their own"
    )
    ids = [0, 7, 2**62, "x"]
    assert keys_of(ids, "caption", 7, 3).tolist() == [key_of("caption", 7, 3, one) for one in ids]


def test_sorting_by_length_resumes_at_any_place_with_any_number_of_ranks(tiny, tmp_path):
    """6 steps of 2 ranks x 2 batches, then the rest by 3 ranks x 1: what one rank sees undisturbed."""
    count = 24 + 9
    whole = take(*windowed(tiny, tmp_path), count, workers=1, prefetch=1)
    assert whole[-1].number >= 2 * windowed(tiny, tmp_path)[0].batches_per_epoch
    found = {}
    for rank, world, start, n in ((0, 2, 0, 12), (1, 2, 0, 12), (0, 3, 24, 3), (1, 3, 24, 3), (2, 3, 24, 3)):
        for batch in take(*windowed(tiny, tmp_path), n, rank=rank, world=world, position=start, workers=3):
            found[batch.number] = batch
    assert sorted(found) == list(range(count))
    for one in whole:
        other = found[one.number]
        assert (one.rows, one.captions) == (other.rows, other.captions) and (one.pixels == other.pixels).all()


def test_a_batch_larger_than_the_prefetched_data_and_more_workers_than_samples(make_manifest, tmp_path):
    manifest = make_manifest(tmp_path / "data", (("1024x1024", 2),))
    one = take(*parts(manifest, tmp_path), 9, workers=7, prefetch=9)
    two = take(*parts(manifest, tmp_path), 9, workers=1, prefetch=1)
    assert all(a.rows == b.rows and (a.pixels == b.pixels).all() for a, b in zip(one, two, strict=True))


def test_a_loader_that_is_closed_begins_no_more_images(tiny, tmp_path):
    """An image may take minutes to fetch: who interrupts a run must not wait for all that was asked for."""
    plan, pictures, captions = parts(tiny, tmp_path)
    begun, go, covered = threading.Semaphore(0), threading.Event(), pictures.covered
    seen = []

    def slow(row, **options):
        seen.append(row)
        begun.release()
        assert go.wait(60)
        return covered(row, **options)

    pictures.covered = slow
    with Loader(plan, pictures, captions, workers=1, prefetch=6) as loader:
        loader._submit()
        loader._submit()
        begun.acquire()
        threading.Timer(0.2, go.set).start()  # after the loader has begun to close
    assert len(seen) == 1
    pictures.covered = covered
    assert take(plan, pictures, captions, 1)[0].rows == plan.batch(0).rows.tolist()


def test_an_error_in_a_worker_reaches_the_consumer(tiny, tmp_path):
    plan, pictures, captions = parts(tiny, tmp_path)
    pictures.covered = lambda row, **options: 1 / 0
    with pytest.raises(ZeroDivisionError):
        take(plan, pictures, captions, 1)
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]
