"""The verifier: true pictures pass, wrong captions do not, damage is borne, and cheats fail."""

from __future__ import annotations

from random import Random

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import BadInput
from lensmodel.shapes import caption
from lensmodel.shapes.geometry import SHAPES, coverage, distance
from lensmodel.shapes.measure import DAMAGES, measure
from lensmodel.shapes.prompts import TASKS, prompts, score, shuffled
from lensmodel.shapes.render import render
from lensmodel.shapes.scene import COLOURS, TONES, UNSEEN, WORLDS, Scene, Shape, sample
from lensmodel.shapes.see import look
from lensmodel.shapes.spec import Item, Relation, Spec
from lensmodel.shapes.verify import rubrics, strict, verify

SIZES = st.sampled_from([(32, 32), (24, 48), (40, 24), (40, 56), (64, 64), (96, 48)])
RED_CIRCLE = Spec((Item("circle", "red"),))


def picture(*shapes: Shape, tone: str = "grey", side: int = 32) -> np.ndarray:
    return render(Scene(side, side, tone, "plain", shapes))


def at(shape: str, colour: str, x: float, y: float, r: float = 6) -> Shape:
    return Shape(shape, colour, "large", x, y, r)


@settings(max_examples=250, deadline=None)
@given(st.integers(0, 2**32), SIZES, st.sampled_from(WORLDS))
def test_every_rubric_of_a_true_caption_passes(seed, size, world):
    scene = sample(Random(seed), *size, world=world)
    for text, spec in (caption.dense(scene, Random(seed)), caption.brief(scene, Random(seed))):
        assert [r.text for r in verify(render(scene), spec) if not r.passed] == [], text


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([(300, 512), (512, 512), (768, 400)]))
def test_large_pictures_are_judged_alike(seed, size):
    scene = sample(Random(seed), 32, 32)
    spec = caption.brief(scene, Random(seed))[1]
    asked = Spec(spec.items, (), spec.tone)  # another aspect may turn a diagonal
    assert strict(render(scene, *size), asked)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("size", [(32, 32), (24, 40), (64, 64)])
def test_six_tasks_true_and_shuffled(world, size):
    asked = [prompt for task in TASKS for prompt in prompts(task, 80, 1, world, size)]
    images = [render(prompt.scene) for prompt in asked]
    true, false = score(images, asked), score(images, shuffled(asked))
    assert true.keys() == {*TASKS, "overall"}
    for task in TASKS:
        assert true[task] >= 0.99, task
        assert false[task] <= 0.1, task


def test_a_plain_permutation_of_captions_fails_too():
    asked = [prompt for task in TASKS for prompt in prompts(task, 240)]
    images = [render(prompt.scene) for prompt in asked]
    permuted = [prompt for t in range(6) for prompt in Random(t).sample(asked[240 * t : 240 * (t + 1)], 240)]
    assert max(score(images, permuted).values()) <= 0.1


def test_damage_is_borne():
    table, _ = measure("free", (32, 32), 40, 3)
    assert table.keys() == DAMAGES.keys()
    for name, (true, false) in table.items():
        assert true["overall"] >= (0.85 if name == "JPEG 75" else 0.97), name
        assert max(false.values()) <= 0.1, name


def test_every_shape_in_every_colour_is_seen_on_every_ground():
    for shape in SHAPES:
        for colour in COLOURS:
            for tone in TONES:
                (thing,) = look(picture(at(shape, colour, 12, 19.3, 4.6), tone=tone)).things
                assert (thing.shape, thing.colour, thing.size) == (shape, colour, "small")
                assert abs(thing.x - 12) + abs(thing.y - 19.3) < 0.5 and abs(thing.r - 4.6) < 0.4


@pytest.mark.parametrize("colour", COLOURS.values())
def test_one_colour_everywhere_passes_nothing(colour):
    image = np.full((32, 32, 3), colour, np.uint8)
    for task in TASKS:
        assert not any(strict(image, prompt.spec) for prompt in prompts(task, 40))
    assert not any(rubric.passed for rubric in verify(image, RED_CIRCLE))


def test_cheats_fail():
    rng = np.random.default_rng(0)
    grey, red = np.full((32, 32, 3), 124, np.uint8), COLOURS["red"]
    half = grey.copy()
    half[:, 16:] = red
    specks = grey.copy()
    specks[::2, ::2] = red
    huge = picture(at("circle", "red", 16, 16, 13))
    tiny = picture(at("circle", "red", 16, 16, 1.8))
    cheats = {
        "grey": grey, "half": half, "specks": specks, "huge": huge, "tiny": tiny,
        "noise": rng.integers(0, 256, (32, 32, 3)).astype(np.uint8),
        "square": picture(at("square", "red", 16, 16)),
        "blue circle": picture(at("circle", "blue", 16, 16)),
        "two": picture(at("circle", "red", 8, 8), at("circle", "red", 24, 24)),
        "on black": render(Scene(32, 32, "grey", "plain", (at("circle", "red", 16, 16),))) * (grey > 200),
    }  # fmt: skip
    assert strict(picture(at("circle", "red", 16, 16)), RED_CIRCLE)
    assert [name for name, image in cheats.items() if strict(image, RED_CIRCLE)] == []


