"""Headers as tarfile writes them."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.bytes.tar import TarWriter, end, header, member

NAMES = st.text("abcXYZ0123456789._-", min_size=1, max_size=99)
SIZES = st.one_of(st.integers(0, 8**11 - 1), st.sampled_from([0, 1, 511, 512, 513, 8**11 - 1]))


@given(name=NAMES, size=SIZES)
def test_headers_are_tarfiles(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    assert header(name, size) == info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


@pytest.mark.parametrize(("name", "size"), [("", 1), ("a" * 100, 1), ("ä.jpg", 1), ("a.jpg", 8**11)])
def test_what_ustar_cannot_hold_is_refused(name: str, size: int) -> None:
    with pytest.raises(ValueError, match=r"cannot be called|ascii"):
        header(name, size)


@given(contents=st.lists(st.binary(max_size=1500), max_size=6))
def test_tarfile_reads_what_was_added(contents: list[bytes]) -> None:
    file = io.BytesIO()
    tar = TarWriter(file)
    for number, content in enumerate(contents):
        tar.add(f"{number:012d}.jpg", content)
    assert tar.finish() == len(file.getvalue()) == tar.offset
    assert len(file.getvalue()) % tarfile.RECORDSIZE == 0
    members = b"".join(member(f"{number:012d}.jpg", content) for number, content in enumerate(contents))
    assert members + end(len(members)) == file.getvalue()
    file.seek(0)
    with tarfile.open(fileobj=file) as read:
        assert [read.extractfile(member).read() for member in read] == contents  # type: ignore[union-attr]
