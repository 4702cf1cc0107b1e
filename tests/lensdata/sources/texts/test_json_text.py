"""JSON of others: what is read of it, and in which words it is refused."""

from __future__ import annotations

import pytest

from lensdata.sources.texts.json_text import DEEP, from_json


def test_a_number_of_any_length_costs_nothing_else() -> None:
    text = f'{{"caption": "a cat", "id": {"9" * 5000}, "bytes": [1, 2]}}'
    for given in (text, text.encode("utf-16-le")):
        assert from_json(given) == {"caption": "a cat", "id": float("inf"), "bytes": [1, 2]}
    assert from_json('{"n": 5}') == {"n": 5} and type(from_json("[5]")[0]) is int


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, f"^{DEEP}$"),
        ("{oh", r"^not JSON \(Expecting property name"),
        (f'{{"n": {"9" * 5000}, oh', r"^not JSON \("),
        (b'{"\xff": 1}', r"^not JSON \("),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        from_json(text)
    assert "sys." not in str(caught.value) and "recursion" not in str(caught.value)
