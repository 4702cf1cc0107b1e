"""Object stores for tests: memory://, and an S3 server (moto) on loopback that keeps a log of what is asked of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import fsspec
import pytest

from catalog.bytes import locate


@dataclass(frozen=True)
class Request:
    """One request: method, path, query and range (`bytes=0-9`, or None)."""

    method: str
    path: str
    query: dict[str, str]
    range: str | None


@dataclass
class Server:
    """The address of a server and what it was asked, in order."""

    address: str
    log: list[Request]


@pytest.fixture
def memory() -> Iterator[Any]:
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]
    yield filesystem
    filesystem.store.clear()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    from werkzeug.serving import make_server

    application = moto.DomainDispatcherApplication(moto.create_backend_app)
    log: list[Request] = []

    def logged(environ: dict[str, Any], start: Any) -> Any:
        query = dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
        log.append(Request(environ["REQUEST_METHOD"], environ["PATH_INFO"], query, environ.get("HTTP_RANGE")))
        return application(environ, start)

    running = make_server("127.0.0.1", 0, logged, threaded=True)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield Server(f"http://127.0.0.1:{running.server_port}", log)
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def s3(server: Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A fresh bucket `lens`; what reads it takes endpoint and keys from the environment, as everybody's does."""
    for name, value in (
        ("AWS_ENDPOINT_URL", server.address), ("AWS_ACCESS_KEY_ID", "a-key-id"),
        ("AWS_SECRET_ACCESS_KEY", "a-secret-key"), ("AWS_DEFAULT_REGION", "us-east-1"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    locate._filesystems.clear()
    s3fs = pytest.importorskip("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()  # another module's server, which the environment named, may be gone
    filesystem, _ = locate.filesystem("s3://lens")
    if filesystem.exists("lens"):
        filesystem.rm("lens", recursive=True)
    filesystem.mkdir("lens")
    return filesystem
