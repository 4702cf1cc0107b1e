"""Pictures of text: whole, legible, shaped right, and without a missing glyph."""

import cv2
import numpy as np
import pytest
from PIL import features

from lensdata.render_text.corpus import NO_SPACES, SCRIPTS, Paragraph, Text
from lensdata.render_text.draw import MIN_CONTRAST, draw
from lensdata.render_text.fonts import by_script, faces, find_fonts, open_font
from lensdata.render_text.layout import contrast, luminance, set_block, wrap

USABLE, MISSING = by_script(find_fonts())
needs_latin = pytest.mark.skipif("latin" not in USABLE, reason="no font with Latin letters on this machine")
needs_arabic = pytest.mark.skipif(
    "arabic" not in USABLE, reason="no font or no shaping for Arabic on this machine"
)


@needs_latin
@pytest.mark.parametrize("index", range(40))
def test_text_is_inside_legible_and_as_captioned(index):
    picture = draw(11, index, USABLE)
    height, width = picture.ink.shape
    assert picture.rgb.shape == (height, width, 3)
    assert 512 <= max(width, height) <= 1152
    assert width * height >= 384**2
    edge = np.concatenate([picture.ink[0], picture.ink[-1], picture.ink[:, 0], picture.ink[:, -1]])
    assert not edge.any()  # nothing touches the border, so nothing was cut off by it
    left, top, wide, high = picture.facts["box"]
    assert left > 0 and top > 0 and left + wide < width and top + high < height
    assert picture.ink.any() and picture.facts["contrast"] >= MIN_CONTRAST
    assert len(picture.caption.split("\n")) == picture.facts["lines"]


@needs_latin
def test_same_seed_same_pixels_other_seed_other_pixels():
    first, again, other = draw(5, 3, USABLE), draw(5, 3, USABLE), draw(6, 3, USABLE)
    assert np.array_equal(first.rgb, again.rgb) and first.caption == again.caption
    assert first.rgb.shape != other.rgb.shape or not np.array_equal(first.rgb, other.rgb)


def test_every_script_is_either_usable_or_explained():
    assert set(USABLE) | set(MISSING) == set(SCRIPTS)
    assert not set(USABLE) & set(MISSING)


@pytest.mark.parametrize("script", sorted(USABLE))
def test_no_missing_glyph_is_drawn(script):
    """The box a face draws for an unknown character appears for no character of our texts."""
    for face in USABLE[script][:3]:
        font = open_font(face.path, face.index, 40)
        box = bytes(font.getmask("\U0010fffd"))
        pictures = [draw(3, index, {script: [face]}) for index in range(4)]
        letters = {letter for picture in pictures for letter in picture.caption if not letter.isspace()}
        boxed = {letter for letter in letters if box and bytes(font.getmask(letter)) == box}
        assert letters and not boxed


@needs_latin
def test_a_face_without_the_letters_is_not_used():
    assert all(face.covers("Straße") for face in USABLE["latin"])
    for face in USABLE["latin"]:
        if not face.covers("漢"):
            assert face not in USABLE.get("chinese", [])


@needs_arabic
def test_arabic_letters_join():
    """Joined letters make one stroke, narrower than the same letters kept apart by zero-width non-joiners."""
    word = "محمد"
    for face in USABLE["arabic"]:
        text = Text("arabic", "ar", "sign", (Paragraph(word),))
        joined = set_block(text, face, 64, 1000, "right", 1.0)
        apart = set_block(
            Text("arabic", "ar", "sign", (Paragraph("\u200c".join(word)),)), face, 64, 1000, "right", 1.0
        )
        assert joined is not None and apart is not None
        assert joined.ink.width < apart.ink.width, face.name
        pieces, apart_pieces = (cv2.connectedComponents(np.asarray(b.ink))[0] - 1 for b in (joined, apart))
        assert pieces == 1 and apart_pieces >= 3, face.name  # the word has no dots: one stroke in all


@needs_arabic
def test_arabic_runs_from_right_to_left():
    """A long letter (seen) before a short one (alef): the wide part must be on the right."""
    face = USABLE["arabic"][0]
    block = set_block(Text("arabic", "ar", "sign", (Paragraph("ا سسسس"),)), face, 64, 1000, "right", 1.0)
    assert block is not None
    dark = np.asarray(block.ink).max(axis=0) > 0
    gap = np.flatnonzero(~dark)  # the space between the two words
    assert gap.size and gap.mean() > block.ink.width * 0.6


def test_without_shaping_arabic_is_skipped_and_said(monkeypatch):
    monkeypatch.setattr(features, "check", lambda name: False)
    usable, missing = by_script(find_fonts(), ("arabic",))
    assert not usable and "libraqm" in missing["arabic"]


@needs_latin
def test_lines_do_not_touch():
    text = Text("latin", "vi", "sign", tuple(Paragraph(line) for line in ("Ågg", "Ñjj", "ÉQy")))
    for face in USABLE["latin"]:
        block = set_block(text, face, 60, 1000, "left", 1.0)
        assert block is not None
        rows = np.asarray(block.ink).max(axis=1) > 0
        starts = int(rows[0]) + int((rows[1:] & ~rows[:-1]).sum())
        assert starts >= 3, face.name  # at least one empty row between two lines


@pytest.mark.parametrize("script", sorted(USABLE))
def test_wrapping_loses_nothing_and_stays_in_the_limit(script):
    face = USABLE[script][0]
    font = open_font(face.path, face.index, 30)
    text = "，".join(["春天来了"] * 9) if script in NO_SPACES else "one two three four five six seven"
    if not face.covers(text):
        pytest.skip("the sample is not in this face")
    lines = wrap(text, font, 200, script)
    assert lines is not None and len(lines) > 1
    assert ("" if script in NO_SPACES else " ").join(lines) == text
    assert all(font.getlength(line) <= 200 for line in lines)
    assert not any(line.startswith("，") for line in lines)
    assert wrap("x" * 100, font, 200, "latin") is None


def test_contrast_is_wcag():
    white, black = luminance(np.array([255, 255, 255])), luminance(np.array([0, 0, 0]))
    assert contrast(float(white), float(black)) == pytest.approx(21.0, abs=1e-3)
    grey = luminance(np.array([118, 118, 118]))  # about 4.54:1 on white by the standard's formula
    assert contrast(float(white), float(grey)) == pytest.approx(4.54, abs=0.01)


def test_unreadable_font_files_have_no_faces(tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"not a font")
    (tmp_path / "empty.otf").write_bytes(b"")
    assert [faces(path) for path in find_fonts([tmp_path])] == [(), ()]
