"""The texts: deterministic, varied, and within the alphabet that fonts are chosen by."""

import unicodedata
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lensdata.render_text.corpus import SCRIPTS, alphabet, languages_of, write


@given(st.integers(0, 2**32), st.sampled_from(SCRIPTS))
@example(137201503, "latin")  # a telephone number
def test_texts_are_deterministic_clean_and_in_the_alphabet(seed, script):
    text = write(Random(seed), script)
    assert text == write(Random(seed), script)
    assert text.language in languages_of(script)
    assert text.paragraphs
    for paragraph in text.paragraphs:
        assert paragraph.text == unicodedata.normalize("NFC", paragraph.text.strip())
        assert paragraph.text and not set(paragraph.text) & set("{}|_\n")
        upper = {letter.upper() for letter in alphabet(script)}  # signs may be set in capitals
        assert set(paragraph.text) <= alphabet(script) | {letter for word in upper for letter in word}


@pytest.mark.parametrize("script", SCRIPTS)
def test_texts_are_varied(script):
    rng = Random(1)
    texts = {write(rng, script).paragraphs for _ in range(1000)}
    assert len(texts) > 700


def test_every_kind_and_language_occurs():
    rng = Random(2)
    made = [write(rng, script) for script in SCRIPTS for _ in range(300)]
    assert {text.kind for text in made} == {
        "sentence",
        "paragraph",
        "poster",
        "sign",
        "title",
        "list",
        "code",
    }
    assert {text.language for text in made} == {"en", "fr", "de", "es", "zh", "ja", "ko", "ar"}
