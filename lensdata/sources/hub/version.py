"""Which version of a dataset there is now: the commit that the hub has, or the state of local files."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

from catalog.errors import BadInput, one_line

PATIENCE = 10.0  # seconds for the hub's first answer, the look-up of its name among them


def of_files(folder: Path) -> str:
    """A digest of the names, sizes and times of all files below a folder. Raises BadInput if there is none."""
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}")
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found = path.stat()
            digest.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def of_hub(name: str, revision: str | None, told: str) -> str:
    """The commit that a dataset of the hub has at a revision; the first thing that is asked of the hub, and once.

    It is asked in a thread of its own, since neither the library's timeouts nor any other cover the look-up of the
    hub's name, which takes half a minute where no name server answers. Raises BadInput that begins with `told`.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(str(api.dataset_info(name, revision=revision, timeout=PATIENCE).sha))
        except Exception as error:  # the library, its client and the network have many
            answers.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if not answers:
        raise BadInput(
            f"{told} cannot be loaded: the hub ({api.endpoint}) did not answer within {PATIENCE:.0f} s; "
            "is there a network?"
        )
    if isinstance(answers[0], Exception):
        raise BadInput(f"{told} cannot be loaded: {one_line(answers[0])}")
    return str(answers[0])
