"""Finding bytes: ranges of files and objects, and what is said when they are not there."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem
from hypothesis import given
from hypothesis import strategies as st

from catalog.bytes import local, locate
from catalog.errors import BadInput, Unreadable

CONTENT = bytes(range(256)) * 5


@pytest.fixture(params=["path", "file", "memory"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        with fsspec.open("memory://locate/thing.bin", "wb") as out:
            out.write(CONTENT)
        return "memory://locate/thing.bin"
    path = tmp_path / "a thing, 100% #1.bin"
    path.write_bytes(CONTENT)
    return str(path) if request.param == "path" else f"file://{path}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ftp://u:p@h/x", "ftp://***@h/x"),
        ("http://u:p:@@h:80/x?y=z", "http://***@h:80/x?y=z"),
        ("cannot reach https://u:p@h and https://:p@g", "cannot reach https://***@h and https://***@g"),
        ("abfs://container@account/x", "abfs://container@account/x"),
        ("http://h:80/a:b@c", "http://h:80/a:b@c"),
        ("http://h:80?a:b@c", "http://h:80?a:b@c"),
        ("s3://bucket/a:b@c", "s3://bucket/a:b@c"),
        ("/a/u:p@h", "/a/u:p@h"),
    ],
)
def test_logins_are_hidden(text: str, shown: str) -> None:
    assert locate.without_login(text) == shown


def test_ranges(uri: str) -> None:
    assert locate.read(uri) == CONTENT
    assert locate.read(uri, 0, len(CONTENT)) == CONTENT
    assert locate.read(uri, 300, 17) == CONTENT[300:317]
    assert locate.read(uri, 1000) == CONTENT[1000:]
    assert locate.read(uri, 5, 0) == b""


def test_bytes_are_read_to_their_place(uri: str) -> None:
    place = bytearray(20)
    locate.read_into(uri, 300, memoryview(place)[2:19])
    assert bytes(place) == bytes(2) + CONTENT[300:317] + bytes(1)
    locate.read_into(uri, 5, memoryview(place)[:0])
    whole = bytearray(len(CONTENT))
    locate.read_into(uri, 0, memoryview(whole))
    assert bytes(whole) == CONTENT
    with pytest.raises(Unreadable) as failure:
        locate.read_into(uri, 1270, memoryview(place))
    assert failure.value.status == "truncated"


@pytest.mark.parametrize("bad", ["/nowhere/x", "relative/x", "file://relative", "/etc", "/dev/null", "a\0b"])
def test_reading_to_a_place_fails_as_reading_does(bad: str) -> None:
    with pytest.raises(Unreadable) as one:
        locate.read(bad, 0, 4)
    with pytest.raises(Unreadable) as other:
        locate.read_into(bad, 0, memoryview(bytearray(4)))
    assert (one.value.status, one.value.reason) == (other.value.status, other.value.reason)


def test_a_store_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Silent(AsyncFileSystem):
        protocol = "silent"

        async def _cat_file(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
            asked.append(path)
            await asyncio.Event().wait()
            return b""

    fsspec.register_implementation("silent", Silent, clobber=True)
    monkeypatch.setattr(locate, "TIMEOUT", 0.05)
    monkeypatch.setattr(locate, "PAUSES", (0.0, 0.0))
    with pytest.raises(Unreadable, match=r"silent://bucket/x: .*Timeout") as failure:
        locate.read("silent://bucket/x", 0, 10)
    assert failure.value.passing and len(asked) == 3


def test_short_reads_are_truncated(uri: str) -> None:
    with pytest.raises(Unreadable) as failure:
        locate.read(uri, 1000, 1000)
    assert failure.value.status == "truncated"
    assert "1000" in failure.value.reason


@pytest.mark.parametrize("name", ["absent.bin", "folder"])
def test_missing(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    for uri in (str(tmp_path / name), f"file://{tmp_path / name}", f"memory://nowhere/{name}"):
        with pytest.raises(Unreadable) as failure:
            locate.read(uri, 0, 10)
        assert failure.value.status == "missing"


@pytest.mark.parametrize("uri", ["relative/a.jpg", "~/a.jpg", "", "a\0b", "simplecache::memory://locate/x"])
def test_uris_are_literal(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "relative").mkdir()
    (tmp_path / "relative" / "a.jpg").write_bytes(b"x")
    with pytest.raises(Unreadable) as failure:
        locate.read(uri)
    assert failure.value.status == "missing"


def test_wrong_requests_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="negative"):
        locate.read(str(tmp_path / "x"), -1, 5)
    with pytest.raises(BadInput, match="nosuchscheme"):
        locate.read("nosuchscheme://bucket/x")


def test_a_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unreadable, match="regular"):
        locate.read(str(tmp_path / "pipe"))


def test_a_replaced_file_is_read_anew(tmp_path: Path) -> None:
    tar = tmp_path / "a.tar"
    tar.write_bytes(b"old bytes")
    assert locate.read(str(tar), 4, 5) == b"bytes"
    (tmp_path / "new").write_bytes(b"new BYTES")
    (tmp_path / "new").rename(tar)
    assert locate.read(str(tar), 4, 5) == b"BYTES"
    tar.unlink()
    with pytest.raises(Unreadable):
        locate.read(str(tar), 4, 5)


def test_open_files_stay_few_and_threads_read_their_own(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.tar" for n in range(2 * local.MAX_OPEN_FILES)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 100)
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else None
    wrong: list[int] = []

    def work() -> None:
        for _ in range(3):
            wrong.extend(
                n for n, path in enumerate(paths) if locate.read(str(path), 10, 20) != bytes([n]) * 20
            )

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    if before is not None:
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + local.MAX_OPEN_FILES


@given(offset=st.integers(0, len(CONTENT) + 50), length=st.integers(0, len(CONTENT) + 50))
def test_any_range(tmp_path_factory: pytest.TempPathFactory, offset: int, length: int) -> None:
    path = tmp_path_factory.getbasetemp() / "ranges.bin"
    path.write_bytes(CONTENT)
    if offset + length <= len(CONTENT):
        assert locate.read(str(path), offset, length) == CONTENT[offset : offset + length]
    else:
        with pytest.raises(Unreadable) as failure:
            locate.read(str(path), offset, length)
        assert failure.value.status == "truncated"
