"""Random texts in Latin, Chinese, Japanese, Korean and Arabic script: signs, titles, codes, price lists,
prose.

A text is a list of paragraphs, each with a size relative to the others, so that one picture can hold a
headline over a body. Texts are a pure function of the random generator given.

The words are in vocabulary.json, by language: `sentences` and `titles` are patterns whose {slots} name other
lists of the same language. Every combination is grammatical: nouns carry their article or particle, verbs
agree with all of the names. `signs` are complete in themselves, `goods` have a price.
"""

from __future__ import annotations

import json
import re
import string
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any

LANGUAGES: dict[str, dict[str, Any]] = json.loads(
    files(__package__).joinpath("vocabulary.json").read_text("utf-8")
)
SCRIPTS = ("latin", "chinese", "japanese", "korean", "arabic")
RIGHT_TO_LEFT = frozenset({"arabic"})
NO_SPACES = frozenset({"chinese", "japanese"})
_WEIGHTS = {"latin": 8, "chinese": 4, "japanese": 2, "korean": 2, "arabic": 4}
_KINDS = {"sentence": 5, "paragraph": 4, "poster": 4, "sign": 3, "title": 2, "list": 2, "code": 1}
_ARABIC_DIGITS = str.maketrans("0123456789.", "٠١٢٣٤٥٦٧٨٩٫")
_SLOT = re.compile(r"\{(\w+)\}")
_SLOT_OF = re.compile(r"\{[^}]*\}")  # of a format
CODES = (
    "{letters}-{digits}", "{letters} {digits}", "#{digits}", "{name}@example.org", "+{country} {digits} {number}",
)  # fmt: skip
DATE = "{day:02d}.{month:02d}.{year}, {hour:02d}:{minute:02d}"
DATES = {
    "chinese": "{year}年{month}月{day}日", "japanese": "{year}年{month}月{day}日", "korean": "{year}. {month}. {day}.",
    "arabic": "{day}/{month}/{year}",
}  # fmt: skip
UNTIMED = frozenset({*NO_SPACES, "korean"})


@dataclass(frozen=True)
class Paragraph:
    """`text` (NFC, one line before wrapping) at `scale` times the picture's text size."""

    text: str
    scale: float = 1.0


@dataclass(frozen=True)
class Text:
    """What one picture says. `kind` is one of sign, title, code, list, sentence, paragraph, poster."""

    script: str
    language: str
    kind: str
    paragraphs: tuple[Paragraph, ...]


@cache
def languages_of(script: str) -> tuple[str, ...]:
    return tuple(code for code, words in LANGUAGES.items() if words["script"] == script)


@cache
def alphabet(script: str) -> frozenset[str]:
    """Every character a text of this script may hold; a font that sets it must have nearly all of them."""
    found: set[str] = set(string.digits + ".,:-–/ ")
    for code in languages_of(script):
        for value in LANGUAGES[code].values():
            found.update("".join(value) if isinstance(value, list) else "")
        found.update(LANGUAGES[code]["money"].replace("{n}", ""))
    found.update(*(_SLOT_OF.sub("", pattern) for pattern in _patterns(script)))
    if script == "latin":
        found.update(string.ascii_letters)
    if script == "arabic":
        found.update("٠١٢٣٤٥٦٧٨٩٫")
    return frozenset(unicodedata.normalize("NFC", "".join(sorted(found)))) - set("{}|_")


def pick_script(rng: Random, scripts: tuple[str, ...]) -> str:
    """One of `scripts`: Latin twice as often as Chinese or Arabic, Japanese or Korean half as often as
    those."""
    return rng.choices(scripts, [_WEIGHTS[script] for script in scripts])[0]


