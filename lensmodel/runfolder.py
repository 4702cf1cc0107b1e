"""The folder of a run: one process writes it at a time, and nothing in it is ever lost to a later run.

checkpoint-000100/   see `lensmodel.checkpoint`
log.jsonl            every event; log.jsonl.1, .2, ... are those of runs that came to no checkpoint
bad_samples.jsonl    images that could not be used, likewise
samples/             sheets of pictures drawn on the way, likewise, see `lensmodel.preview`
text-features/       cached features of the captions, see `lensmodel.features`
.lock                held (flock) while a run trains; it vanishes with its process however that dies
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from catalog.errors import BadInput
from catalog.store.parts import TEMPORARY
from lensmodel import checkpoint

LOGS = ("log.jsonl", "bad_samples.jsonl", "samples")


class RunFolder:
    """RUN, owned by this process until `close`. `newest` is its last checkpoint, or None.

    Raises BadInput for a folder that cannot be made, that another run is writing, or that holds a run already unless
    `resume`. Nothing in it changes before `begin`.
    """

    def __init__(self, path: Path, resume: bool) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = (path / ".lock").open("a")
        except OSError as error:
            raise BadInput(cannot_write(path, error)) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = checkpoint.numbered(path)
            if found and not resume:
                raise BadInput(
                    f"{path} holds a run already (step {found[-1][0]}); go on with --resume or take another --out"
                )
        except BlockingIOError:
            self._lock.close()
            raise BadInput(
                f"another run is writing {path} (it holds {path / '.lock'}); wait for it or take another --out"
            ) from None
        except BadInput:
            self.close()
            raise
        self.newest = found[-1][1] if found else None

    def begin(self) -> None:
        """Make way for what this run writes: half-written ends go, logs of runs without a checkpoint move aside."""
        checkpoint.sweep(self.path)
        for half in (self.path / "samples").glob(f"*{TEMPORARY}"):
            half.unlink()
        for name in LOGS:
            log = self.path / name
            if not log.exists():
                continue
            if self.newest is None:
                log.rename(_free(log))
            elif log.is_file():
                cut_half_line(log)

    def close(self) -> None:
        """Let others have the folder."""
        self._lock.close()


def cannot_write(path: Path, error: OSError) -> str:
    """Why `path` cannot be an output folder, as one line."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"--out {path} is a file; name a folder"
    return f"--out {path} cannot be written ({error.strerror}); name another folder"


def cut_half_line(path: Path) -> None:
    """Remove what a kill or a full disk left behind the last whole line, or the next line would be glued to it."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)


def _free(path: Path) -> Path:
    number = 1
    while (free := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return free
