"""The RL-8K taxonomy: complete as the paper describes it, and refused when damaged."""

import copy
import json
from importlib.resources import files

import pytest

from catalog.taxonomy import CATEGORIES, DIMENSIONS, load, parse


@pytest.fixture
def data():
    return json.loads(files("catalog").joinpath("taxonomy.json").read_text(encoding="utf-8"))


def test_holds_what_the_paper_names():
    taxonomy = load()
    assert tuple(taxonomy.categories) == CATEGORIES
    assert tuple(taxonomy.dimensions) == DIMENSIONS
    assert {"Race", "Occupation", "Gender"} <= set(taxonomy.categories["Human"])
    assert {"White People", "Asian People"} <= set(taxonomy.categories["Human"]["Race"])
    assert {"Researcher", "Doctor"} <= set(taxonomy.categories["Human"]["Occupation"])
    assert (
        taxonomy.global_rubric
        == "Verify that the entire image is structurally coherent and physically plausible"
    )


def test_has_dozens_of_subcategories_with_seeds():
    for category, subcategories in load().categories.items():
        assert len(subcategories) >= 24, category
        assert all(3 <= len(items) <= 6 for items in subcategories.values()), category


def test_items_are_dense_and_unique():
    items = load().items()
    assert [item.item_id for item in items] == list(range(len(items)))
    assert len({item.item.casefold() for item in items}) == len(items)
    assert len(items) == sum(len(seeds) for group in load().categories.values() for seeds in group.values())


def _damage(data, how):
    broken = copy.deepcopy(data)
    how(broken)
    return broken


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda d: d.pop("version"), "expected version"),
        (lambda d: d["categories"].pop("Food"), "categories must be"),
        (lambda d: d["dimensions"].pop("Count"), "dimensions must be"),
        (lambda d: d["categories"]["Food"].clear(), "no sub-categories"),
        (lambda d: d["categories"]["Food"].update(Bread=[]), "no items"),
        (lambda d: d["categories"]["Food"]["Bread"].append(" "), "no name"),
        (lambda d: d["categories"]["Food"]["Cake"].append("baguette"), "Food / Bread"),
    ],
)
def test_damage_is_named(data, how, message):
    with pytest.raises(ValueError, match=message):
        parse(_damage(data, how))
