"""URLs of lists: which may be fetched, and how they are written for a server."""

from __future__ import annotations

import re
from urllib.parse import quote

from catalog.bytes import locate
from catalog.bytes.place import printable

MAX_URL = 8192  # characters; no server takes a longer one
HTTP = ("http", "https")
UNSENT = re.compile(
    r"[^\x21-\x7e]+"
)  # what a request line cannot hold; all else, `%` among it, stays as it is


def is_url(text: str) -> bool:
    """Whether `text` is a URL that may be fetched: http or https, with a host and no login; no file, no other
    scheme."""
    scheme, _, rest = text.partition("://")
    return (
        scheme.lower() in HTTP and rest[:1] not in ("", "/", "?", "#")
        and not rest.startswith(locate.HIDDEN) and len(text) < MAX_URL
    )  # fmt: skip


def encoded(url: str) -> str:
    """An http or https URL as it is sent: its host by IDNA, and what is not printable ASCII of the rest percent-encoded
    as UTF-8 (bytes that could not be decoded as themselves). What is encoded already stays."""
    scheme, mark, rest = url.partition("://")
    host = re.match(r"[^/?#]*", rest)[0]  # type: ignore[index]
    path = rest[len(host) :]
    if not host.isascii():
        try:
            name, colon, port = host.partition(":")
            host = name.encode("idna").decode() + colon + port
        except UnicodeError:  # no name of a host; asking for it fails, and says so
            pass
    return scheme + mark + _quoted(host) + _quoted(path)


def shown(url: str) -> str:
    """What the catalog can hold of a line, whatever it is: a URL with what cannot be printed encoded."""
    url = locate.without_login(url[:MAX_URL])
    if url.isprintable():
        return url
    return "".join(c if c.isprintable() else _quoted(c) for c in url) if is_url(url) else printable(url)


def _quoted(text: str) -> str:
    return UNSENT.sub(lambda found: quote(found[0], safe="", errors="surrogateescape"), text)
