"""Headers as tarfile writes them, and a checksum that is the file's."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.bytes.tar import TarWriter, header
from lensdata.shards.hashed import BLOCK_BYTES, HashedFile

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
    file.seek(0)
    with tarfile.open(fileobj=file) as read:
        assert [read.extractfile(member).read() for member in read] == contents  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "sizes",
    [[], [0], [1], [BLOCK_BYTES - 1, 1, 1], [BLOCK_BYTES, 3], [3 * BLOCK_BYTES + 5, 7, BLOCK_BYTES + 1] * 3],
)
def test_the_checksum_is_of_all_that_was_written(sizes: list[int]) -> None:
    file = io.BytesIO()
    with HashedFile(file) as hashed:
        for number, size in enumerate(sizes):
            hashed.write(bytes([number + 1]) * size)
    assert len(file.getvalue()) == sum(sizes)
    assert hashed.sha256() == hashlib.sha256(file.getvalue()).hexdigest()


def test_a_full_disk_shows() -> None:
    class Full(io.BytesIO):
        def write(self, data: object, /) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), HashedFile(Full()) as hashed:
        for _ in range(3):
            hashed.write(bytes(BLOCK_BYTES))
