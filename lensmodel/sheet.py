"""A sheet that tells what it shows: rows of pictures in sections, with the prompt under each and a title above."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL = 144  # pixels of a picture's longer side, enlarged smoothly: small ones are samples, not squares
GAP = 12
MARGIN = 120  # for the rows' labels
MOST_LINES = 4  # of the text under a picture
TITLE, HEADING, SMALL = 26, 18, 13  # sizes of type
INK, FAINT, RIGHT, WRONG = (24, 24, 27), (110, 110, 118), (22, 140, 60), (200, 40, 40)


@dataclass(frozen=True)
class Cell:
    """A picture, uint8 [H, W, 3], the text under it, and whether it shows what was asked (None: nobody knows)."""

    picture: np.ndarray
    text: str
    passed: bool | None = None


@dataclass(frozen=True)
class Row:
    """Pictures side by side; `label` stands left of them, a line each."""

    cells: Sequence[Cell]
    label: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    """Rows under a heading, with a line that explains it."""

    heading: str
    note: str
    rows: Sequence[Row]


def sheet(title: str, note: str, sections: Sequence[Section]) -> Image.Image:
    """The sheet as RGB, as wide as its longest row and as high as its texts need. Texts are shown in ASCII."""
    rows = [row for section in sections for row in section.rows]
    margin = MARGIN if any(row.label for row in rows) else 0
    width = GAP + margin + max(len(row.cells) for row in rows) * (CELL + GAP)
    canvas = Image.new("RGB", (width, sum(map(_height, rows)) + 120 + 80 * len(sections)), "white")
    pen = ImageDraw.Draw(canvas)
    y = _text(pen, GAP, GAP, title, TITLE, INK, width - 2 * GAP)
    y = _text(pen, GAP, y, note, SMALL, FAINT, width - 2 * GAP)
    for section in sections:
        y = _text(pen, GAP, y + GAP, section.heading, HEADING, INK, width - 2 * GAP)
        y = _text(pen, GAP, y, section.note, SMALL, FAINT, width - 2 * GAP) + GAP // 2
        for row in section.rows:
            for number, line in enumerate(row.label):
                _text(pen, GAP, y + number * _line(SMALL), line, SMALL, FAINT if number else INK, margin)
            for number, cell in enumerate(row.cells):
                _cell(canvas, pen, GAP + margin + number * (CELL + GAP), y, cell)
            y += _height(row)
    return canvas.crop((0, 0, width, y))


def _cell(canvas: Image.Image, pen: ImageDraw.ImageDraw, x: int, y: int, cell: Cell) -> None:
    picture = _enlarged(cell.picture)
    canvas.paste(picture, (x + (CELL - picture.width) // 2, y + CELL - picture.height))
    indent = 0
    if cell.passed is not None:
        _mark(pen, x, y + CELL + 5, cell.passed)
        indent = 16
    for number, line in enumerate(_wrapped(cell.text, SMALL, CELL - indent)):
        pen.text((x + indent, y + CELL + 3 + number * _line(SMALL)), line, INK, _font(SMALL))


def _enlarged(picture: np.ndarray) -> Image.Image:
    """The picture with its longer side CELL long."""
    image = Image.fromarray(picture)
    scale = CELL / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BICUBIC)


def _mark(pen: ImageDraw.ImageDraw, x: int, y: int, passed: bool) -> None:
    """A tick or a cross of 11 pixels: the fonts at hand have neither."""
    if passed:
        pen.line([(x, y + 6), (x + 4, y + 10), (x + 11, y)], RIGHT, 2)
    else:
        pen.line([(x, y), (x + 10, y + 10)], WRONG, 2)
        pen.line([(x, y + 10), (x + 10, y)], WRONG, 2)


def _height(row: Row) -> int:
    lines = max(
        len(_wrapped(cell.text, SMALL, CELL - (0 if cell.passed is None else 16))) for cell in row.cells
    )
    return CELL + lines * _line(SMALL) + GAP


def _text(
    pen: ImageDraw.ImageDraw, x: int, y: int, text: str, size: int, ink: tuple[int, int, int], room: int
) -> int:
    """Write `text` in lines of at most `room` pixels from (x, y) down; the y below it."""
    for line in _wrapped(text, size, room):
        pen.text((x, y), line, ink, _font(size))
        y += _line(size)
    return y


def _wrapped(text: str, size: int, room: int) -> list[str]:
    """`text` in lines of at most `room` pixels, at most MOST_LINES, the last with "..." if more follows."""
    font, lines = _font(size), [""]
    for word in _plain(text).split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= room or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], f"{lines[MOST_LINES - 1]}..."]
    return [_cut(line, font, room) for line in lines if line]


def _cut(line: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    """`line`, or as much of its beginning as fits with "..."."""
    if font.getlength(line) <= room:
        return line
    while line and font.getlength(f"{line}...") > room:
        line = line[:-1]
    return f"{line}..."


def _plain(text: str) -> str:
    """What Pillow's own font can show: accents go, other scripts become question marks."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return bare.encode("ascii", "replace").decode()


def _line(size: int) -> int:
    return round(size * 1.25)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # every wheel of Pillow has FreeType
    return font
