"""The two locks of a catalog: one job at a time fills it, and only while a part is committed are readers kept out.

Both are `flock`s on small files beside the database, so they vanish with their process however it dies.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from catalog.errors import BadInput, LensError
from catalog.notices import say
from catalog.store.reread import end_if_reread

JOB_LOCK = ".job-lock"
COMMIT_LOCK = ".commit-lock"
NAMING_LOCK = ".naming-lock"  # held while a manifest is given its name (catalog/manifest/names.py)
LOCKS = (JOB_LOCK, COMMIT_LOCK, NAMING_LOCK)
WAIT_SECONDS = 60.0  # a query gives up after so long; a commit waits on, since it must not fail a job
SAY_SECONDS = 30.0


@contextmanager
def job_lock(root: Path, job: str) -> Iterator[None]:
    """Hold the right to fill the catalog at `root`. Raises BadInput at once if another process holds it."""
    end_if_reread()
    descriptor = os.open(root / JOB_LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(
                f"{root} is being filled by {_holder(descriptor)}; wait for it or stop it"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "job": job}).encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def busy(root: Path) -> bool:
    """Whether a job seems to be filling the catalog at `root`. It takes no lock, which could turn a job away."""
    try:
        os.kill(json.loads((root / JOB_LOCK).read_bytes())["pid"], 0)
    except PermissionError:
        return True  # of another user
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return False
    return True


@contextmanager
def commit_lock(root: Path, exclusive: bool) -> Iterator[None]:
    """Keep commits (`exclusive`) and queries apart for the short time that either takes.

    A commit waits for as long as it takes and says so; a query raises LensError after a minute.
    """
    try:
        descriptor = os.open(root / COMMIT_LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        if exclusive or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        yield  # a catalog that this user may only read: nobody's commit can be awaited
        return
    try:
        _wait(descriptor, exclusive, root)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, exclusive: bool, root: Path) -> None:
    started = said = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            now = time.monotonic()
            if not exclusive and now > started + WAIT_SECONDS:
                raise LensError(f"{root} was being written for {WAIT_SECONDS:.0f} s; try again") from None
            if now > said + SAY_SECONDS:
                say(f"waiting for a query on {root} to end")
                said = now
            time.sleep(0.01)


def _holder(descriptor: int) -> str:
    try:
        held = json.loads(os.pread(descriptor, 4096, 0))
        return f"`{held['job']}` (process {held['pid']})"
    except (ValueError, KeyError):
        return "another job"
