"""WebDataset tars: whose text is whose, and what damaged and odd tars give."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from catalog.bytes.place import facts
from catalog.errors import BadInput
from lensdata.sources import Survey
from lensdata.sources.tar import Tar
from tests.helpers import make_tar
from tests.lensdata.sources.listing import listed

BLOCK = tarfile.BLOCKSIZE


def samples(path: Path) -> tuple[list[tuple[str, str | None, str | None]], str]:
    """(image, text, fields) of each sample by the contents of the members, and what was said."""
    survey = Survey()
    data = path.read_bytes()

    def content(where: tuple[str, int, int] | None) -> str | None:
        return where and data[where[1] : where[1] + where[2]].decode()

    items = [
        (content((i.uri, i.offset, i.length)), content(i.text), content(i.json))
        for i in Tar(path, facts(path)).samples(survey)
    ]
    return items, "\n".join(survey.lines())


def by_name(path: Path, *names: str) -> tuple[list[tuple[str, str | None, str | None]], str]:
    """As `samples`, of a tar whose members contain their own names."""
    return samples(make_tar(path, [(name, name.encode()) for name in names]))


@pytest.mark.parametrize(
    ("names", "samples"),
    [
        (["0.png", "0.txt", "0.negative.txt", "0.mask.png"], [("0.png", "0.txt", None)]),
        (["0.mask.png", "0.negative.txt", "0.txt", "0.png"], [("0.png", "0.txt", None)]),
        (["0.PNG", "0.TXT", "0.JSON"], [("0.PNG", "0.TXT", "0.JSON")]),
        (["b.v2.png", "b.txt", "b.json"], [("b.v2.png", "b.txt", "b.json")]),
        (["b.1.png", "b.1.txt", "b.2.png", "b.2.txt"], [("b.1.png", "b.1.txt", None), ("b.2.png", "b.2.txt", None)]),
        (["a.jpg", "a.txt", "a.jpg", "a.txt"], [("a.jpg", "a.txt", None)] * 2),
        (["x/a.jpg", "y/a.txt"], [("x/a.jpg", None, None)]),
        (["a.png", "b.png", "a.txt", "b.txt"], [("a.png", None, None), ("b.png", None, None)]),
        (["x.y/a.png", "x.y/a.txt"], [("x.y/a.png", "x.y/a.txt", None)]),
        (["._a.png", "a.png", "plain"], [("a.png", None, None)]),
        (["a.png.bak", "a.mp4"], []),
    ],
)  # fmt: skip
def test_the_members_of_a_sample(tmp_path: Path, names: list[str], samples: list) -> None:
    assert by_name(tmp_path / "s.tar", *names)[0] == samples


def test_what_is_passed_over_is_said(tmp_path: Path) -> None:
    said = by_name(tmp_path / "s.tar", "a.png", "a.mask.png", "a.png", "a.cls", "b.txt", "._c.png")[1]
    assert "masks?" in said
    assert "keys that occur twice in a tar (each is taken for a sample): 1 " in said
    assert "neither image" in said
    assert "texts in tars apart from any image" in said
    assert "without a key or extension" in said


def test_names_that_would_lead_out_of_a_folder_are_said_and_lead_nowhere(tmp_path: Path) -> None:
    names = ["../out.png", "/root.png", "a/../../b.png", "..png.png", "fine.png"]
    (tmp_path / "in").mkdir()
    path = make_tar(tmp_path / "in" / "t.tar", [(name, b"image") for name in names])
    survey = Survey()
    assert {item.uri for item in Tar(path, facts(path)).samples(survey)} == {str(path)}
    assert "lead out of a folder (read in place): 3 (such as" in "\n".join(survey.lines())
    assert [p.name for p in tmp_path.rglob("*.png")] == []


def test_links_and_sparse_members_are_counted(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "s.tar", [("a.png", b"image")])
    with tarfile.open(path, "a") as tar:
        for name, kind in (
            ("hard.png", tarfile.LNKTYPE),
            ("soft.png", tarfile.SYMTYPE),
            ("p.png", tarfile.FIFOTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "a.png"
            tar.addfile(member)
    items, said = samples(path)
    assert items == [("image", None, None)]
    assert "links, sparse and special members of tars passed over: 3" in said


def header(name: str, size: bytes) -> bytes:
    """A ustar header with a size field as given and a right checksum."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


SIZES = {
    "vast": b"\x80" + b"\x7f" * 11,
    "beyond the file": b"\x80" + (2**44).to_bytes(11, "big"),
    "negative": b"\xff" * 11 + b"\x00",
    "no number": b"octopus here",
}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("first", [True, False])
def test_damaged_sizes_end_the_tar_and_not_the_job(tmp_path: Path, size: bytes, first: bool) -> None:
    whole = make_tar(tmp_path / "w.tar", [("a.png", b"image")]).read_bytes()[: 2 * BLOCK]
    path = tmp_path / "s.tar"
    path.write_bytes((b"" if first else whole) + header("b.png", size) + bytes(4 * BLOCK))
    survey = Survey()
    items = list(Tar(path, facts(path)).samples(survey))
    assert [item.offset for item in items][: 1 - first] == [BLOCK][: 1 - first]
    assert len(items) <= 2 - first
    assert len(survey.lines()) == 1


def test_a_damaged_header_in_the_middle_is_said(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "s.tar", [("a.png", b"1"), ("b.png", b"2"), ("c.png", b"3")])
    data = bytearray(path.read_bytes())
    data[2 * BLOCK + 150] ^= 255
    path.write_bytes(data)
    items, said = samples(path)
    assert len(items) == 1
    assert "break off at a damaged header" in said


def test_two_tars_in_one_file_are_said(tmp_path: Path) -> None:
    one = make_tar(tmp_path / "1.tar", [("a.png", b"1")]).read_bytes()
    (tmp_path / "s.tar").write_bytes(one + one)
    assert "go on after their end mark" in samples(tmp_path / "s.tar")[1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (gzip.compress(b"x" * 9999, mtime=0), "compressed with gzip; decompress it first"),
        (bytes(range(256)) * 40, "is not a tar"),
        (bytes(10240), "without a member"),
    ],
)
def test_what_is_no_tar_is_refused_by_what_it_is(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "s.TAR"
    path.write_bytes(data)
    with pytest.raises(BadInput, match=message) as caught:
        listed(path)
    assert "\n" not in str(caught.value)
    survey = Survey()
    assert (
        list(Tar(path, facts(path)).samples(survey)) == []
    )  # one of many in a folder: said, and the job goes on
    assert message in survey.lines()[0]


def test_a_tar_without_images_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "s.tar", [("a.txt", b"text")])
    with pytest.raises(BadInput, match="holds no image; texts in tars"):
        listed(path)


def test_member_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w", errors="surrogateescape") as tar:
        for name in ("\udcff.png", "\udcff.txt", "\udcff.cls"):
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
    items, said = samples(path)
    assert items == [("x", "x", None)]
    assert said.isprintable()
