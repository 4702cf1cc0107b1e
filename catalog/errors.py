"""The errors a user can cause or meet. Each carries one line: what is wrong, where, and what to do."""


class LensError(Exception):
    """The job itself failed (exit code 1): a full disk, a model that will not load, a worker that keeps dying."""

    exit_code = 1


class BadInput(LensError):
    """Wrong usage or bad input (exit code 2): a missing folder, an unknown preset, a catalog from a newer version."""

    exit_code = 2
