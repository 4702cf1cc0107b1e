"""The rule that cuts a training picture out of an image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

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


@pytest.mark.parametrize("times", [2, 3, 16])
def test_a_picture_of_whole_blocks_shrinks_to_its_blocks(times):
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    assert (cover(picture.repeat(times, 0).repeat(times, 1), 48, 32) == picture).all()


@pytest.mark.parametrize("size", [(61, 47), (90, 70), (31, 23)])
def test_between_half_and_more_it_is_pillows_bicubic(size):
    width, height = size
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image.flags.writeable = False  # as what Pillow decodes
    found = cover(image, 46, 35).astype(int)
    expected = Image.fromarray(image).resize(found.shape[1::-1], Image.Resampling.BICUBIC)
    assert np.abs(found - np.asarray(expected)).max() <= 2


def test_a_flat_image_stays_flat_at_every_size():
    flat = np.full((37, 53, 3), (10, 200, 99), dtype=np.uint8)
    assert all((cover(flat, n, n) == flat[0, 0]).all() for n in range(1, 80, 7))


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
    unit = np.full((2, 3, 2, 3), 9, dtype=np.float32)[1]
    to_unit(image, unit)
    assert np.allclose(unit[:, 0, 1], [1, -1, -0.6]) and (unit[:, 1] == -1).all()


def test_every_value_becomes_its_float_whatever_the_layout():
    planar = np.arange(256, dtype=np.uint8).reshape(1, 16, 16).repeat(3, 0)
    for image in (planar.transpose(1, 2, 0)[2:, 3:], np.ascontiguousarray(planar.transpose(1, 2, 0))[2:, 3:]):
        unit = np.empty((3, 14, 13), dtype=np.float32)
        to_unit(image, unit)
        assert (unit == image.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1).all()
