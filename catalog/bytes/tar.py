"""Tars: writing ustar members whose bytes depend on nothing but their names and contents, and reading in place.

Nothing is ever extracted, so a member's name can lead nowhere.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Protocol

BLOCK = tarfile.BLOCKSIZE
RECORD = tarfile.RECORDSIZE
ZEROS = bytes(RECORD)
NAME_BYTES = 100
SIZE_AT, SIZE_DIGITS = 124, 11
SUM_AT, SUM_BYTES = 148, 8
MAX_MEMBER_BYTES = 2**50  # more is no size but a damaged header
AFTER_END_BYTES = 2**20
COMPRESSIONS = {
    b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd",
}  # fmt: skip


class Sink(Protocol):
    """What a TarWriter appends to, such as a binary file."""

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
_BETWEEN, _AFTER = _HEADER[SIZE_AT + SIZE_DIGITS : SUM_AT], _HEADER[SUM_AT + SUM_BYTES :]


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
        self.put(end(self.offset))
        return self.offset

    def put(self, data: bytes) -> None:
        """Append bytes that are whole members already."""
        self._write(data)
        self.offset += len(data)


def end(size: int) -> bytes:
    """What stands at the end of a tar whose members have `size` bytes."""
    return ZEROS[: 2 * BLOCK] + ZEROS[: -(size + 2 * BLOCK) % RECORD]


def member(name: str, content: bytes) -> bytes:
    """A whole member, such as `TarWriter.add` appends."""
    return b"".join((header(name, len(content)), content, ZEROS[: -len(content) % BLOCK]))


def header(name: str, size: int) -> bytes:
    """What tarfile writes before such a member, in less time. Raises ValueError for what ustar cannot hold."""
    label, digits = name.encode("ascii"), b"%011o" % size
    if not 0 < len(label) < NAME_BYTES or len(digits) > SIZE_DIGITS:
        raise ValueError(f"a ustar member cannot be called {name!r} and have {size} bytes")
    total = b"%06o\0 " % (_SUM + sum(label) + sum(digits))
    return b"".join((label, _HEADER[len(label) : SIZE_AT], digits, _BETWEEN, total, _AFTER))


# ---- reading


@dataclass(frozen=True, slots=True)
class Member:
    """A member: its name, whether it is a regular file (else a link, a device, or sparse), where its header and its
    content begin, and the content's bytes."""

    name: str
    regular: bool
    header: int
    offset: int
    size: int


class Broken(Exception):
    """A tar that is not whole. `kind` is `cut` (no end mark), `damaged` (a header that is none), `continued` (more
    after the end mark) or `unreadable`; what stands before is good."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def refusal(file: IO[bytes]) -> str | None:
    """Why a file cannot be read as a tar ("is empty", ...), or None if it can. Raises OSError."""
    start = file.read(BLOCK)
    if not start:
        return "is empty"
    for magic, name in COMPRESSIONS.items():
        if start.startswith(magic):
            return f"is compressed with {name}; decompress it first, since images are read in place"
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            return None if tar.next() else "is a tar without a member"
    except OSError:
        raise
    except Exception as error:  # tarfile raises all kinds on what is no tar
        return f"is not a tar ({error})"


def members(file: IO[bytes]) -> Iterator[Member]:
    """The members of a tar but its folders, in order, to its end; memory holds one.

    Raises Broken, having yielded what stands before: a tar that was cut between two members shows no error elsewhere.
    """
    end = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (found := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # it would keep them all
                if tar.offset <= end or not 0 <= found.size <= MAX_MEMBER_BYTES:
                    raise tarfile.HeaderError(f"a member of {found.size} bytes")
                end = tar.offset
                if not found.isdir():
                    regular = found.isfile() and not found.issparse()
                    yield Member(found.name, regular, found.offset, found.offset_data, found.size)
        file.seek(end)
        mark, rest = file.read(BLOCK), file.read(AFTER_END_BYTES)
    except Exception as error:  # damaged headers make tarfile raise nearly anything
        raise Broken("unreadable", str(error)) from None
    if len(mark) < BLOCK:
        raise Broken("cut", "it has no end mark")
    if mark != ZEROS[:BLOCK]:
        raise Broken("damaged", "what follows is no header")
    if rest.strip(b"\0"):
        raise Broken("continued", "it goes on after its end mark")


def split(data: bytes) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the ustar members in `data`, a run of whole members. Raises ValueError."""
    at = 0
    while at + BLOCK <= len(data):
        head = data[at : at + BLOCK]
        name, size = head[:NAME_BYTES].rstrip(b"\0").decode(), int(head[SIZE_AT : SIZE_AT + SIZE_DIGITS], 8)
        yield name, data[at + BLOCK : at + BLOCK + size]
        at += BLOCK + -(-size // BLOCK) * BLOCK
