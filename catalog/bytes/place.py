"""A file, on this disk (a Path) or behind fsspec (a URL as str): its name, its size and time, and reading it once."""

from __future__ import annotations

import errno
import io
import os
import zlib
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

from catalog.bytes import local, locate
from catalog.errors import BadInput, LensError, Unreadable

Place = Path | str
Facts = tuple[int, int]  # size in bytes, mtime in ns

WINDOW = 2**15  # bytes of a ranged read: a tar's header, its sidecars and the next header, not the images


def suffix(place: Place) -> str:
    """The lower-case ending of its name, with the dot."""
    name = place.name if isinstance(place, Path) else place.rpartition("/")[2]
    return Path(name).suffix.lower()


def stem(place: Place) -> str:
    """Its name without the ending."""
    return Path(place.name if isinstance(place, Path) else place.rpartition("/")[2]).stem


def facts(place: Place) -> Facts:
    """Its size and time. Raises OSError."""
    if isinstance(place, Path):
        found = place.stat()
        return found.st_size, found.st_mtime_ns
    return facts_of(info(place))


def info(url: str) -> dict[str, Any]:
    """What the backend says of a URL. Raises OSError for what is not there or cannot be reached, and BadInput."""
    filesystem, path = locate.filesystem(url)
    try:
        filesystem.invalidate_cache()
        return cast(dict[str, Any], filesystem.info(path))
    except (OSError, LensError):
        raise
    except Exception as error:  # every backend has its own errors
        raise OSError(f"{type(error).__name__}: {error}") from error


def facts_of(found: dict[str, Any]) -> Facts:
    """Size and time of an entry of a listing. Where a backend tells times to the second and gives an ETag, the ETag
    fills the digits below, so that two writes in one second differ."""
    size = int(found.get("size") or 0)
    time = next(
        (
            found[key]
            for key in ("LastModified", "mtime", "updated", "last_modified", "created")
            if found.get(key)
        ),
        0,
    )
    if isinstance(time, str):
        try:
            time = datetime.fromisoformat(time)
        except ValueError:
            time = 0
    if isinstance(time, datetime):
        time = time.timestamp()
    nanoseconds = round(time * 1e9)
    tag = found.get("ETag") or found.get("etag") or found.get("md5Hash")
    if tag and nanoseconds % 10**9 == 0:
        nanoseconds += zlib.crc32(str(tag).encode()) % 10**9
    return size, nanoseconds


def open_binary(place: Place, size: int | None = None, window: int = WINDOW) -> IO[bytes]:
    """Open for reading. Thousands may be open at once, since they share a few descriptors.

    Of a remote file only what is read is fetched, in ranges of at least `window` bytes (0: just what is asked for);
    its `size`, where that is known, is not asked for again. Raises OSError.
    """
    if isinstance(place, str):
        size = facts(place)[0] if size is None else size
        if not size:  # its store may not tell
            return _streamed(place)
    file = _Local(place) if isinstance(place, Path) else _Remote(place, size or 0)
    return cast(IO[bytes], io.BufferedReader(file, window) if window else file)


def _streamed(url: str) -> IO[bytes]:
    filesystem, path = locate.filesystem(url)
    try:
        return cast(IO[bytes], filesystem.open(path, "rb"))
    except OSError:
        raise
    except Exception as error:  # every backend has its own errors
        raise OSError(f"{type(error).__name__}: {error}") from error


class _File(io.RawIOBase):
    """A file of a known size, read by position."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size, self._at = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """As io.RawIOBase has it. Raises OSError."""
        left = max(self._size - self._at, 0)
        count = left if size is None or size < 0 else min(size, left)
        if not count:
            return b""
        try:
            data = self._bytes(self._at, count)
        except Unreadable as error:
            raise OSError(error.reason) from None
        self._at += count
        return data

    def readinto(self, buffer: Any) -> int:
        """As io.RawIOBase has it. Raises OSError."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _bytes(self, offset: int, count: int) -> bytes:
        raise NotImplementedError


class _Local(_File):
    def __init__(self, path: Path) -> None:
        found = path.stat()
        super().__init__(found.st_size)
        self._path, self._identity = str(path), (found.st_dev, found.st_ino)

    def _bytes(self, offset: int, count: int) -> bytes:
        file = local.kept_open(self._path, self._identity)
        if file.identity != self._identity:
            raise OSError(errno.ESTALE, "another file has taken its place", self._path)
        return local.pread(file.fd, self._path, offset, count)


class _Remote(_File):
    def __init__(self, url: str, size: int) -> None:
        super().__init__(size)
        self._url = url

    def _bytes(self, offset: int, count: int) -> bytes:
        return locate.read(self._url, offset, count)


def reason(error: OSError) -> str:
    """Why, in a few words."""
    return " ".join((error.strerror or str(error) or type(error).__name__).split())


def require_utf8(place: Place) -> None:
    """Raise BadInput for a name that the catalog cannot hold."""
    try:
        str(place).encode()
    except UnicodeEncodeError:
        raise BadInput(f"the name {printable(str(place))} is not UTF-8; rename it") from None


def printable(text: str) -> str:
    """`text` on one line, with \\x.. for bytes that are not UTF-8 and for control characters."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )
