"""What a cell of an image column holds."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from lensdata.sources.tables.cell import NOT_A_PLACE, NOT_DATA, image_of
from tests.helpers import png

DATA = png(1)
TEXT = base64.b64encode(DATA).decode()


def test_images_however_they_are_written() -> None:
    url_safe = base64.urlsafe_b64encode(DATA).decode()
    lines = base64.encodebytes(DATA).decode()
    for cell in (DATA, TEXT, url_safe, lines, TEXT.rstrip("="), f"data:image/png;base64,{TEXT}", {"bytes": DATA},
                 f"DATA:;base64,{TEXT.replace('+', '%2B')}", {"bytes": None, "path": TEXT}, list(DATA)):  # fmt: skip
        assert image_of(cell) == (DATA, None, None)


def test_places_stay_places() -> None:
    for place in ("a.png", "/abs/a.png", "abcdefgh/ijklmnop/qrstuvwx/yzABCDEF/photo01", "http://a/b?c=d", "s3://b/k",
                  "QkxPQ0tTL2FyZS9wYXRocy90b28vaGVyZS9hcmUvcGF0aHM"):  # fmt: skip
        assert image_of(place) == (None, place, None)
    assert image_of({"bytes": None, "path": "a.png"}) == (None, "a.png", None)
    assert image_of({"bytes": DATA, "path": "a.png"}) == (DATA, "a.png", None)
    for nothing in (None, "", " ", b"", [], {"bytes": None, "path": None}, 7):
        assert image_of(nothing) == (None, None, None)


def test_long_texts_never_become_places() -> None:
    assert image_of("data:image/png;base64,!!!") == (None, None, NOT_DATA)
    assert image_of("data:nonsense") == (None, None, NOT_DATA)
    assert image_of("dear sir " * 4000) == (None, None, NOT_A_PLACE)
    assert image_of(base64.b64encode(b"no image" * 4000).decode()) == (None, None, NOT_A_PLACE)
    assert image_of([1, 2, 999]) == (None, None, None)


@given(st.binary(max_size=99))
def test_any_image_bytes_come_back_from_a_data_uri(tail: bytes) -> None:
    data = DATA + tail
    for text in (f"data:image/png;base64,{base64.b64encode(data).decode()}", base64.b64encode(data).decode()):
        assert image_of(text) == (data, None, None)


@given(st.text(max_size=4096))
def test_a_cell_is_one_thing(text: str) -> None:
    data, place, why = image_of(text)
    assert [data, place, why].count(None) >= 2
    assert place is None or len(place) <= 4096
