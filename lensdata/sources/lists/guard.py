"""Runs a command in a process group that ends with whoever holds its stdin: `python guard.py COMMAND ...`.

A job that is killed closes the pipe, however it dies, and all that its tool has started dies, too.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    """Start the command; its exit code is ours. Needs to lead a session of its own."""
    threading.Thread(target=_watch, daemon=True).start()
    try:
        return subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, check=False).returncode
    except OSError as error:
        print(f"{sys.argv[1]} cannot be run: {error.strerror}", flush=True)
        return 127


def _watch() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
