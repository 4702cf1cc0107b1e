"""Weights of sources: what they may be, when they count, how many samples they ask of an epoch."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import BadInput
from catalog.mixture import MOST, checked, in_force, taken


@pytest.mark.parametrize("weight", [0, -1, math.nan, math.inf, MOST + 1, "2", None, True])
def test_a_weight_is_a_positive_number(weight) -> None:
    with pytest.raises(BadInput, match="the weight of source private must be a number above 0"):
        checked({"public-real": 1, "private": weight})


def test_a_mixture_counts_only_where_some_image_is_not_seen_once() -> None:
    assert in_force({}, ["a", "b"]) == {}
    assert in_force({"a": 1, "b": 1.0, "c": 3}, ["b", "a"]) == {}
    assert in_force({"a": 1, "b": 2, "c": 3}, ["b", "a"]) == {"a": 1.0, "b": 2.0}


@given(st.integers(0, 10**9), st.floats(0.001, MOST), st.integers(0, 10**6))
def test_an_epoch_takes_its_share_or_one_more(images: int, repeats: float, epoch: int) -> None:
    least = taken(images, repeats, 1)
    assert -1e-3 < images * repeats - least < 1 + 1e-3  # 90 * 0.7 is 62.99999999999999
    assert least <= taken(images, repeats, epoch + 1) - taken(images, repeats, epoch) <= least + 1
    assert taken(images, 1, epoch) == images * epoch


def test_a_weight_is_the_decimal_that_was_written() -> None:
    assert taken(100, 0.29, 1) == 29  # 0.29 * 100 is 28.999999999999996
    assert [taken(1, 0.1, epochs) for epochs in (9, 10, 19, 20)] == [0, 1, 1, 2]
