"""The errors a user can cause or meet. Each carries one line: what is wrong, where, and what to do."""

from __future__ import annotations

import errno

# How a URL begins where a local path is needed; also with one slash, a slip that would make a folder `s3:`.
URL = r"[A-Za-z][A-Za-z0-9+.-]+:/"


class LensError(Exception):
    """The job itself failed (exit code 1): a full disk, a model that will not load, a worker that keeps dying."""

    exit_code = 1


class BadInput(LensError):
    """Wrong usage or bad input (exit code 2): a missing folder, an unknown preset, a catalog from a newer version."""

    exit_code = 2


class Unreadable(LensError):
    """The bytes of one image cannot be had. `status` is what to record: `missing` or `truncated`.

    `passing`: a store did not answer, also when asked again; later it may.
    """

    def __init__(self, status: str, reason: str, passing: bool = False) -> None:
        super().__init__(reason)
        self.status, self.reason, self.passing = status, reason, passing


def one_line(error: BaseException) -> str:
    """The error as a single line without a traceback."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = f" while writing {error.filename}" if error.filename else ""
        return f"no space left on the disk{where}; free some and run the same command again (finished parts are kept)"
    text = " ".join(str(error).split())
    return text or type(error).__name__
