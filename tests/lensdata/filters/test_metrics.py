"""The cheap filters against independent float64 arithmetic, and what their definitions promise."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
import skimage
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from catalog import metrics, pixels
from lensdata import filters
from tests.fakes import zoo

SIDE = filters.WORKING_SIDE
SMALL_IMAGES = hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)))


def grey_of(rgb: np.ndarray) -> np.ndarray:
    """BT.601 luma rounded to integers; OpenCV's fixed point may differ by one where it is all but a tie."""
    return np.rint(rgb.astype(np.float64) @ (0.299, 0.587, 0.114))


def laplacian_variance(grey: np.ndarray) -> float:
    padded = np.pad(grey.astype(np.float64), 1, mode="reflect")
    edges = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * grey
    return float(edges.var())


def shannon(grey: np.ndarray) -> float:
    counts = np.unique(grey, return_counts=True)[1] / grey.size
    return float(-(counts * np.log2(counts)).sum())


def grey_image(grey: np.ndarray) -> np.ndarray:
    return np.dstack([grey.astype(np.uint8)] * 3)


@pytest.mark.parametrize("level", [0, 1, 128, 255])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (50, 70), (800, 900)])
def test_flat_images(level: int, size: tuple[int, int]) -> None:
    rgb = np.full((*size, 3), level, np.uint8)
    found = filters.cheap(rgb)
    assert found["clarity"] == 0.0
    assert found["entropy"] == 0.0 and math.copysign(1, found["entropy"]) == 1
    assert found["luminance"] == pytest.approx(level / 255, abs=1e-12)
    assert found["phash"] & ((1 << 63) - 1) == 0


def test_checkerboard() -> None:
    board = (np.indices((64, 48)).sum(0) % 2 * 255).astype(np.uint8)
    # every pixel's four neighbours are of the other colour: the Laplacian is +-1020, its mean 0
    assert filters.clarity(grey_image(board)) == pytest.approx(1020.0**2)
    assert filters.entropy(grey_image(board)) == 1.0
    assert filters.luminance(grey_image(board)) == 0.5


def test_against_independent_arithmetic() -> None:
    for seed in range(5):
        rgb = zoo.picture(200, 150, seed)
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float64)
        assert np.abs(grey - grey_of(rgb)).max() <= 1
        assert filters.clarity(rgb) == pytest.approx(laplacian_variance(grey), rel=1e-9)
        assert filters.entropy(rgb) == pytest.approx(shannon(grey), rel=1e-9)
        assert filters.luminance(rgb) == pytest.approx(rgb.max(axis=2).mean() / 255, rel=1e-9)


def test_large_images_are_box_averages_first() -> None:
    rgb = zoo.picture(4 * SIDE, 4 * SIDE)
    box = rgb.reshape(SIDE, 4, SIDE, 4, 3).mean(axis=(1, 3), dtype=np.float64)
    assert filters.luminance(rgb) == pytest.approx(np.rint(box).max(axis=2).mean() / 255, rel=1e-4)
    assert filters.clarity(rgb) == pytest.approx(laplacian_variance(grey_of(np.rint(box))), rel=0.01)


def test_uniform_histogram_has_eight_bits() -> None:
    grey = np.arange(256, dtype=np.uint8).repeat(9).reshape(48, 48)
    assert filters.entropy(grey_image(grey)) == pytest.approx(8.0, abs=1e-12)
    assert filters.entropy(grey_image(grey)) <= 8.0


