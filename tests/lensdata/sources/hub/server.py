"""A server on loopback that answers as the Hugging Face hub does for one dataset, and logs what it was asked."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NAME = "org/name"


class Hub:
    """The files of `root` as the dataset org/name at the commit `commit`, which a test may change."""

    def __init__(self, root: Path, address: str) -> None:
        self.root, self.address = root, address
        self.commit = "a" * 40
        self.log: list[str] = []  # METHOD PATH

    def files(self) -> list[Path]:
        return sorted(path for path in self.root.rglob("*") if path.is_file())


@contextmanager
def serve(root: Path) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            hub.log.append(f"{self.command} {path}")
            if re.match(rf"/api/datasets/{NAME}(/revision/[^/]+)?$", path):
                files = [{"rfilename": str(path.relative_to(root))} for path in hub.files()]
                fixed = {"private": False, "gated": False, "disabled": False, "tags": []}
                self.tell({"id": NAME, "sha": hub.commit, "siblings": files, **fixed})
            elif match := re.match(rf"/api/datasets/{NAME}/tree/[^/]+(/.*)?$", path):
                folder = root / (match[1] or "").strip("/")
                if folder.is_dir():
                    self.tell([self.entry(path) for path in sorted(folder.iterdir())])
                else:
                    self.refuse()
            elif match := re.match(rf"/datasets/{NAME}/resolve/[^/]+/(.+)$", path):
                self.give(root / match[1]) if (root / match[1]).is_file() else self.refuse()
            else:
                self.refuse()

        do_HEAD = do_GET

        def entry(self, path: Path) -> dict[str, Any]:
            kind, size = ("file", path.stat().st_size) if path.is_file() else ("directory", 0)
            return {"type": kind, "path": str(path.relative_to(root)), "size": size, "oid": "0" * 40}

        def tell(self, value: Any) -> None:
            self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def refuse(self) -> None:
            self.answer(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})

        def give(self, path: Path) -> None:
            data = path.read_bytes()
            headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "Accept-Ranges": "bytes"}
            if match := re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                first, last = int(match[1]), min(int(match[2] or len(data)), len(data) - 1)
                headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
                self.answer(206, data[first : last + 1], headers)
            else:
                self.answer(200, data, headers)

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {
                **headers,
                "X-Repo-Commit": hub.commit,
                "Content-Length": str(len(body)),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub = Hub(root, f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
