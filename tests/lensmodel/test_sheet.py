"""Labelled sheets: what stands where, and texts that do not fit or cannot be shown."""

from __future__ import annotations

import numpy as np
import pytest

from lensmodel import sheet
from lensmodel.sheet import CELL, GAP, MARGIN, Cell, Row, Section


def flat(colour: tuple[int, int, int], height: int = 32, width: int = 32) -> np.ndarray:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def drawn(*rows: Row, title: str = "title", note: str = "note") -> np.ndarray:
    return np.asarray(sheet.sheet(title, note, [Section("heading", "what it is", rows)]))


def where(page: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int] | None:
    """The box (left, top, right, bottom) of all pixels of exactly this colour."""
    ys, xs = np.nonzero((page == colour).all(2))
    return (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1) if len(xs) else None


def test_pictures_stand_side_by_side_row_under_row() -> None:
    red, green, blue = (250, 1, 2), (3, 250, 4), (5, 6, 250)
    page = drawn(Row([Cell(flat(red), "a"), Cell(flat(green), "b")]), Row([Cell(flat(blue), "c")]))
    (left, top, right, bottom), second, below = (where(page, c) for c in (red, green, blue))
    assert (right - left, bottom - top) == (CELL, CELL)
    assert second == (left + CELL + GAP, top, right + CELL + GAP, bottom)
    assert below is not None and below[0] == left and below[1] > bottom
    assert page.shape[1] == right + CELL + 2 * GAP


def test_labels_make_room_and_a_picture_keeps_its_aspect() -> None:
    red = (250, 1, 2)
    box = where(drawn(Row([Cell(flat(red, 24, 48), "wide")], ("task", "3 of 4"))), red)
    assert box is not None
    assert box[0] == GAP + MARGIN
    assert (box[2] - box[0], box[3] - box[1]) == (CELL, CELL // 2)


@pytest.mark.parametrize(
    ("passed", "colours"), [(True, (True, False)), (False, (False, True)), (None, (False, False))]
)
def test_a_verdict_is_marked(passed: bool | None, colours: tuple[bool, bool]) -> None:
    page = drawn(Row([Cell(flat((90, 90, 90)), "a ring", passed)]))
    assert tuple(where(page, ink) is not None for ink in (sheet.RIGHT, sheet.WRONG)) == colours


def test_long_texts_are_wrapped_and_cut_and_make_a_row_higher() -> None:
    short, long = (drawn(Row([Cell(flat((90, 90, 90)), text)])) for text in ("a ring", "a ring and " * 40))
    assert long.shape[0] - short.shape[0] == (sheet.MOST_LINES - 1) * sheet._line(sheet.SMALL)
    lines = sheet._wrapped("a ring and " * 40, sheet.SMALL, CELL)
    assert len(lines) == sheet.MOST_LINES and lines[-1].endswith("...")
    (word,) = sheet._wrapped("x" * 400, sheet.SMALL, CELL)
    assert word.endswith("...") and sheet._font(sheet.SMALL).getlength(word) <= CELL


def test_texts_that_the_font_lacks_are_shown_as_far_as_it_goes() -> None:
    assert sheet._plain("Café Ł 火") == "Cafe ? ?"
    empty, full = (drawn(Row([Cell(flat((90, 90, 90)), text)])) for text in ("", "Café 火"))
    assert (full == 255).all(2).sum() < (empty == 255).all(2).sum() + empty.shape[1] * 40
    assert full.shape[0] > empty.shape[0]
