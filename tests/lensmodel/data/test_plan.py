"""The data plan under a mixture: even coverage, the same count every epoch, one stream whatever the world."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import BadInput
from lensmodel.data.plan import DataPlan, Group, held_out, resume_segments, samples_of

SIZES = {512: 4, 768: 3, 1024: 2}
NAMES = ["512x512", "448x608", "768x768"]
KINDS = ["private", "public-real", "text-synthetic"]
weights = st.sampled_from([0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3]) | st.floats(0.05, 4)
mixtures = st.dictionaries(st.sampled_from(KINDS), weights)
tables = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=12, max_size=90)


def make(table, mixture=None, seed=0, rows=None):
    """A plan over samples given as (bucket number, source number)."""
    buckets, sources = [NAMES[b] for b, _ in table], [KINDS[s] for _, s in table]
    rows = np.arange(len(table)) if rows is None else rows
    return DataPlan(buckets, rows, SIZES, seed, sources, mixture), buckets, sources


def epoch_of(plan, epoch):
    first = epoch * plan.batches_per_epoch
    return [plan.batch(first + i) for i in range(plan.batches_per_epoch)]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 40), weights, st.integers(0, 30), st.integers(1, 12))
def test_over_any_run_of_epochs_no_sample_is_taken_twice_more_than_another(n, weight, first, epochs):
    group = Group("kind", np.arange(n) * 7, weight)
    taken = Counter()
    for epoch in range(first, first + epochs):
        rows = group.of_epoch(epoch)
        assert group.least <= len(rows) <= group.least + 1
        assert max(Counter(rows.tolist()).values(), default=0) <= np.ceil(weight)
        taken.update(rows.tolist())
    times = [taken[row] for row in group.rows.tolist()]
    assert abs(sum(times) - epochs * group.mean) < 1.001
    assert max(times) - min(times) <= 1


def test_a_half_is_the_one_half_now_and_the_other_next():
    table = [(0, 1)] * 40 + [(0, 2)] * 24
    plan, _, sources = make(table, {"text-synthetic": 0.5})
    assert (plan.samples_per_epoch, plan.batches_per_epoch, plan.dropped_per_epoch) == (52, 13, 0)
    epochs = [np.concatenate([b.rows for b in epoch_of(plan, e)]) for e in range(4)]
    for rows in epochs:
        assert sorted(r for r in rows if sources[r] == "public-real") == list(range(40))
    texts = [{r for r in rows.tolist() if sources[r] == "text-synthetic"} for rows in epochs]
    assert [len(t) for t in texts] == [12] * 4
    assert texts[0] | texts[1] == texts[2] | texts[3] == set(range(40, 64))
    assert texts[0] != set(range(40, 52))  # not in the manifest's order


def test_twice_and_a_half_is_twice_and_every_other_thrice():
    table = [(0, 0)] * 8 + [(0, 1)] * 8
    plan, _, _ = make(table, {"private": 2.5})
    counts = [Counter(np.concatenate([b.rows for b in epoch_of(plan, e)]).tolist()) for e in range(2)]
    assert sorted(counts[0][row] for row in range(8)) == [2] * 4 + [3] * 4
    assert [counts[0][row] + counts[1][row] for row in range(8)] == [5] * 8
    assert plan.shares == {"private": pytest.approx(20 / 28), "public-real": pytest.approx(8 / 28)}


@settings(max_examples=60, deadline=None)
@given(tables, mixtures, st.integers(0, 3), st.integers(0, 4))
def test_every_epoch_has_the_same_batches_and_none_of_the_held_out(table, mixture, seed, epoch):
    held = held_out(np.arange(len(table)), 0.1, 2)
    try:
        plan, buckets, sources = make(table, mixture, seed, np.flatnonzero(~held))
    except BadInput:
        return  # no bucket fills a batch
    batches = epoch_of(plan, epoch)
    rows = np.concatenate([b.rows for b in batches])
    assert len(rows) == plan.samples_per_epoch
    assert not held[rows].any()  # whatever the weights
    assert Counter(b.bucket for b in batches) == Counter(b.bucket for b in epoch_of(plan, epoch + 1))
    assert plan.dropped_per_epoch >= 0
    for batch in batches:
        assert {buckets[row] for row in batch.rows} == {batch.bucket} and batch.epoch == epoch
    times = Counter(rows.tolist())
    for row, n in times.items():
        assert n <= max(1, np.ceil(mixture.get(sources[row], 1)))
    assert sum(plan.shares.values()) == pytest.approx(1)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 6)), min_size=1, max_size=4), mixtures)
def test_the_stream_is_the_same_whatever_worlds_read_it_and_past_steps_are_known(worlds, mixture):
    table = [(n % 3, n % 2 + 1) for n in range(240)]
    plan, _, _ = make(table, mixture)
    position, step, history, trained = 0, 0, [], []
    for world, steps in worlds:
        history = resume_segments(history, step, world)
        for _ in range(steps):
            ranks = [plan.step(position, rank, world) for rank in range(world)]
            trained.append(np.concatenate([b.rows for batches in ranks for b in batches]).tolist())
            position, step = position + world, step + 1
    again, _, _ = make(table, mixture)
    assert [samples_of(again, history, n).tolist() for n in range(step)] == trained


def test_without_weights_nothing_changes():
    """A run that was started before there were mixtures goes on with the batches it would have had."""
    table = [(0, n % 3) for n in range(24)]
    for mixture in (None, {}, {"private": 1.0, "public-real": 1.0}):
        plan, _, _ = make(table, mixture, seed=7)
        stream = repr([(b.bucket, b.rows.tolist()) for b in map(plan.batch, range(12))])
        assert hashlib.sha256(stream.encode()).hexdigest()[:16] == "3c113756f00f19cc"
    other, _, _ = make(table, {"private": 2.0}, seed=7)
    assert other.batches_per_epoch == 8


def test_weights_can_fill_a_bucket_or_empty_it():
    table = [(0, 1)] * 8 + [(2, 2)] * 2
    plan, _, _ = make(table)
    assert plan.starved == {"768x768": 2} and plan.shares["text-synthetic"] == 0
    assert not make(table, {"text-synthetic": 2})[0].starved
    with pytest.raises(BadInput, match=r"the fullest, 512x512, has 2 of 4"):
        make(table, {"public-real": 0.25})


def test_small_groups_with_small_weights_keep_to_them():
    """Rounding every small bucket up, or down to nothing, would shift the mixture."""
    table = [(bucket, 1) for bucket in range(3) for _ in range(12)] + [(0, 2), (1, 2), (2, 2)]
    plan, _, sources = make(table, {"text-synthetic": 0.25})
    asked = [np.concatenate([g.of_epoch(e) for gs in plan.groups.values() for g in gs]) for e in range(40)]
    texts = Counter(row for rows in asked for row in rows.tolist() if sources[row] == "text-synthetic")
    assert texts == {36: 10, 37: 10, 38: 10}
    trained = {row for e in range(100) for b in epoch_of(plan, e) for row in b.rows.tolist()}
    assert trained == set(range(39))
