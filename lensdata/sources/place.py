"""A file of a source, on this disk (a Path) or behind fsspec (a URL as str)."""

from __future__ import annotations

import zlib
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

from catalog.bytes import locate
from catalog.errors import BadInput, LensError

Place = Path | str
Facts = tuple[int, int]  # size in bytes, mtime in ns

WINDOW = 2**15  # bytes of a ranged read: a tar's header, its sidecars and the next header, not the images


def parse(text: str) -> Place:
    """What a source on the command line names: a URL stays one, file:// and anything else is a path. Raises BadInput
    for an empty one, which an unset variable of a shell leaves; as a path it would be the current folder."""
    path = text.removeprefix("file://")
    if not path.strip():
        raise BadInput("a source is empty; write `.` for the current folder")
    return path if "://" in path else Path(path)


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


def open_binary(place: Place) -> IO[bytes]:
    """Open for reading; of a remote file only what is read is fetched, in windows. Raises OSError."""
    if isinstance(place, Path):
        return place.open("rb")
    filesystem, path = locate.filesystem(place)
    try:
        return cast(IO[bytes], filesystem.open(path, "rb", block_size=WINDOW, cache_type="readahead"))
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


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
