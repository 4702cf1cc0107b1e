"""Bytes of files on this disk, as cheaply as the system gives them: file after file, or range after range of a tar."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import OrderedDict

from catalog.errors import Unreadable

MAX_OPEN_FILES = 32  # tars kept open: far below any ulimit, enough for the shards one worker reads in turn


class _OpenFile:
    """A descriptor that closes when its last reader lets go: eviction never pulls it from under a thread."""

    __slots__ = ("fd", "identity")

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        now = os.fstat(self.fd)
        self.identity = (now.st_dev, now.st_ino)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)


_open_files: OrderedDict[str, _OpenFile] = OrderedDict()
_open_files_lock = threading.Lock()


def read(path: str, offset: int, length: int | None, most: int | None = None) -> bytes:
    """See `locate.read`."""
    try:
        file, wanted = _opened(path, offset, length)
        if most is not None and wanted > most:
            raise Unreadable("too-large", f"{path} holds {wanted} bytes; the most that is read is {most}")
        return pread(file.fd, path, offset, wanted)
    except OSError as error:
        raise _missing(path, error) from None


def read_into(path: str, offset: int, place: memoryview) -> os.stat_result | None:
    """See `locate.read_into`."""
    found = None
    try:
        if offset:
            kept, _ = _opened(path, offset, len(place))
            done = _fill(kept.fd, offset, place)
        else:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # which nothing but a FIFO heeds
            try:
                done, found = _fill(file, 0, place), os.fstat(file)
            finally:
                os.close(file)
            if not stat.S_ISREG(found.st_mode):
                raise Unreadable("missing", f"{path} is not a regular file")
    except OSError as error:
        raise _missing(path, error) from None
    if done < len(place):
        end = offset + len(place)
        raise Unreadable(
            "truncated", f"{path} has {offset + done} bytes; bytes {offset} to {end} were expected"
        )
    return found


def _fill(fd: int, offset: int, place: memoryview) -> int:
    """Read to `place` and return how many bytes there were."""
    done = os.preadv(fd, [place], offset) if place else 0
    while 0 < done < len(place):  # one call reads at most 2 GiB
        more = os.preadv(fd, [place[done:]], offset + done)
        if not more:
            break
        done += more
    return done


def _opened(path: str, offset: int, length: int | None) -> tuple[_OpenFile, int]:
    """The open file of `path` and the bytes to read of it. Raises Unreadable and OSError."""
    found = os.stat(path)  # noqa: PTH116 (a Path object costs more than the call)
    if not stat.S_ISREG(found.st_mode):  # opening a FIFO would block for ever
        raise Unreadable("missing", f"{path} is not a regular file")
    wanted = found.st_size - offset if length is None else length
    if wanted < 0 or offset + wanted > found.st_size:
        end = offset + max(wanted, 0)
        raise Unreadable(
            "truncated", f"{path} has {found.st_size} bytes; bytes {offset} to {end} were expected"
        )
    whole = offset == 0 and wanted == found.st_size
    return _OpenFile(path) if whole else kept_open(path, (found.st_dev, found.st_ino)), wanted


def _missing(path: str, error: OSError) -> Unreadable:
    if isinstance(error, FileNotFoundError):
        return Unreadable("missing", f"{path} does not exist")
    if error.errno in (errno.EISDIR, errno.ESPIPE):
        return Unreadable("missing", f"{path} is not a regular file")
    return Unreadable("missing", f"{path}: {error.strerror or error}")


def kept_open(path: str, identity: tuple[int, int]) -> _OpenFile:
    """The open file of `path`, unless another file has been renamed into its place since."""
    with _open_files_lock:
        file = _open_files.get(path)
        if file is None or file.identity != identity:
            file = _open_files[path] = _OpenFile(path)
        _open_files.move_to_end(path)
        if len(_open_files) > MAX_OPEN_FILES:
            _open_files.popitem(last=False)
        return file


def pread(fd: int, path: str, offset: int, wanted: int) -> bytes:
    """Just so many bytes. Raises Unreadable and OSError."""
    data = os.pread(fd, wanted, offset)
    while len(data) < wanted:  # one call returns at most 2 GiB
        more = os.pread(fd, wanted - len(data), offset + len(data))
        if not more:
            raise Unreadable("truncated", f"{path} ended {wanted - len(data)} bytes early")
        data += more
    return data
