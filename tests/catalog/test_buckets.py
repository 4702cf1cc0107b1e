"""The 27 buckets and the rule that assigns an image to one."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from catalog import metrics
from catalog.buckets import ASPECTS, BUCKETS, BY_NAME, assign

SIDES = st.integers(1, 20_000)


def test_they_are_the_papers() -> None:
    assert len(BUCKETS) == len(BY_NAME) == 27
    assert [b.name for b in BUCKETS if b.base == 512] == [
        "352x704", "384x672", "416x640", "448x608", "512x512", "608x448", "640x416", "672x384", "704x352",
    ]  # fmt: skip
    assert [b.name for b in BUCKETS if b.base == 768] == [
        "544x1088", "576x1024", "640x960", "672x896", "768x768", "896x672", "960x640", "1024x576", "1088x544",
    ]  # fmt: skip
    assert [b.name for b in BUCKETS if b.base == 1024] == [
        "736x1472", "768x1376", "832x1248", "864x1152", "1024x1024", "1152x864", "1248x832", "1376x768", "1472x736",
    ]  # fmt: skip
    for b in BUCKETS:
        wide, high = map(int, b.aspect.split(":"))
        assert abs(math.log(b.width / b.height) - math.log(wide / high)) < 0.06
        assert b.width % 16 == b.height % 16 == 0
        assert b.aspect in ASPECTS


@pytest.mark.parametrize("bucket", BUCKETS, ids=lambda b: b.name)
def test_a_buckets_own_size_belongs_to_it(bucket) -> None:
    assert assign(bucket.width, bucket.height) == bucket


@given(SIDES, SIDES)
def test_the_aspect_is_the_nearest_and_the_base_the_largest_reached(width: int, height: int) -> None:
    chosen = assign(width, height)
    ratio = math.log(width / height)

    def distance(b) -> float:
        return abs(math.log(b.width / b.height) - ratio)

    assert all(distance(chosen) <= distance(b) for b in BUCKETS if b.base == chosen.base)
    assert chosen.area <= width * height or chosen.base == 512
    bigger = [b for b in BUCKETS if b.base > chosen.base]
    for base in {b.base for b in bigger}:
        nearest = min((b for b in bigger if b.base == base), key=distance)
        assert nearest.area > width * height


@given(SIDES, SIDES)
def test_turning_an_image_turns_its_bucket(width: int, height: int) -> None:
    upright, turned = assign(width, height), assign(height, width)
    assert {upright.width, upright.height} == {turned.width, turned.height}


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5)])
def test_sides_must_be_positive(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no bucket"):
        assign(*size)


@given(width=st.integers(1, 30_000), height=st.integers(1, 30_000))
def test_what_the_default_rules_let_through_is_neither_cut_to_less_than_half_nor_enlarged_twice(
    width: int, height: int
) -> None:
    limits = metrics.thresholds()
    elongation = max(width, height) / min(width, height)
    assume(width * height >= limits["min_area"] and elongation <= limits["max_elongation"])
    bucket = assign(width, height)
    scale = max(bucket.width / width, bucket.height / height)  # the picture covers its bucket
    kept = bucket.area / (scale**2 * width * height)
    assert kept > 0.49 and scale < 1.95


def test_a_strip_of_40_to_1_would_be_cut_and_enlarged() -> None:
    """Why there is a rule: area alone lets it through."""
    bucket = assign(4_000, 100)
    scale = max(bucket.width / 4_000, bucket.height / 100)
    assert metrics.thresholds()["min_area"] <= 4_000 * 100 and scale > 3.5
    assert bucket.area / (scale**2 * 4_000 * 100) < 0.06
    assert metrics.thresholds()["max_elongation"] < 40
