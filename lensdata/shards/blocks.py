"""A file that is hashed while it is written, past the page cache: what building a shard spends its time on."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

BLOCK = 4 * 2**20  # bytes: enough that handing one over costs nothing
ALIGN = 4096  # bytes: what direct writes ask of a place and a length
ROOM = BLOCK - ALIGN  # bytes that a block always has room for, once those before are handed over
DIRECT = getattr(os, "O_DIRECT", 0)


class BlockFile:
    """A new file, filled in two blocks: while one is written by a thread, the other is filled and hashed.

    Ask for `room`, fill it, and `take` it; or `write` bytes of any length. `finish` says the sha256 of all; `sync`
    returns when the disk has all. Errors of the disk are raised by any of them. Use it as a context manager.

    The file system is asked to take the blocks directly (O_DIRECT): a shard as large as memory would otherwise push
    everything else out of the page cache, and its fresh pages cost more than its checksum. Where that is refused
    (tmpfs, some network storage), writing goes through the cache and its way to the disk is begun at once.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            self._file, self._direct = os.open(path, flags | DIRECT, 0o666), bool(DIRECT)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._file, self._direct = os.open(path, flags, 0o666), False
        self._digest = hashlib.sha256()
        self._filling, self._other = (memoryview(mmap.mmap(-1, BLOCK)) for _ in range(2))
        self._used = 0  # bytes of the block that is being filled
        self._start = 0  # where in the file that block belongs
        self._disk = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def __enter__(self) -> BlockFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._disk.shutdown()
        os.close(self._file)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._start + self._used

    def room(self, size: int) -> memoryview:
        """The next `size` bytes of the file, at most ROOM, to be filled; they count when `take` is called."""
        if self._used + size > BLOCK:
            self._hand_over(self._used // ALIGN * ALIGN)
        return self._filling[self._used : self._used + size]

    def take(self, size: int) -> None:
        """Append the first `size` bytes of what `room` gave."""
        self._used += size

    def write(self, data: bytes | memoryview, /) -> None:
        left = memoryview(data)
        while left:
            room = self.room(min(len(left), ROOM))
            room[:] = left[: len(room)]
            self.take(len(room))
            left = left[len(room) :]

    def finish(self) -> str:
        """Hand over what is left and return the sha256 of the whole file, in hex. Nothing can be added afterwards."""
        self._hand_over(self._used)
        return self._digest.hexdigest()

    def sync(self) -> None:
        """Wait until the disk has what was handed over."""
        if self._writing is not None:
            self._writing.result()
        os.fsync(self._file)

    def _hand_over(self, size: int) -> None:
        """Hash the first `size` bytes of the block and have them written; what stands behind them begins the other."""
        block, rest = self._filling[:size], self._filling[size : self._used]
        self._digest.update(block)
        before, self._writing = self._writing, self._disk.submit(self._put, block, self._start)
        if before is not None:
            before.result()  # now the other block is free
        self._other[: len(rest)] = rest
        self._filling, self._other = self._other, self._filling
        self._start, self._used = self._start + size, len(rest)

    def _put(self, block: memoryview, at: int) -> None:
        """Write a block to its place; only the last of a file may be of any length."""
        while block:
            whole = len(block) // ALIGN * ALIGN
            if self._direct and not whole:
                self._go_through_cache()
            size = whole if self._direct else len(block)
            try:
                written = os.pwrite(self._file, block[:size], at)
            except OSError as error:
                if error.errno != errno.EINVAL or not self._direct:
                    raise
                self._go_through_cache()  # a file system that says so only now
                continue
            if not self._direct and hasattr(os, "posix_fadvise"):
                # Linux answers this advice by beginning to write dirty pages, which stay cached.
                os.posix_fadvise(self._file, at, written, os.POSIX_FADV_DONTNEED)
            block, at = block[written:], at + written

    def _go_through_cache(self) -> None:
        flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
        fcntl.fcntl(self._file, fcntl.F_SETFL, flags & ~DIRECT)
        self._direct = False
