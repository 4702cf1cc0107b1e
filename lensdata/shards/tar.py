"""Writing ustar members whose bytes depend on nothing but their names and contents."""

from __future__ import annotations

import tarfile
from typing import Protocol

BLOCK = tarfile.BLOCKSIZE
RECORD = tarfile.RECORDSIZE
ZEROS = bytes(RECORD)
NAME_BYTES = 100
SIZE_AT, SIZE_DIGITS = 124, 11
SUM_AT, SUM_BYTES = 148, 8


class Sink(Protocol):
    """What a TarWriter appends to: a binary file, or a HashedFile."""

    def write(self, data: bytes, /) -> object: ...


def _template() -> tuple[bytes, int]:
    """The header of an empty member without a name, and the sum of its bytes with the checksum's field blank."""
    info = tarfile.TarInfo("")
    info.mode = 0o644
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict"))
    header[SUM_AT : SUM_AT + SUM_BYTES] = b" " * SUM_BYTES
    header[SIZE_AT : SIZE_AT + SIZE_DIGITS] = bytes(SIZE_DIGITS)
    return bytes(header), sum(header)


_HEADER, _SUM = _template()


class TarWriter:
    """Appends members to a binary file and says where they stand. Owner, mode and time are fixed."""

    def __init__(self, file: Sink) -> None:
        self._write = file.write
        self.offset = 0

    def add(self, name: str, content: bytes) -> None:
        """Append one member; `name` is ASCII and shorter than 100 characters."""
        self.put(header(name, len(content)))
        self.put(content)
        if padding := -len(content) % BLOCK:
            self.put(ZEROS[:padding])

    def finish(self) -> int:
        """Write the end mark, filled up to a whole record as tar does, and return the size of the file."""
        self.put(ZEROS[: 2 * BLOCK])
        self.put(ZEROS[: -self.offset % RECORD])
        return self.offset

    def put(self, data: bytes) -> None:
        """Append bytes that are whole members already."""
        self._write(data)
        self.offset += len(data)


def header(name: str, size: int) -> bytes:
    """What tarfile writes before such a member, in less time. Raises ValueError for what ustar cannot hold."""
    label, digits = name.encode("ascii"), b"%0*o" % (SIZE_DIGITS, size)
    if not 0 < len(label) < NAME_BYTES or len(digits) > SIZE_DIGITS:
        raise ValueError(f"a ustar member cannot be called {name!r} and have {size} bytes")
    total = b"%06o\0 " % (_SUM + sum(label) + sum(digits))
    return b"".join(
        (
            label,
            _HEADER[len(label) : SIZE_AT],
            digits,
            _HEADER[SIZE_AT + SIZE_DIGITS : SUM_AT],
            total,
            _HEADER[SUM_AT + SUM_BYTES :],
        )
    )