@pytest.mark.parametrize("across", [3, 6])
def test_a_picture_with_everything_passes_no_task(across):
    names = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    Random(across).shuffle(names)
    places = [(16 + 32 * (n % across), 16 + 32 * (n // across)) for n in range(across**2)]
    shapes = (at(s, c, x, y, 13) for (c, s), (x, y) in zip(names, places, strict=False))
    everything = picture(*shapes, side=32 * across)
    assert len(look(everything).things) > 4
    for task in TASKS:
        assert not any(strict(everything, prompt.spec) for prompt in prompts(task, 80))


def test_a_rubric_each_for_presence_colour_count_and_relation():
    spec = Spec(
        (Item("circle", "red"), Item("square", "blue", 2)), (Relation(0, "left of", 1),), "grey", "plain"
    )
    texts = [
        "there is a circle", "there are two squares", "there is a red circle", "there are two blue squares",
        "there are exactly two blue squares", "the red circle is to the left of the blue squares",
        "the background is grey", "the background is plain", "there is nothing else",
    ]  # fmt: skip
    assert rubrics(spec) == texts
    circle = at("circle", "red", 8, 8)
    image = picture(circle, at("square", "green", 24, 8), at("square", "blue", 24, 24))
    missed = [r.text for r in verify(image, spec) if not r.passed]
    assert missed == ["there are two blue squares", "there are exactly two blue squares"]
    image = picture(circle, *(at("square", "blue", x, 24) for x in (8, 24)), at("ring", "cyan", 24, 8))
    assert [r.text for r in verify(image, spec) if not r.passed] == ["there is nothing else"]


def test_attributes_stay_with_their_shape():
    asked = Spec((Item("circle", "red"), Item("square", "blue")))
    swapped = picture(at("circle", "blue", 8, 8), at("square", "red", 24, 24))
    assert [r.passed for r in verify(swapped, asked)] == [True, True, False, False, True]


def test_size_and_place_are_told_apart():
    image = picture(at("circle", "red", 8, 8))
    item = Item("circle", "red", 1, "large", "top left")
    assert strict(image, Spec((item,)))
    assert not strict(image, Spec((Item("circle", "red", 1, "small", "top left"),)))
    assert not strict(image, Spec((Item("circle", "red", 1, "large", "bottom right"),)))


def test_shapes_of_another_kind_are_none_of_ours():
    y, x = np.mgrid[-15.5:16, -15.5:16].astype(np.float32)
    odd = {
        "bar": np.maximum(np.abs(x) - 8, np.abs(y) - 3),
        "ellipse": np.hypot(x, 2 * y) - 8,
        "upside-down": distance("triangle", x, -y, 6.5),
        "half": np.maximum(np.hypot(x, y) - 7, y),
        "frame": np.abs(np.maximum(np.abs(x), np.abs(y)) - 5) - 1.3,
    }
    for name, outside in odd.items():
        image = 124 + coverage(outside)[..., None] * (np.array(COLOURS["red"]) - 124)
        assert [thing.shape for thing in look(np.rint(image).astype(np.uint8)).things] == [None], name


def test_prompts_are_a_function_of_their_arguments():
    for task in TASKS:
        first = prompts(task, 80)
        assert first[:20] == prompts(task, 20) and first != prompts(task, 80, seed=1)
        assert len({prompt.text for prompt in first}) >= 70, task
        assert all(prompt.task == task and prompt.text.isascii() for prompt in first)
    named = [
        prompts(task, 40, combos=combos) for task in ("colors", "color_attr") for combos in ("seen", "unseen")
    ]
    for number, chosen in enumerate(named):
        pairs = {(item.colour, item.shape) for prompt in chosen for item in prompt.spec.items}
        assert pairs <= UNSEEN if number % 2 else not pairs & UNSEEN
    with pytest.raises(BadInput, match="no task 'colours'"):
        prompts("colours")
    with pytest.raises(BadInput, match="no choice of pairs"):
        prompts("colors", combos="new")


def test_pictures_of_another_form_are_refused():
    for bad in (np.zeros((32, 32), np.uint8), np.zeros((32, 32, 3)), np.zeros((0, 32, 3), np.uint8)):
        with pytest.raises(ValueError, match="uint8"):
            look(bad)
    assert look(np.zeros((1, 1, 3), np.uint8)).things == ()
    assert look(np.full((3, 900, 3), 124, np.uint8)).things == ()


def test_a_tint_over_everything_is_seen_through():
    image = picture(at("ring", "white", 9, 20), tone="light grey").astype(np.float32) * (1.0, 0.93, 0.9)
    assert strict(
        cv2.GaussianBlur(np.rint(image).astype(np.uint8), (0, 0), 0.5), Spec((Item("ring", "white"),))
    )
