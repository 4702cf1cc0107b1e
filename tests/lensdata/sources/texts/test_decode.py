"""Bytes to text: what is decoded is right, and what is not sure is refused."""

from __future__ import annotations

import codecs
import io
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lensdata.sources.texts.decode import READ_AS_WESTERN, WIDE, Undecodable, decode, piece, stream

MARKED = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE, "utf-32-le": codecs.BOM_UTF32_LE,
          "utf-32-be": codecs.BOM_UTF32_BE, "utf-8": codecs.BOM_UTF8}  # fmt: skip
ANY_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")))
ACCENTED = "àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿß"
WORD = st.tuples(
    st.text(string.ascii_lowercase, min_size=2, max_size=6), st.sampled_from(ACCENTED),
    st.text(string.ascii_lowercase, min_size=1, max_size=4),
).map("".join)  # fmt: skip


@given(ANY_TEXT)
def test_utf8_is_itself(text: str) -> None:
    assert decode(text.encode()) == (text.removeprefix("\ufeff"), None)


@given(ANY_TEXT.filter(lambda text: not text.startswith("\ufeff")), st.sampled_from(sorted(MARKED)))
def test_a_mark_decides(text: str, name: str) -> None:
    if name == "utf-16-le" and text.startswith("\0"):
        return
    assert decode(MARKED[name] + text.encode(name)) == (text, None)


@given(st.text(string.ascii_letters + " .,\n", min_size=2), st.sampled_from(["utf-16-le", "utf-16-be"]))
def test_latin_utf16_without_a_mark(text: str, name: str) -> None:
    assert decode(text.encode(name)) == (text, None)


@given(st.lists(WORD, min_size=1), st.sampled_from(["cp1252", "latin-1"]))
def test_a_western_text_is_read_and_told(words: list[str], name: str) -> None:
    text = " ".join(words)
    assert decode(text.encode(name)) == (text, READ_AS_WESTERN)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("日本語の写真", "shift_jis"), ("日本語の写真", "euc-jp"), ("日本語の写真", "utf-16-le"), ("美丽的照片", "gbk"),
        ("美麗的照片", "big5"), ("아름다운 사진", "euc-kr"), ("собака на пляже", "cp1251"), ("собака", "koi8-r"),
        ("собака", "utf-16-le"), ("Σκύλος στην παραλία", "cp1253"), ("złoty pies", "cp1250"), ("naïveté", "mac-roman"),
        ("café", "cp500"),
    ],
)  # fmt: skip
def test_other_encodings_are_refused_and_never_mangled(text: str, name: str) -> None:
    with pytest.raises(Undecodable):
        decode(text.encode(name))


@given(st.lists(st.sampled_from("日本語の写真é"), min_size=1, max_size=9).map("".join), st.integers(1, 2))
def test_utf8_that_was_cut_is_refused(text: str, cut: int) -> None:
    data = text.encode()
    if len(text[-1].encode()) - cut < 1 or (len(text[-1].encode()) - cut < 2 and len(text) < 2):
        return  # what is left may be a letter of Windows-1252
    with pytest.raises(Undecodable):
        decode(b"text: " + data[:-cut])


@given(st.binary())
def test_whatever_comes_out_is_whole(data: bytes) -> None:
    try:
        text, _ = decode(data)
    except Undecodable:
        return
    text.encode()
    if "\ufffd" in text:  # it stood there before
        assert any("\ufffd".encode(name) in data for name in ("utf-8", *WIDE))


def test_a_stream_decodes_by_pieces() -> None:
    """A line in Latin-1 does not spoil the others; a file in it is read so also where a word alone is not sure."""
    lines, western = stream(
        io.BytesIO("日本語\nété\n".encode() + b"caf\xe9\n" + "\u0142".encode("cp1250") + b"a\xf1\xf2\xf3\n")
    )
    found = [line.rstrip("\n") for line in lines]
    assert not western
    assert [piece(found[n], western) for n in (0, 1, 2)] == [
        ("日本語", None),
        ("été", None),
        ("café", READ_AS_WESTERN),
    ]
    with pytest.raises(Undecodable):
        piece(found[3], western)
    lines, western = stream(io.BytesIO("a,b\nune plage déserte,été\n".encode("latin-1")))
    assert western
    assert [piece(line, western)[0] for line in lines] == ["a,b\n", "une plage déserte,été\n"]
    assert piece("\udce9t\udce9", True) == ("été", READ_AS_WESTERN)
    with pytest.raises(Undecodable):
        piece("\udce9t\udce9", False)
    for name in ("utf-16", "utf-32", "utf-16-le"):
        lines, western = stream(io.BytesIO("file_name,text\na.png,Été à la plage\n".encode(name)))
        assert (list(lines), western) == (["file_name,text\n", "a.png,Été à la plage\n"], False)
    with pytest.raises(Undecodable):
        stream(io.BytesIO(bytes(range(256)) * 4))
