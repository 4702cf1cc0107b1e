"""Captions from the metadata that an SVG file carries about itself (RDF: title, description, keywords,
licence)."""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

_WORK = {"http://web.resource.org/cc/ Work", "http://creativecommons.org/ns# Work"}
_DC, _RDF = "http://purl.org/dc/elements/1.1/ ", "http://www.w3.org/1999/02/22-rdf-syntax-ns# "
_MACHINE = re.compile(r"^(hash(\(.*\))?|0x[0-9a-f]+|unsorted|magick|mimeicon|\W*|\d+)$", re.IGNORECASE)
_MAIL = re.compile(r"\S+@\S+\.\w+")
_NUMBERING = re.compile(r"[\s_-]*\d+[a-z]?$")


@dataclass
class Metadata:
    """What the file says about itself; empty where it says nothing."""

    title: str = ""
    description: str = ""
    author: str = ""
    publisher: str = ""
    licence: str = ""
    keywords: list[str] = field(default_factory=list)

    @property
    def public_domain(self) -> bool:
        return "publicdomain" in self.licence.lower()


class _Stop(Exception):
    """Everything wanted has been read, or the file declares entities, which are refused: they can expand
    without end."""


def read_metadata(svg: Path) -> Metadata:
    """The first `cc:Work` record of an SVG file. Never raises for a damaged file: what was read until then
    counts."""
    found, path, text = Metadata(), [], []  # type: Metadata, list[str], list[str]
    parser = expat.ParserCreate(namespace_separator=" ")

    def refuse(*_: object) -> None:
        raise _Stop

    def start(name: str, attributes: dict[str, str]) -> None:
        if path or name in _WORK:
            path.append(name)
            text.clear()
        if path[1:] and name.endswith(" license"):
            found.licence = attributes.get(f"{_RDF}resource", "")
        if f"{_DC}publisher" in path and f"{_RDF}about" in attributes:
            found.publisher = attributes[f"{_RDF}about"]

    def end(name: str) -> None:
        if not path:
            return
        said = clean("".join(text))
        if path[1:] == [f"{_DC}title"]:
            found.title = said
        elif path[1:] == [f"{_DC}description"]:
            found.description = said
        elif f"{_DC}subject" in path and name == f"{_RDF}li":
            found.keywords.append(said)
        elif f"{_DC}creator" in path and name == f"{_DC}title":
            found.author = said
        path.pop()
        text.clear()
        if not path:
            raise _Stop

    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    try:
        parser.Parse(svg.read_bytes(), True)
    except (_Stop, expat.ExpatError, ValueError):
        pass
    return found


def clean(text: str) -> str:
    """One line of NFC text without control characters, character references or e-mail addresses."""
    text = _MAIL.sub("", html.unescape(text))
    text = "".join(" " if unicodedata.category(letter).startswith("C") else letter for letter in text)
    return unicodedata.normalize("NFC", " ".join(text.replace("_", " ").split()))


def caption(name: Path, about: Metadata, collections: frozenset[str] = frozenset()) -> str:
    """A caption such as "Black cat. A cat on a wall. Keywords: animal, cat." of the picture with the file
    `name`.

    `collections`: titles that many pictures share; they name a collection, not what is in the picture, so
    that the file name's words say more.
    """
    keywords = list(dict.fromkeys(word.lower() for word in about.keywords if not _MACHINE.match(word)))
    title = about.title
    shared = title in collections and title.lower() not in keywords
    if not title or shared or title.lower().startswith("clipart by") or _MACHINE.match(title):
        words = clean(_NUMBERING.sub("", name.stem).replace("-", " "))
        title = (
            words if len(words) > 2 else clean(name.parent.name)
        )  # "fc11" says less than its folder, flowchart
    parts = [_sentence(title)]
    description = about.description
    empty = description.lower().startswith(("hash(", "eps converted"))
    if description and not empty and description.lower().rstrip(".") != title.lower().rstrip("."):
        parts.append(_sentence(description[:400]))
    if keywords:
        parts.append(f"Keywords: {', '.join(keywords)}.")
    return " ".join(parts)


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
