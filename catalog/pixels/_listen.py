"""What decoders say beside their result: Python warnings, and what C libraries write to the terminal."""

from __future__ import annotations

import os
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_MOST_LINES, _MOST_BYTES = 3, 65_536
_lock = threading.Lock()
# The state of Python's warnings belongs to the whole process. In the main thread, where workers decode, whatever is
# said is heard. In other threads, where training decodes, readers of the formats that Pillow warns about take turns
# and the others do not pay.
_TALKATIVE = ("tiff", "gif")


@contextmanager
def listening(fmt: str) -> Iterator[list[str]]:
    """Collect what is said while an image of format `fmt` is read or decoded; it reaches no terminal. The lines are in
    the list when the block has ended."""
    heard: list[str] = []
    main = threading.current_thread() is threading.main_thread()
    if not main and fmt not in _TALKATIVE:
        yield heard
        return
    with _lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if main:
                with _stderr(heard):
                    yield heard
            else:
                yield heard
        finally:
            heard.extend(str(warning.message) for warning in caught)
            heard[:] = _plain(heard)


@contextmanager
def _stderr(heard: list[str]) -> Iterator[None]:
    """Collect what is written to the process's standard error. libtiff and libpng know no other place."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed: nothing is written there
        yield
        return
    spool = _spool(os.getpid())
    os.dup2(spool, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        if written := os.lseek(spool, 0, os.SEEK_CUR):
            heard.extend(
                os.pread(spool, min(written, _MOST_BYTES), 0).decode("utf-8", "replace").splitlines()
            )
            os.lseek(spool, 0, os.SEEK_SET)
            os.ftruncate(spool, 0)


@cache
def _spool(pid: int) -> int:
    """A file of this process's own, for a forked one would share the place in it."""
    number, path = tempfile.mkstemp(prefix="lens-heard-")
    os.unlink(path)  # noqa: PTH108 (it is never named again)
    return number


def _plain(lines: list[str]) -> list[str]:
    """The first few different lines, each in one line."""
    found = list(dict.fromkeys(filter(None, (" ".join(line.split()) for line in lines))))
    more = [f"and {len(found) - _MOST_LINES} more"] if len(found) > _MOST_LINES else []
    return found[:_MOST_LINES] + more
