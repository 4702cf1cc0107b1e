"""Scenes, their pictures and captions: nothing overlaps, nothing is cut off, every word is true."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import BadInput
from lensmodel.shapes import caption
from lensmodel.shapes.geometry import REACH, SHAPES, TEXTURES, coverage, distance, pattern
from lensmodel.shapes.render import render
from lensmodel.shapes.scene import COLOURS, KINDS, TONES, UNSEEN, WORLDS, place, relates, sample
from lensmodel.shapes.spec import Spec, describe

SIZES = st.sampled_from([(32, 32), (24, 48), (40, 24), (64, 32), (48, 88), (64, 64)])
SEEDS = st.integers(0, 2**32)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_has_its_area_and_its_centre_of_mass_and_stays_in_reach(shape):
    y, x = np.mgrid[-150:151, -150:151].astype(np.float32)
    ink = coverage(distance(shape, x, y, 100))
    assert ink.sum() / 100**2 == pytest.approx(SHAPES[shape], rel=0.005)
    assert abs((ink * x).sum()) / ink.sum() < 0.5 and abs((ink * y).sum()) / ink.sum() < 0.7
    assert max(np.abs(x[ink > 0]).max(), np.abs(y[ink > 0]).max()) <= REACH * 100 + 1


@pytest.mark.parametrize("texture", TEXTURES)
def test_a_pattern_stays_in_range_around_zero(texture):
    field = pattern(texture, 64, 96)
    assert field.shape == (96, 64) and field.dtype == np.float32
    assert np.abs(field).max() <= 1 and abs(field.mean()) < 0.05
    assert (field.std() > 0.3) == (texture != "plain")


@settings(max_examples=80, deadline=None)
@given(SEEDS, SIZES, st.sampled_from(WORLDS))
def test_shapes_keep_apart_and_inside(seed, size, world):
    scene = sample(Random(seed), *size, world=world)
    assert 1 <= len(scene.shapes) <= 4
    for n, a in enumerate(scene.shapes):
        assert REACH * a.r <= a.x <= size[0] - REACH * a.r and REACH * a.r <= a.y <= size[1] - REACH * a.r
        for b in scene.shapes[:n]:
            boxes = max(abs(a.x - b.x), abs(a.y - b.y)) >= REACH * (a.r + b.r)
            assert boxes or math.hypot(a.x - b.x, a.y - b.y) >= 1.28 * (a.r + b.r)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from([(32, 32), (32, 64), (48, 48), (64, 64)]))
def test_a_cell_of_the_grid_world_is_a_whole_number_of_patches(seed, size):
    cell = min(size) / 2
    for shape in sample(Random(seed), *size).shapes:
        corner = shape.x - cell / 2, shape.y - cell / 2
        assert all(c % 8 == 0 for c in corner), "minis patches are 8 pixels"


@settings(max_examples=80, deadline=None)
@given(SEEDS, SIZES, st.sampled_from(WORLDS))
def test_captions_are_ascii_and_say_what_the_scene_holds(seed, size, world):
    scene = sample(Random(seed), *size, world=world)
    text, spec = caption.dense(scene, Random(seed))
    assert text.isascii() and text[0].isupper() and text.endswith(".") and "None" not in text
    assert scene.tone in text and (scene.texture in text)
    assert sum(item.count for item in spec.items) == len(scene.shapes)
    for item in spec.items:
        assert item.noun in text and f"the {item.place}" in text and item.size in text
    for name in set(SHAPES) - {s.shape for s in scene.shapes}:
        assert name not in text
    for name in set(COLOURS) - {s.colour for s in scene.shapes}:
        assert name not in text
    brief, told = caption.brief(scene, Random(seed))
    assert brief.isascii() and len(brief) < len(text)
    assert sum(item.count for item in told.items) == len(scene.shapes)
    assert all(item.noun in brief for item in told.items)
    for each in (spec, told):
        assert Spec.from_plain(each.plain()) == each


def test_a_relation_names_shapes_that_are_told_apart():
    for seed in range(300):
        scene = sample(Random(seed), 32, 32, kind="mixed")
        _, spec = caption.dense(scene, Random(seed))
        for relation in spec.relations:
            for number in (relation.first, relation.second):
                item = spec.items[number]
                alike = [s for s in scene.shapes if (s.shape, s.colour) == (item.shape, item.colour)]
                assert len(alike) == 1


def test_relations_follow_genevals_rule():
    assert relates("left of", -10, 0, 8) and not relates("right of", -10, 0, 8)
    assert relates("above", 0, -10, 8) and relates("below", 0, 10, 8)
    assert relates("left of", -10, -10, 8) and relates("above", -10, -10, 8), "a diagonal is both"
    assert not relates("left of", -4, -10, 8), "steeper than 60 degrees"
    assert not relates("left of", -1.5, 0, 8), "within the slack"


def test_places_are_thirds():
    assert place(5, 5, 30, 30) == "top left" and place(15, 15, 30, 30) == "middle"
    assert place(15, 29, 30, 30) == "bottom" and place(30, 15, 30, 30) == "right"


def test_every_kind_tone_and_texture_is_sampled_and_pairs_are_kept():
    scenes = [sample(Random(n), 32, 32) for n in range(400)]
    assert {len(s.shapes) for s in scenes} == {1, 2, 3, 4}
    assert {s.tone for s in scenes} == set(TONES) and {s.texture for s in scenes} == set(TEXTURES)
    only = [sample(Random(n), 32, 32, kind=kind, pairs=UNSEEN) for n in range(40) for kind in KINDS]
    assert {(s.colour, s.shape) for scene in only for s in scene.shapes} == UNSEEN


def test_a_scene_looks_the_same_at_every_size():
    scene = sample(Random(5), 32, 32, kind="mixed")
    small, large = render(scene), render(scene, 512, 512)
    assert small.shape == (32, 32, 3) and small.dtype == np.uint8
    shrunk = large.reshape(32, 16, 32, 16, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - small).mean() < 1.5
    assert render(scene, 48, 24).shape == (24, 48, 3)


def test_wrong_arguments_are_told():
    with pytest.raises(BadInput, match="no world"):
        sample(Random(0), 32, 32, world="flat")
    with pytest.raises(BadInput, match="at least 16"):
        sample(Random(0), 8, 32)
    with pytest.raises(BadInput, match="too small"):
        render(sample(Random(0), 32, 32), 8, 8)
    good = Spec(describe(sample(Random(0), 32, 32))).plain()
    for bad in ({}, {**good, "tone": "pink"}, {**good, "items": []}, {**good, "items": [{"shape": "dog"}]}):
        with pytest.raises(BadInput, match="no assertion"):
            Spec.from_plain(bad)


def test_captions_fit_minis_language_encoder():
    from transformers import AutoTokenizer

    from lensmodel.presets import build
    from lensmodel.text import find_smollm2

    mini, file = build("mini"), find_smollm2()
    tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name, local_files_only=True)
    longest = 0
    for seed in range(600):
        scene = sample(Random(seed), 32, 32, kind="mixed")
        text, _ = caption.dense(scene, Random(seed))
        whole = mini.template_prefix + text + mini.template_suffix
        longest = max(longest, len(tokenizer(whole, add_special_tokens=False)["input_ids"]))
    assert longest <= mini.max_length, longest
