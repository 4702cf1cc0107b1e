"""A file that is hashed while it is written: the same bytes and the same sum whatever the disk takes and how."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from lensdata.shards import blocks
from lensdata.shards.blocks import ALIGN, BLOCK, ROOM, BlockFile

SIZES = [
    [], [0], [1], [ALIGN], [ALIGN - 1, 1, 1], [ROOM, 1, ROOM], [BLOCK - 1, 1, 1], [BLOCK, 3],
    [3 * BLOCK + 5, 7, BLOCK + 1] * 2, [100_000] * 130,
]  # fmt: skip


def content(sizes: list[int]) -> list[bytes]:
    return [bytes([number % 251 + 1]) * size for number, size in enumerate(sizes)]


def fill(path: Path, pieces: list[bytes]) -> tuple[str, int]:
    """Write the pieces by turns in both ways; the sha256 and the size that the file gives."""
    with BlockFile(path) as file:
        for number, piece in enumerate(pieces):
            if number % 2 and len(piece) <= ROOM:
                file.room(len(piece))[:] = piece
                file.take(len(piece))
            else:
                file.write(piece)
        found = file.size, file.finish()
        file.sync()
    return found[1], found[0]


@pytest.mark.parametrize("sizes", SIZES)
def test_the_sum_is_of_all_that_was_written(tmp_path: Path, sizes: list[int]) -> None:
    pieces = content(sizes)
    found = fill(tmp_path / "file", pieces)
    whole = b"".join(pieces)
    assert (tmp_path / "file").read_bytes() == whole
    assert found == (hashlib.sha256(whole).hexdigest(), len(whole))


def test_what_room_gave_and_nobody_took_is_not_in_the_file(tmp_path: Path) -> None:
    with BlockFile(tmp_path / "file") as file:
        file.write(b"before ")
        file.room(1000)[:] = bytes(1000)
        file.room(5)[:] = b"after"
        file.take(5)
        digest = file.finish()
        file.sync()
    assert (tmp_path / "file").read_bytes() == b"before after"
    assert digest == hashlib.sha256(b"before after").hexdigest()


@pytest.mark.parametrize("when", ["open", "write", "third write"])
def test_a_file_system_without_direct_writes_gets_the_same(tmp_path: Path, monkeypatch, when: str) -> None:
    """As tmpfs refused them for long (at the opening), and some network storage does (at a write)."""
    real_open, real_write, writes = os.open, os.pwrite, []

    def refuse_open(path: object, flags: int, *rest: int) -> int:
        if flags & blocks.DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real_open(path, flags, *rest)  # type: ignore[arg-type]

    def refuse_write(file: int, data: memoryview, at: int) -> int:
        writes.append(at)
        if len(writes) == (1 if when == "write" else 3):
            raise OSError(errno.EINVAL, "Invalid argument")
        return real_write(file, data, at)

    if when == "open":
        monkeypatch.setattr(blocks.os, "open", refuse_open)
    else:
        monkeypatch.setattr(blocks.os, "pwrite", refuse_write)
        monkeypatch.setattr(blocks, "DIRECT", getattr(os, "O_DIRECT", 0))
    pieces = content([3 * BLOCK + 5, 7, BLOCK + 1])
    found = fill(tmp_path / "file", pieces)
    whole = b"".join(pieces)
    assert (tmp_path / "file").read_bytes() == whole
    assert found == (hashlib.sha256(whole).hexdigest(), len(whole))


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(
        blocks.os, "pwrite", lambda file, data, at: real(file, data[: max(len(data) // 3, 1)], at)
    )
    pieces = content([BLOCK + 77, 5000])
    found = fill(tmp_path / "file", pieces)
    assert (tmp_path / "file").read_bytes() == b"".join(pieces)
    assert found[0] == hashlib.sha256(b"".join(pieces)).hexdigest()


def test_a_full_disk_shows() -> None:
    with pytest.raises(OSError, match="No space") as caught, BlockFile(Path("/dev/full")) as file:
        for _ in range(5):
            file.write(bytes(BLOCK))
        file.finish()
        file.sync()
    assert caught.value.errno == errno.ENOSPC


def test_a_small_file_on_a_full_disk_shows_too() -> None:
    with pytest.raises(OSError, match="No space"), BlockFile(Path("/dev/full")) as file:
        file.write(b"a few bytes")
        file.finish()
        file.sync()
