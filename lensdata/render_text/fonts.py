"""Which fonts can draw which script, by their real tables, so that no missing-glyph box is ever drawn."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont, features

from lensdata.render_text.corpus import SCRIPTS, alphabet

FONT_FILES = frozenset({".ttf", ".otf", ".ttc", ".otc"})
# A face is used for a script if it has this share of the characters our texts may need. Those it lacks are
# still never drawn: each text is checked against the face first (`Face.covers`).
ENOUGH = 0.97
_NEEDS_SHAPING = {"arabic": "arab"}


@dataclass(frozen=True)
class Face:
    """Face `index` of the font file `path`. `characters` are the code points that it has a glyph for."""

    path: Path
    index: int
    name: str
    characters: frozenset[int]
    shapes: frozenset[str]  # OpenType script tags that have substitution rules

    def covers(self, text: str) -> bool:
        return all(ord(character) in self.characters for character in text if character != "\n")

    def suits(self, script: str) -> bool:
        """True if the face can set texts of `script`: it has the letters and, for Arabic, rules to join
        them."""
        tag = _NEEDS_SHAPING.get(script)
        needed = alphabet(script)
        have = sum(ord(character) in self.characters for character in needed)
        return have >= ENOUGH * len(needed) and (tag is None or tag in self.shapes)


def shaping() -> bool:
    """True if Pillow can join Arabic letters and order right-to-left text (libraqm, FriBiDi, HarfBuzz)."""
    return bool(features.check("raqm"))


def font_folders() -> list[Path]:
    """Where fonts usually lie: the system's and the user's folders, and those that Python packages bring."""
    home = Path.home()
    folders = [
        Path("/usr/share/fonts"),
        Path("/usr/local/share/fonts"),
        home / ".local/share/fonts",
        home / ".fonts",
    ]
    if sys.platform == "darwin":
        folders += [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    matplotlib = importlib.util.find_spec("matplotlib")
    if matplotlib and matplotlib.origin:
        folders.append(Path(matplotlib.origin).parent / "mpl-data/fonts/ttf")
    return folders


def find_fonts(given: Iterable[Path] | None = None) -> list[Path]:
    """Font files under `given` (files or folders; the usual folders if None), sorted by name, each name
    once."""
    places = font_folders() if given is None else [Path(place) for place in given]
    files: dict[str, Path] = {}
    for place in places:
        inside = [place] if place.is_file() else sorted(place.rglob("*")) if place.is_dir() else []
        for path in inside:
            if path.suffix.lower() in FONT_FILES and path.is_file():
                files.setdefault(path.name, path)
    return [files[name] for name in sorted(files)]


@lru_cache(maxsize=512)
def faces(path: Path) -> tuple[Face, ...]:
    """The faces of a font file; none if it is unreadable or coloured (its layers would come out wrong)."""
    from fontTools.ttLib import TTCollection, TTFont, TTLibError

    try:
        if path.suffix.lower() in (".ttc", ".otc"):
            fonts = list(TTCollection(str(path), lazy=True).fonts)
        else:
            fonts = [TTFont(str(path), lazy=True)]
        return tuple(face for index, font in enumerate(fonts) if (face := _face(path, index, font)))
    except (TTLibError, OSError, KeyError, ValueError, AssertionError):
        return ()


def _face(path: Path, index: int, font: Mapping) -> Face | None:
    if any(table in font for table in ("COLR", "CBDT", "sbix", "SVG ")):
        return None
    cmap = font.getBestCmap()  # type: ignore[attr-defined]
    if not cmap:
        return None
    # A code point mapped to glyph 0 is mapped to the missing-glyph box.
    characters = frozenset(code for code, glyph in cmap.items() if glyph != ".notdef")
    table = font["GSUB"].table if "GSUB" in font else None
    records = table.ScriptList.ScriptRecord if table is not None and table.ScriptList else []
    tags = frozenset(record.ScriptTag.strip() for record in records)
    name = font["name"].getDebugName(4) or path.stem
    return Face(path, index, name, characters, tags)


def by_script(
    files: Iterable[Path], scripts: Iterable[str] = SCRIPTS
) -> tuple[dict[str, list[Face]], dict[str, str]]:
    """(script -> faces that can set it, script -> why it cannot be set)."""
    found = [face for path in files for face in faces(path)]
    usable: dict[str, list[Face]] = {}
    missing: dict[str, str] = {}
    for script in scripts:
        suited = [face for face in found if face.suits(script)]
        if script in _NEEDS_SHAPING and not shaping():
            missing[script] = "this Pillow lacks libraqm, without which its letters would stand unjoined"
        elif suited:
            usable[script] = suited
        else:
            missing[script] = f"none of the {len(found)} font faces found has its letters"
    return usable, missing


@lru_cache(maxsize=64)
def open_font(path: Path, index: int, size: int) -> ImageFont.FreeTypeFont:
    """A face at `size` pixels an em."""
    layout = ImageFont.Layout.RAQM if shaping() else ImageFont.Layout.BASIC
    return ImageFont.truetype(str(path), size, index=index, layout_engine=layout)
