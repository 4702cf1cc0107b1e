"""Where the bytes of an image are: (uri, offset, length) -> bytes, on this disk or behind fsspec."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from catalog import extras
from catalog.bytes import local
from catalog.errors import BadInput, Unreadable

Reading = Callable[[], AbstractContextManager[None]]  # within it bytes are waited for: see an engine's Watch

HIDDEN = "***@"  # stands for a user and password before a URL's host
_LOGIN = re.compile(r"(?<=://)[^:/?#@\s]*:[^/?#\s]*@")


def without_login(text: str) -> str:
    """`text` with the user and password of every URL in it hidden: a uri is stored with each image, and told."""
    return _LOGIN.sub(HIDDEN, text)


def read(uri: str, offset: int = 0, length: int | None = None, most: int | None = None) -> bytes:
    """The `length` bytes at `offset` of `uri`; everything from `offset` on if `length` is None, but not if that is more
    than `most`.

    `uri` is an absolute path, `file:///...`, or any URL fsspec opens (`s3://`, `memory://`, ...). It is used
    literally: no `~`, no globs, no chained `::` schemes.

    Raises Unreadable with status `missing` (no such file, no permission, storage error), `truncated` (the
    file ends before offset + length) or `too-large` (more than `most`), and BadInput for a negative range or a scheme
    nothing here can read.
    """
    if offset < 0 or (length is not None and length < 0):
        raise BadInput(
            f"cannot read {length} bytes at {offset} of {uri}: offset and length must not be negative"
        )
    if (path := _local(uri)) is None:
        return _read_remote(uri, offset, length, most)
    return local.read(path, offset, length, most)


def read_into(uri: str, offset: int, place: memoryview) -> os.stat_result | None:
    """Fill `place` with the bytes at `offset` of `uri`, as `read` would give them and with its errors.

    Bytes of a file on this disk get there without a copy. Returns the state of a file that was read from its start, as
    it was afterwards; None where it would have to be asked for.
    """
    if (path := _local(uri)) is None:
        place[:] = read(uri, offset, len(place))
        return None
    return local.read_into(path, offset, place)


def _local(uri: str) -> str | None:
    """The path that `uri` is; None if it is a URL. Raises Unreadable if it is neither."""
    if "\0" in uri:
        raise Unreadable("missing", f"the uri holds a NUL character: {uri!r}")
    path = uri.removeprefix("file://")
    if os.path.isabs(path):  # noqa: PTH117 (a Path object costs more than the read itself)
        return path
    if "://" not in path:
        raise Unreadable("missing", f"{path} is neither an absolute path nor a URL")
    return None


TIMEOUT = 60.0  # seconds a store has to answer, and one more for each
SLOWEST = 1e6  # bytes; what takes longer is taken for a dead connection
PIECE = 2**26  # bytes of a large file asked for at once
PAUSES = (0.5, 2.0)  # seconds before asking a store again
LASTING = (PermissionError, IsADirectoryError, NotADirectoryError, NotImplementedError, ValueError, TypeError)

# By scheme the extra that reads it, and the module that fsspec does it with; of other schemes fsspec names the package.
READERS = {
    "http": ("http", "aiohttp"),
    "https": ("http", "aiohttp"),
    "s3": ("s3", "s3fs"),
    "s3a": ("s3", "s3fs"),
}

_filesystems: dict[
    tuple[int, str], Any
] = {}  # of this process and scheme: their connections serve every thread


def require(uri: str) -> None:
    """Raise Missing if `uri` is one that an extra reads, and that is not installed. Nothing is loaded or asked."""
    scheme = uri.partition("://")[0].lower()
    if scheme in READERS:
        extra, module = READERS[scheme]
        extras.require(extra, f"reading {scheme}://", module)


def filesystem(uri: str) -> tuple[Any, str]:
    """What fsspec reads `uri` with, and the path it knows it by. The credentials are the backend's own: those of its
    environment and files. Raises BadInput for a scheme that nothing here reads, Missing where its package is not
    installed."""
    import fsspec

    require(uri)
    scheme = uri.split("://", 1)[0]
    if "::" in uri:
        raise Unreadable("missing", f"{uri}: chained schemes are not read")
    key = (os.getpid(), scheme)
    if kept := _filesystems.get(key):
        return kept, kept._strip_protocol(uri)
    try:
        # without listings kept: they go stale, and hold millions of names
        found, path = fsspec.core.url_to_fs(uri, use_listings_cache=False)
        options = type(found)._get_kwargs_from_urls(uri)
    except ValueError:
        raise BadInput(
            f"nothing here reads {scheme}:// ({uri}); use a path or a scheme that fsspec knows"
        ) from None
    except ImportError as error:
        raise extras.Missing(f"reading {scheme}:// needs another package: {error}") from None
    if not options:  # else the URL names a host or user of its own
        _filesystems[key] = found
    return found, path


def _ask(uri: str, method: str, timeout: float, **arguments: Any) -> Any:
    """What the backend's method says of `uri` within `timeout` seconds; asked again after errors that pass.

    Raises Unreadable.
    """
    from fsspec.asyn import sync

    backend, path = filesystem(uri)
    pauses = iter(PAUSES)
    while True:
        try:
            if backend.async_impl:
                call = getattr(backend, f"_{method}")
                return sync(backend.loop, call, path, timeout=timeout, **arguments)
            return getattr(backend, method)(path, **arguments)
        except FileNotFoundError:
            raise Unreadable("missing", f"{uri} does not exist") from None
        except Exception as error:  # every backend has its own errors; one object must not stop the job
            if getattr(error, "errno", None) == errno.EINVAL or getattr(error, "status", None) == 416:
                raise Unreadable("truncated", f"{uri} ends before the bytes that were asked for") from None
            passing = not isinstance(error, LASTING) and "Credential" not in type(error).__name__
            if passing and (pause := next(pauses, None)) is not None:
                time.sleep(pause)
                continue
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise Unreadable("missing", f"{uri}: {text}", passing) from error


def _read_remote(uri: str, offset: int, length: int | None, most: int | None = None) -> bytes:
    """One ranged request. The backend tries again by itself, too, as it is configured."""
    if length == 0:
        filesystem(uri)
        return b""
    if length is not None and most is not None and length > most:
        raise Unreadable("too-large", f"{uri} holds {length} bytes; the most that is read is {most}")
    wanted = length if most is None or length is not None else most + 1
    timeout = TIMEOUT + (2**30 if wanted is None else wanted) / SLOWEST
    end = None if wanted is None else offset + wanted
    data = _ask(uri, "cat_file", timeout, start=offset, end=end)
    if length is not None and len(data) != length:
        raise Unreadable("truncated", f"{uri} gave {len(data)} of the {length} bytes at {offset}")
    if most is not None and len(data) > most:
        raise Unreadable("too-large", f"{uri} holds more than {most} bytes")
    return bytes(data)


def copy(url: str, path: Path) -> None:
    """Copy a remote file to `path`, piece by piece. Raises Unreadable and BadInput."""
    left = _ask(url, "info", TIMEOUT)["size"]
    with path.open("wb") as file:
        while left:
            left -= file.write(_read_remote(url, file.tell(), min(left, PIECE)))


def sizes(url: str) -> dict[str, int | None]:
    """Name -> bytes of the files in a remote folder; {} where its store does not list. Raises BadInput."""
    try:
        found = _ask(url, "ls", 10 * TIMEOUT, detail=True)
    except Unreadable:
        return {}
    return {entry["name"].rpartition("/")[2]: entry.get("size") for entry in found if entry["type"] == "file"}
