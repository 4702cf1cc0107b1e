"""Whether the bytes just read are still those that the catalog knows, without hashing them when that can be told."""

from __future__ import annotations

import hashlib
import os

# Beside an image NAME.jpg; ingest counts their size and time with the image's.
SIDECARS = (".txt", ".json", ".caption")


def same_bytes(
    data: bytes | memoryview,
    uri: str,
    sha256: str,
    file_size: int | None,
    file_mtime_ns: int | None,
    hash_all: bool = False,
    found: os.stat_result | None = None,
) -> bool:
    """Whether `data`, read from `uri` just now, are the bytes with this sha256.

    Where the file has the size and time that ingest saw (of a plain file: together with its sidecars'; of a tar: its
    own) that is taken for granted, as git and rsync do; else, or with `hash_all`, the bytes are hashed. So bytes
    replaced in place under the same size and time pass here; training hashes every sample it reads, and
    `lensdata verify-shards` every image of the shards. `found` is the state of the file that the bytes are from,
    looked at after they were read (see locate.read_into), if the caller has it.
    """
    known = file_size and file_mtime_ns and not hash_all
    if known and _untouched(uri, len(data), (file_size or 0, file_mtime_ns or 0), found):
        return True
    return hashlib.sha256(data).hexdigest() == sha256


def _untouched(uri: str, length: int, then: tuple[int, int], found: os.stat_result | None) -> bool:
    """Looks after the bytes were read, so that a change while they were read shows, too."""
    path = uri.removeprefix("file://")
    if not path.startswith("/"):
        return False
    found = found or _stat(path)
    if found is None:
        return False
    size, mtime = found.st_size, found.st_mtime_ns
    if (size, mtime) == then:
        return True
    if length != size or size > then[0] or mtime > then[1]:
        return False
    stem = os.path.splitext(path)[0]  # noqa: PTH122 (as above)
    for suffix in SIDECARS:
        beside = _stat(stem + suffix) or _stat(stem + suffix.upper())
        if beside is not None:
            size, mtime = size + beside.st_size, max(mtime, beside.st_mtime_ns)
            if (size, mtime) == then:  # a further sidecar is new, which says nothing of the image
                return True
    return False


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 (a Path object costs more than the call)
    except OSError:
        return None
