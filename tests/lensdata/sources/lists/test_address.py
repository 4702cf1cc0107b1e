"""URLs as they are sent."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lensdata.sources.lists.address import encoded, is_url, shown


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://a.example/niño.jpg", "http://a.example/ni%C3%B1o.jpg"),
        (
            "http://a.example/ねこ 1.jpg?q=日 本",
            "http://a.example/%E3%81%AD%E3%81%93%201.jpg?q=%E6%97%A5%20%E6%9C%AC",
        ),
        ("http://a.example/ni%C3%B1o%20a+b.jpg?x=%2F#y", "http://a.example/ni%C3%B1o%20a+b.jpg?x=%2F#y"),
        ("https://münchen.example:8080/ü", "https://xn--mnchen-3ya.example:8080/%C3%BC"),
        ("http://a.example/100%/[x]|{y}.jpg", "http://a.example/100%/[x]|{y}.jpg"),
        ("http://a.example/caf\udce9.jpg", "http://a.example/caf%E9.jpg"),
    ],
)
def test_what_cannot_be_sent_is_encoded(url: str, sent: str) -> None:
    assert encoded(url) == sent


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_encoding_is_for_once_and_loses_nothing(path: str) -> None:
    url = f"http://a.example/{path}"
    sent = encoded(url)
    assert sent.isascii() and sent.isprintable() and " " not in sent
    assert encoded(sent) == sent
    if "%" not in path:
        assert unquote(sent) == url
    if all("!" <= char <= "~" for char in path):
        assert sent == url
    kept = shown(url)
    assert kept.isprintable() and encoded(kept) == sent
    assert is_url(kept)
