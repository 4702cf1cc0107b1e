"""A script that starts a job outside `if __name__ == "__main__":` starts it again in each of its own workers, because
a worker process reads the script once more. There the job must not begin: the worker ends and says why by its exit
code."""

from __future__ import annotations

import sys

CODE = 86  # the exit code of a worker that met the job that it was started by
ADVICE = (
    "this script starts a job wherever it is read, also by the job's own worker processes; put what it does under "
    '`if __name__ == "__main__":`'
)


def end_if_reread() -> None:
    """End the process, quietly, if it is a worker that is only reading its script."""
    module = sys.modules.get(
        "multiprocessing.process"
    )  # which a worker has loaded, and a command need not load
    if module is not None and getattr(module.current_process(), "_inheriting", False):
        raise SystemExit(CODE)
