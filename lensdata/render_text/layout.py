"""Setting a text: line breaks, and an ink mask in which no line touches another and nothing is cut off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lensdata.render_text.corpus import NO_SPACES, RIGHT_TO_LEFT, Text
from lensdata.render_text.fonts import Face, open_font

# Characters that must not begin, or end, a line of Chinese or Japanese (the part of the rules our texts
# meet).
_NOT_FIRST = frozenset("，。？！：；、）」』ーょゃゅっ々年月日元円・-–0123456789:.")
_NOT_LAST = frozenset("（「『")
_NUMERIC = frozenset("0123456789.:–-")


@dataclass(frozen=True)
class Block:
    """A text set in one face. `ink`: "L" image, 255 where there is text, cropped to it. `lines`: top to
    bottom."""

    ink: Image.Image
    lines: tuple[str, ...]
    size: int  # pixels an em, of a paragraph of scale 1
    smallest: int  # pixels an em, of the smallest paragraph


def wrap(text: str, font: ImageFont.FreeTypeFont, limit: float, script: str) -> list[str] | None:
    """Break `text` into lines of at most `limit` pixels; None if a word is wider."""
    gap = "" if script in NO_SPACES else " "
    lines: list[str] = []
    for unit in _units(text) if script in NO_SPACES else _words(text):
        longer = f"{lines[-1]}{gap}{unit}" if lines else unit
        if lines and font.getlength(longer) <= limit:
            lines[-1] = longer
        elif font.getlength(unit) <= limit:
            lines.append(unit)
        else:
            return None
    return [line.strip() for line in lines]


def _words(text: str) -> list[str]:
    """The words of a spaced text; a lone sign (a currency's, a French ? or !) stays with the word before
    it."""
    words: list[str] = []
    for word in text.split(" "):
        if words and len(word) == 1 and not word.isalnum():
            words[-1] += f" {word}"
        else:
            words.append(word)
    return words


def _units(text: str) -> list[str]:
    """Pieces of an unspaced text that may be torn apart: characters, with what must stay beside them."""
    units: list[str] = []
    for character in text:
        stay = units and (character in _NOT_FIRST or units[-1][-1] in _NOT_LAST)
        number = units and character in _NUMERIC and units[-1][-1] in _NUMERIC
        spaced = units and (character == " " or units[-1][-1] == " ")
        if stay or number or spaced:
            units[-1] += character
        else:
            units.append(character)
    return units


def set_block(
    text: Text, face: Face, size: int, limit: float, align: str, spacing: float, paragraphs: int | None = None
) -> Block | None:
    """Set the first `paragraphs` of `text` (all if None) at `size` pixels an em, lines at most `limit` pixels
    wide. `align` is left, center or right; `spacing` the line distance over the face's own. None if a word is
    too wide.
    """
    direction = "rtl" if text.script in RIGHT_TO_LEFT else "ltr"
    shape: dict[str, Any] = {"direction": direction, "language": text.language} if _raqm(face, size) else {}
    rows: list[tuple[str, ImageFont.FreeTypeFont, float, tuple[float, float, float, float]]] = []
    baseline = bottom = 0.0
    sizes = []
    for paragraph in text.paragraphs[:paragraphs]:
        em = max(1, round(size * paragraph.scale))
        sizes.append(em)
        font = open_font(face.path, face.index, em)
        lines = wrap(paragraph.text, font, limit, text.script)
        if lines is None:
            return None
        ascent, descent = font.getmetrics()
        for number, line in enumerate(lines):
            box = font.getbbox(line, anchor="ls", **shape)
            step = (ascent + descent) * spacing * (1.25 if number == 0 and rows else 1.0)
            # Accents, or letters that reach far down, may exceed the face's own ascent and descent.
            baseline = max(baseline + step, bottom + 0.1 * em - box[1]) if rows else -box[1]
            bottom = baseline + box[3]
            rows.append((line, font, baseline, box))
    width = max(box[2] - box[0] for _, _, _, box in rows)
    pad = 4 + max(sizes) // 2
    ink = Image.new("L", (int(width) + 2 * pad, int(bottom) + 2 * pad))
    draw = ImageDraw.Draw(ink)
    for line, font, y, box in rows:
        slack = width - (box[2] - box[0])
        x = {"left": 0.0, "center": slack / 2, "right": slack}[align] - box[0]
        draw.text((pad + x, pad + y), line, fill=255, font=font, anchor="ls", **shape)
    found = ink.getbbox()
    if found is None:
        return None
    if found[0] == 0 or found[1] == 0 or found[2] == ink.width or found[3] == ink.height:
        return None  # a face whose glyphs reach beyond the boxes it declares: ink may have been cut off
    return Block(ink.crop(found), tuple(row[0] for row in rows), size, min(sizes))


def _raqm(face: Face, size: int) -> bool:
    return open_font(face.path, face.index, size).layout_engine == ImageFont.Layout.RAQM


def luminance(rgb: np.ndarray) -> np.ndarray:
    """Relative luminance of sRGB colours (WCAG 2.2): uint8 or float [..., 3] in 0..255 -> float32 [...] in
    0..1."""
    table = np.asarray(rgb, np.float32) / 255
    linear = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722], np.float32)


def contrast(first: float, second: float) -> float:
    """WCAG contrast ratio of two relative luminances, 1 to 21."""
    return (max(first, second) + 0.05) / (min(first, second) + 0.05)
