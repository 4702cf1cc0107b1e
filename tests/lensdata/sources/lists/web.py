"""A real web server on loopback whose pages a test changes, and which counts what is asked of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web:
    """`pages` maps a path to its bytes, to an HTTP error, to a URL to redirect to, or to seconds of silence."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.pages: dict[str, bytes | int | str | float] = {}
        self.asked: Counter[str] = Counter()

    def url(self, path: str) -> str:
        return f"{self.address}/{path}"


@contextmanager
def serve() -> Iterator[Web]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            web.asked[path] += 1
            page = web.pages.get(path, 404)
            if isinstance(page, float):
                time.sleep(page)
                page = 504
            self.send_response(200 if isinstance(page, bytes) else 302 if isinstance(page, str) else page)
            if isinstance(page, str):
                self.send_header("Location", page)
            body = page if isinstance(page, bytes) else b""
            self.send_header("Content-Length", str(len(body)))
            with suppress(OSError):  # who asked may have gone
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web = Web(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
