"""A file whose sha256 is computed while it is written."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import IO

BLOCK_BYTES = 4 * 2**20  # enough that waking the other thread costs nothing


class HashedFile:
    """Gathers what is written in two blocks: while one is hashed by a thread and written out, the other fills up.

    Hashing is most of the work of building a shard and runs without Python's lock, so that it alone sets the pace.
    The blocks are used again and again: fresh memory would cost more than the copy. Use it as a context manager;
    `sha256()` and the file are whole when the block has ended.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._descriptor = _descriptor(file)
        self._written = 0
        self._digest = hashlib.sha256()
        self._filling, self._other = (memoryview(bytearray(BLOCK_BYTES)) for _ in range(2))
        self._used = 0
        self._hasher = ThreadPoolExecutor(1)
        self._hashing: Future[None] | None = None

    def __enter__(self) -> HashedFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()
        self._hasher.shutdown()

    def write(self, data: bytes, /) -> None:
        left = memoryview(data)
        while len(left) >= BLOCK_BYTES - self._used:
            room = BLOCK_BYTES - self._used
            self._filling[self._used :] = left[:room]
            self._used, left = BLOCK_BYTES, left[room:]
            self._flush()
        self._filling[self._used : self._used + len(left)] = left
        self._used += len(left)

    def sha256(self) -> str:
        return self._digest.hexdigest()

    def _flush(self) -> None:
        block = self._filling[: self._used]
        if self._hashing is not None:
            self._hashing.result()  # of the other block, which is filled next
        self._hashing = self._hasher.submit(self._digest.update, block)
        self._file.write(block)
        self._start_writing_back(len(block))
        self._filling, self._other, self._used = self._other, self._filling, 0

    def _start_writing_back(self, size: int) -> None:
        """Have the disk begin with what was just written: the fsync at the end would let the processor wait for it all.

        Linux answers this advice by queueing dirty pages; they stay cached.
        """
        if self._descriptor is not None:
            os.posix_fadvise(self._descriptor, self._written, size, os.POSIX_FADV_DONTNEED)
        self._written += size


def _descriptor(file: IO[bytes]) -> int | None:
    """Of a real file on a system that takes advice."""
    try:
        return file.fileno() if hasattr(os, "posix_fadvise") else None
    except OSError:  # a file in memory has none
        return None
