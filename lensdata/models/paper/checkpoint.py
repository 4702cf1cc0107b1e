"""Where a model's files are: a hub repository at a commit, or a folder on this machine.

The job finds them once and records what it found; a worker takes the same files, or, on another machine, gets the
same commit from the hub.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.request import urlopen

from catalog.errors import BadInput, LensError, one_line
from catalog.notices import say
from catalog.store.parts import write_bytes
from lensdata.models.choice import Choice

MOST_HEAD_BYTES = 64 << 20
SECONDS = 60


@dataclass(frozen=True)
class Checkpoint:
    """The files of one model. `revision` is the hub's commit, or for a folder 12 hex digits of the files' sha256.

    `repo` is the hub id, "" for a folder; `names` are the files (JSON, then weights, the last of them); `head` is
    the file beside them that the aesthetic predictor needs, and `head_url` where it came from.
    """

    folder: Path
    repo: str
    revision: str
    names: tuple[str, ...]
    head: Path | None = None
    head_url: str = ""

    def path(self, name: str) -> Path:
        """The file `name`, from the hub again if this machine does not have it."""
        path = self.folder / name
        if path.is_file() or not self.repo:
            return path
        return _fetch(self.repo, self.revision, name)

    @property
    def weights(self) -> Path:
        return self.path(self.names[-1])

    def head_path(self) -> Path:
        """The head's file. Raises LensError if this machine neither has it nor can get it."""
        assert self.head is not None  # only the aesthetic predictor asks, and it was given one
        return _download(self.head_url) if self.head_url else self.head

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file of the checkpoint. Raises BadInput if it is not one."""
        path = self.path(name)
        try:
            value = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise BadInput(f"{path} cannot be read as JSON: {one_line(error)}") from None
        if not isinstance(value, dict):
            raise BadInput(f"{path} is no JSON object")
        return value


def described(config: dict[str, Any]) -> str:
    """What a config.json says its model is, for errors."""
    names = (
        config.get("architecture") or config.get("architectures") or config.get("model_type") or "no model"
    )
    return ", ".join(map(str, names)) if isinstance(names, list) else str(names)


def find(choice: Choice, configs: tuple[str, ...], weights: tuple[str, ...], with_head: bool) -> Checkpoint:
    """Find the JSON files `configs`, all of them, and the first of `weights` that exists.

    Raises BadInput if a folder or repository lacks them, LensError if the hub cannot be reached.
    """
    found = _local(choice.folder, configs, weights) if choice.folder else _hub(choice, configs, weights)
    if not with_head:
        return found
    url = choice.head if choice.head.startswith(("https://", "http://")) else ""
    head = _download(url) if url else Path(choice.head)
    if not head.is_file():
        raise BadInput(f"there is no file {head} (the aesthetic predictor's head)")
    revision = f"{found.revision}-{_sha256(head)[:12]}"
    return Checkpoint(found.folder, found.repo, revision, found.names, head, url)


def _local(folder: Path, configs: tuple[str, ...], weights: tuple[str, ...]) -> Checkpoint:
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}")
    for name in configs:
        if not (folder / name).is_file():
            raise BadInput(f"{folder} has no {name}")
    there = next((name for name in weights if (folder / name).is_file()), None)
    if there is None:
        raise BadInput(f"{folder} has no weights: {' or '.join(weights)}")
    names = (*configs, there)
    digest = hashlib.sha256("".join(_sha256(folder / name) for name in names).encode())
    return Checkpoint(folder, "", digest.hexdigest()[:12], names)


def _hub(choice: Choice, configs: tuple[str, ...], weights: tuple[str, ...]) -> Checkpoint:
    first = _fetch(choice.model, choice.revision, configs[0])
    commit = first.parent.name  # .../snapshots/COMMIT/FILE
    for name in configs[1:]:
        _fetch(choice.model, commit, name)
    for name in weights:
        try:
            _fetch(choice.model, commit, name)
        except _Absent:
            continue
        return Checkpoint(first.parent, choice.model, commit, (*configs, name))
    raise BadInput(f"{choice.model}@{commit} has no weights: {' or '.join(weights)}")


class _Absent(BadInput):
    """The hub answers that there is no such file."""


def _fetch(repo: str, revision: str, name: str) -> Path:
    """A file of a hub repository, from the hub's own cache on this machine if it is there.

    One file at a time: repositories also hold training checkpoints and other formats, gigabytes nobody needs.
    """
    from huggingface_hub import errors, hf_hub_download
    from huggingface_hub.utils import logging

    commit = revision.partition("-")[0]  # a revision may have a head's digest behind it
    logging.set_verbosity_error()  # it would tell each of its attempts
    try:
        return Path(hf_hub_download(repo, name, revision=commit))
    except errors.HFValidationError as error:
        raise BadInput(f"{repo!r} is no hub id: {one_line(error)}") from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        raise BadInput(
            f"the hub has no {repo} at revision {commit}, or it asks for a login (`hf auth login`)"
        ) from None
    except errors.RemoteEntryNotFoundError:
        raise _Absent(f"{repo} at revision {commit} has no {name}") from None
    except (OSError, errors.OfflineModeIsEnabled) as error:
        raise LensError(
            f"cannot get {name} of {repo} from the hub ({one_line(error)[:120]}); to use a copy on this machine, "
            'write its folder into a file, as in `[nsfw] model = "/models/eva"`, and pass --models FILE'
        ) from None


def _download(url: str) -> Path:
    """The file at `url`, kept in the user's cache under the URL's digest. A query, which may hold a token, is not
    shown."""
    cache_root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lens"
    shown = url.partition("?")[0]
    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    path = cache_root / digest / f"head{PurePosixPath(shown).suffix}"
    if path.is_file():
        return path
    say(f"fetching {shown}")
    try:
        with urlopen(url, timeout=SECONDS) as answer:
            data = answer.read(MOST_HEAD_BYTES + 1)
    except (OSError, HTTPException, ValueError) as error:  # ValueError: of what is no URL
        raise LensError(
            f"cannot get {shown} ({one_line(error)[:120]}); fetch it on another machine and write its place "
            'into a file, as in `[aesthetic] head = "/models/head.pth"`, and pass --models FILE'
        ) from None
    if len(data) > MOST_HEAD_BYTES:
        raise LensError(f"{shown} is larger than {MOST_HEAD_BYTES >> 20} MB, so it is no aesthetic head")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, data)
    return path


def _sha256(path: Path) -> str:
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


@cache
def _digest(path: Path, size: int, changed: int) -> str:
    """sha256 of a file, once per process for each state of it: gigabytes are read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from None
