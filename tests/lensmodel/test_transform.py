"""The rule that cuts a training picture out of an image."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lensmodel.data.transform import CENTRE, cover, cover_size, crop, random_place, to_unit

side = st.integers(1, 300)


@settings(max_examples=200, deadline=None)
@given(side, side, st.integers(1, 96), st.integers(1, 96))
def test_a_cover_is_the_smallest_that_covers_and_keeps_the_aspect(w, h, tw, th):
    cw, ch = cover_size(w, h, tw, th)
    assert cw >= tw and ch >= th and (cw == tw or ch == th)
    scale = max(tw / w, th / h)
    assert abs(cw - w * scale) <= 0.5 + 1e-6 and abs(ch - h * scale) <= 0.5 + 1e-6


@settings(max_examples=60, deadline=None)
@given(side, side, st.integers(1, 64), st.integers(1, 64), st.integers(0, 9))
def test_the_crop_has_the_size_of_the_target_and_lies_inside(w, h, tw, th, key):
    image = np.random.default_rng(key).integers(0, 256, (h, w, 3), dtype=np.uint8)
    covered = cover(image, tw, th)
    for place in (CENTRE, random_place(0, 0, key), (0.0, 0.0), (0.999999, 0.999999)):
        assert crop(covered, tw, th, place).shape == (th, tw, 3)


def test_shrinking_averages_areas():
    checker = np.indices((64, 64)).sum(0) % 2 * 255
    image = np.repeat(checker[..., None], 3, axis=2).astype(np.uint8)
    assert set(np.unique(cover(image, 16, 16))) <= {127, 128}


def test_an_image_of_the_target_size_is_left_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    assert (cover(image, 48, 32) == image).all()


def test_the_place_runs_from_edge_to_edge():
    columns = np.tile(np.arange(40, dtype=np.uint8)[None, :, None], (8, 1, 3))
    lefts = [int(crop(columns, 8, 8, random_place(0, epoch, 5))[0, 0, 0]) for epoch in range(400)]
    assert min(lefts) == 0 and max(lefts) == 32 and abs(np.mean(lefts) - 16) < 2
    assert crop(columns, 8, 8, CENTRE)[0, 0, 0] == 16
    assert random_place(1, 2, 3) == random_place(1, 2, 3) != random_place(1, 2, 4)


def test_pixels_become_minus_one_to_one():
    image = np.zeros((2, 3, 3), dtype=np.uint8)
    image[0, 1] = (255, 0, 51)
    unit = to_unit(image)
    assert unit.shape == (3, 2, 3) and unit.dtype == np.float32
    assert np.allclose(unit[:, 0, 1], [1, -1, -0.6])
