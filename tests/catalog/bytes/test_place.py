"""Files that are open: many at once with few descriptors, and each one file to its end."""

from __future__ import annotations

import io
import os
from pathlib import Path

import fsspec
import pytest

from catalog.bytes import local, locate
from catalog.bytes.place import open_binary


def descriptors(folder: Path) -> list[str]:
    """Those of this process below `folder`."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(link.readlink()))
        except FileNotFoundError:  # that of the listing itself
            pass
    return [path for path in found if path.startswith(f"{folder}/")]


def test_many_files_are_open_with_few_descriptors(tmp_path: Path) -> None:
    files = []
    for n in range(3 * local.MAX_OPEN_FILES):
        path = tmp_path / str(n)
        path.write_bytes(b"%06d" % n * 10_000)
        files.append(open_binary(path))
    for at in (0, 6_000, 54_000):
        for n, file in enumerate(files):
            file.seek(at)
            assert file.read(12) == b"%06d" % n * 2
    assert len(descriptors(tmp_path)) <= local.MAX_OPEN_FILES
    assert files[0].read() == b"000000" * 998


@pytest.mark.parametrize("window", [0, 100, 2**15])
def test_it_reads_as_a_file_does(tmp_path: Path, window: int) -> None:
    data = os.urandom(70_000)
    (tmp_path / "f").write_bytes(data)
    fsspec.filesystem("memory").pipe("/place/f", data)
    for place in (tmp_path / "f", "memory://place/f"):
        file, plain = open_binary(place, window=window), io.BytesIO(data)
        for whence, offset, count in (
            (0, 5, 10),
            (1, 50_000, 40_000),
            (2, -7, 100),
            (0, 0, -1),
            (0, 80_000, 1),
            (0, 3, 0),
        ):
            assert file.seek(offset, whence) == plain.seek(offset, whence)
            assert file.read(count) == plain.read(count)
            assert file.tell() == plain.tell()


def test_another_file_in_its_place_is_not_read_for_it(tmp_path: Path) -> None:
    path, other = tmp_path / "f", tmp_path / "g"
    path.write_bytes(b"a" * 50_000)
    file = open_binary(path)
    assert file.read(1) == b"a"
    other.write_bytes(b"b" * 50_000)
    other.rename(path)
    locate.read(str(path), 1, 1)  # which opens what is there now
    file.seek(40_000)
    with pytest.raises(OSError, match="another file has taken its place"):
        file.read(1)


def test_a_file_that_became_shorter(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"a" * 50_000)
    file = open_binary(path)
    os.truncate(path, 10)
    with pytest.raises(OSError, match="bytes early"):
        file.read()


def test_what_is_not_there(tmp_path: Path) -> None:
    for place in (tmp_path / "none", "memory://place/none"):
        with pytest.raises(FileNotFoundError):
            open_binary(place)
    with pytest.raises(OSError, match="does not exist"):
        open_binary("memory://place/none", 5).read()