@pytest.mark.parametrize("size", [(300, 260), (500, 400), (1000, 800), (900, 900)])
def test_blur_lowers_clarity(size: tuple[int, int]) -> None:
    rgb = zoo.picture(*size)
    values = [filters.clarity(rgb)]
    values += [filters.clarity(cv2.GaussianBlur(rgb, (0, 0), sigma)) for sigma in (0.8, 1.6, 3.2, 6.4)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < values[0] / 4


def test_doubling_pixels_changes_nothing_where_it_is_undone() -> None:
    rgb = zoo.picture(SIDE + 60, SIDE + 10)
    doubled = rgb.repeat(2, axis=0).repeat(2, axis=1)
    assert filters.cheap(doubled) == filters.cheap(rgb)
    small = zoo.picture(100, 80)  # not reduced: still the same colours in the same shares
    bigger = small.repeat(2, axis=0).repeat(2, axis=1)
    assert filters.entropy(bigger) == pytest.approx(filters.entropy(small), abs=1e-12)
    assert filters.luminance(bigger) == pytest.approx(filters.luminance(small), abs=1e-12)


@pytest.mark.parametrize("width, height", [(1024, 768), (1030, 777), (1601, 2399), (1600, 3200)])
def test_scaled_decode_gives_the_same_values(width: int, height: int) -> None:
    data = simplejpeg.encode_jpeg(zoo.picture(width, height), 92, colorsubsampling="420")
    full, scaled = pixels.decode(data), pixels.decode(data, side=SIDE)
    assert full.rgb is not None and scaled.rgb is not None and scaled.rgb.size < full.rgb.size / 3
    one, other = filters.cheap(full.rgb), filters.cheap(scaled.rgb)
    assert other["clarity"] == pytest.approx(one["clarity"], rel=0.03)
    assert other["entropy"] == pytest.approx(one["entropy"], abs=0.05)
    assert other["luminance"] == pytest.approx(one["luminance"], abs=0.002)
    assert (other["phash"] ^ one["phash"]).bit_count() <= 2


def test_clarity_hardly_depends_on_native_size() -> None:
    scene = zoo.picture(1536, 1536)
    scene = cv2.GaussianBlur(scene, (0, 0), 1.0)
    values = [
        filters.clarity(cv2.resize(scene, (side, side), interpolation=cv2.INTER_AREA))
        for side in (SIDE, SIDE * 2, 1536)
    ]
    between = filters.clarity(cv2.resize(scene, (2 * SIDE + 1, 2 * SIDE + 1), interpolation=cv2.INTER_AREA))
    assert max(values) < 1.1 * min(values)
    # one pixel past a power of two is where an interpolating filter would blur the value to a half
    assert between > 0.7 * values[1]


@settings(max_examples=80, deadline=None)
@given(rgb=SMALL_IMAGES)
def test_cheap_is_the_separate_functions(rgb: np.ndarray) -> None:
    found = filters.cheap(rgb)
    assert found == {
        "clarity": filters.clarity(rgb),
        "entropy": filters.entropy(rgb),
        "luminance": filters.luminance(rgb),
        "phash": filters.perceptual_hash(rgb),
    }
    assert 0 <= found["clarity"] <= (8 * 255) ** 2
    assert 0 <= found["entropy"] <= 8
    assert 0 <= found["luminance"] <= 1
    assert 0 <= found["phash"] < 1 << 64
    assert all(type(found[name]) is float for name in ("clarity", "entropy", "luminance"))


@settings(max_examples=25, deadline=None)
@given(rgb=hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3))))
def test_grey_is_grey(rgb: np.ndarray) -> None:
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).reshape(rgb.shape[:2])
    same = grey_image(grey)
    assert filters.clarity(same) == filters.clarity(rgb)
    assert filters.entropy(same) == filters.entropy(rgb)
    assert filters.luminance(same) == pytest.approx(grey.mean() / 255, abs=1e-12)


def test_views_count_as_their_pixels() -> None:
    rgb = zoo.picture(120, 90)
    for view in (rgb[::-1], rgb[:, ::-1], rgb[..., ::-1], rgb.transpose(1, 0, 2), rgb[::2, 1::2]):
        assert filters.cheap(view) == filters.cheap(np.ascontiguousarray(view))


def test_hash_tells_same_from_other() -> None:
    rgb = zoo.picture(512, 400)
    own = filters.perceptual_hash(rgb)
    again = simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(rgb, 60))
    smaller = cv2.resize(rgb, (300, 234), interpolation=cv2.INTER_AREA)
    brighter = cv2.convertScaleAbs(rgb, alpha=0.9, beta=12)
    for alike in (again, smaller, brighter):
        assert (own ^ filters.perceptual_hash(alike)).bit_count() <= 6
    for seed in range(1, 6):
        assert (own ^ filters.perceptual_hash(zoo.picture(512, 400, seed))).bit_count() >= 12


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
        None,
    ],
)
def test_other_arrays_are_refused(wrong: object) -> None:
    for function in (
        filters.clarity,
        filters.entropy,
        filters.luminance,
        filters.perceptual_hash,
        filters.cheap,
    ):
        with pytest.raises(ValueError, match=r"uint8 array \[H, W, 3\]"):
            function(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("sides", [(3, 7), (9, 11), (57, 23), (384, 400), (511, 513)])
def test_white_is_exactly_one(sides: tuple[int, int]) -> None:
    assert filters.luminance(np.full((*sides, 3), 255, dtype=np.uint8)) == 1.0


@pytest.mark.parametrize(
    "name", ["cell", "clock_motion", "text", "page", "coins", "camera", "chelsea", "coffee"]
)
def test_real_pictures_that_are_sharp_pass_the_default_rules(name: str) -> None:
    """A cell under a microscope is smooth and sharp: its clarity is 3."""
    folder = Path(skimage.__file__).parent / "data"
    decoded = pixels.decode((folder / f"{name}.png").read_bytes())
    assert decoded.rgb is not None
    values = filters.cheap(decoded.rgb)
    for metric in metrics.METRICS:
        if not metric.learned:
            low, high = (metric.limits.get(f"{end}_{metric.name}") for end in ("min", "max"))
            assert low is None or values[metric.name] >= low, metric.name
            assert high is None or values[metric.name] <= high, metric.name


def test_a_picture_far_out_of_focus_does_not() -> None:
    folder = Path(skimage.__file__).parent / "data"
    rgb = pixels.decode((folder / "chelsea.png").read_bytes()).rgb
    assert rgb is not None
    assert filters.clarity(cv2.GaussianBlur(rgb, (0, 0), 9)) < metrics.thresholds()["min_clarity"]