def write(rng: Random, script: str) -> Text:
    """A random text in `script`. All strings are Unicode NFC."""
    language = rng.choice(languages_of(script))
    words = LANGUAGES[language]
    kind = rng.choices(list(_KINDS), list(_KINDS.values()))[0]
    if kind == "sentence":
        parts = [Paragraph(_fill(rng, words, "sentences"))]
    elif kind == "paragraph":
        join = "" if script in NO_SPACES else " "
        parts = [Paragraph(join.join(_fill(rng, words, "sentences") for _ in range(rng.randint(2, 5))))]
    elif kind == "poster":
        parts = [
            Paragraph(_fill(rng, words, "titles"), rng.uniform(1.5, 2.6)),
            Paragraph(_fill(rng, words, "sentences")),
        ]
        if rng.random() < 0.5:
            parts.append(Paragraph(_when(rng, script), rng.uniform(0.7, 1.0)))
    elif kind == "list":
        parts = [
            Paragraph(f"{good} {_price(rng, words, script)}")
            for good in rng.sample(words["goods"], rng.randint(2, 5))
        ]
    elif kind == "code":
        parts = [Paragraph(_code(rng, script))]
    else:
        parts = [Paragraph(_fill(rng, words, "titles" if kind == "title" else "signs"))]
    if script == "latin" and kind in ("sign", "title", "poster") and rng.random() < 0.3:
        parts[0] = Paragraph(parts[0].text.upper(), parts[0].scale)
    tidy = (Paragraph(unicodedata.normalize("NFC", part.text), part.scale) for part in parts)
    return Text(script, language, kind, tuple(tidy))


def _fill(rng: Random, words: dict[str, Any], group: str) -> str:
    """A pattern of `group` with its slots filled, the same word never twice."""
    used: set[str] = set()

    def choose(slot: re.Match[str]) -> str:
        word = rng.choice([word for word in words[slot[1]] if word not in used])
        used.add(word)
        return word

    filled = _SLOT.sub(choose, rng.choice(words[group]))
    lead = len(filled) - len(filled.lstrip("¿¡"))
    if words["script"] == "latin":  # a sentence starts with a capital; names inside one keep an article small
        filled = re.sub(
            r", (The|Our|Le|La|Ma|Mon|Die|Der|Mein|El|Mi) ", lambda m: f", {m[1].lower()} ", filled
        )
    return filled[:lead] + filled[lead : lead + 1].upper() + filled[lead + 1 :]


def _number(rng: Random, text: str, script: str) -> str:
    return text.translate(_ARABIC_DIGITS) if script == "arabic" and rng.random() < 0.5 else text


def _price(rng: Random, words: dict[str, Any], script: str) -> str:
    if script in ("japanese", "korean"):
        number = str(rng.randint(2, 99) * (1000 if script == "korean" else 50))
    else:
        number = f"{rng.randint(1, 60)}.{rng.choice(('00', '20', '50', '80', '90', '95'))}"
    return words["money"].replace("{n}", _number(rng, number, script))


def _when(rng: Random, script: str) -> str:
    found = {"day": rng.randint(1, 28), "month": rng.randint(1, 12), "year": rng.randint(1950, 2049)}
    if script in UNTIMED:
        return _number(rng, DATES[script].format(**found), script)
    clock = {"hour": rng.randint(0, 23), "minute": rng.randint(0, 59)}
    return _number(rng, DATES.get(script, DATE).format(**found, **clock), script)


def _code(rng: Random, script: str) -> str:
    if script != "latin":
        return _number(rng, str(rng.randint(100, 10**9)), script)
    letters = "".join(rng.choices(string.ascii_uppercase, k=rng.randint(2, 4)))
    digits = "".join(rng.choices(string.digits, k=rng.randint(3, 6)))
    given = {
        "letters": letters,
        "digits": digits,
        "name": f"{letters.lower()}{digits[:2]}",
        "country": digits[:2],
        "number": digits[::-1],
    }
    return rng.choice(CODES).format(**given)


def _patterns(script: str) -> tuple[str, ...]:
    """What a text of this script is written by besides words; whatever stands in one is in its alphabet."""
    return (DATES.get(script, DATE), *(CODES if script == "latin" else ()))
