"""Writing ustar members whose bytes depend on nothing but their names and contents."""

from __future__ import annotations

import tarfile
from typing import IO

BLOCK = tarfile.BLOCKSIZE
RECORD = tarfile.RECORDSIZE
ZEROS = bytes(RECORD)


class TarWriter:
    """Appends members to a binary file and says where they stand. Owner, mode and time are fixed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.offset = 0

    def add(self, name: str, content: bytes) -> None:
        """Append one member; `name` is ASCII and shorter than 100 characters."""
        info = tarfile.TarInfo(name)
        info.size = len(content)
        info.mode = 0o644
        self.put(info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict"))
        self.put(content)
        self.put(ZEROS[: -len(content) % BLOCK])

    def finish(self) -> int:
        """Write the end mark, filled up to a whole record as tar does, and return the size of the file."""
        self.put(ZEROS[: 2 * BLOCK])
        self.put(ZEROS[: -self.offset % RECORD])
        return self.offset

    def put(self, data: bytes) -> None:
        """Append bytes that are whole members already."""
        self._file.write(data)
        self.offset += len(data)
