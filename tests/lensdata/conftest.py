"""A store of pictures behind HTTP, of which some may be silent for a while."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.helpers import png


class Store(ThreadingHTTPServer):
    """Pictures by number; those in `silent` cannot be had for the time being."""

    silent: frozenset[str] = frozenset()
    asked = 0


class Answer(BaseHTTPRequestHandler):
    server: Store

    def do_GET(self) -> None:
        self.server.asked += 1
        name = self.path.rpartition("/")[2]
        if name in self.server.silent:
            self.send_error(503)
            return
        if name == "none.png":
            self.send_error(404)
            return
        data = png(int(name.removesuffix(".png")))
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
