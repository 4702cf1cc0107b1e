"""What is no source is refused with what to do instead."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

import catalog
from catalog.errors import BadInput
from lensdata.ask import find
from lensdata.sources import Survey, open
from lensdata.sources.choose import parse
from tests.helpers import png


def test_a_web_address_without_an_answer() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and nobody listens
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/x"
        with pytest.raises(BadInput, match=rf"nothing at {url}, or no answer .* put it into a list"):
            open(url)


def test_one_image_of_this_disk_or_a_store(tmp_path: Path, memory) -> None:
    path = tmp_path / "p.JPG"
    path.write_bytes(png(1))
    with pytest.raises(BadInput, match=rf"p.JPG is one image; name its folder, {tmp_path}, or a pattern"):
        open(path)
    memory.pipe("/b/p.png", png(1))
    with pytest.raises(BadInput, match="is one image; name its folder, memory://b, or a pattern"):
        open("memory://b/p.png")
    assert [item.uri for item in open(tmp_path / "p.JP[G]").list(Survey(), tmp_path)] == [str(path)]


@pytest.mark.parametrize("rest", ["xx", "x" * 100_000])
def test_a_data_uri_is_an_image_and_no_place(rest: str) -> None:
    with pytest.raises(BadInput, match=r"^data:image/png;base64,x.* is an image itself") as caught:
        parse(f"data:image/png;base64,{rest}")
    assert len(str(caught.value)) < 300


def test_a_folder_may_be_called_like_one(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data:a,b").mkdir()
    assert parse("data:a,b") == Path("data:a,b")


def test_no_image_is_looked_for_by_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="the image to look for is empty; give an id, a path or a URL"):
        find(catalog.open(tmp_path / "catalog"), "")
