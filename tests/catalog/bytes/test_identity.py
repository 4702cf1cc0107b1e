"""Bytes are trusted while size and time are those of ingest, and hashed otherwise."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import catalog
from catalog.bytes import identity
from catalog.bytes.identity import same_bytes
from lensdata.ingest import ingest
from tests.helpers import make_tar, png


@pytest.fixture
def known(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """What the catalog knows of images with every kind of sidecar, and of one in a tar; by name."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, name in enumerate(["plain", "text", "both", "upper", "later"]):
        (folder / f"{name}.png").write_bytes(png(number))
    (folder / "text.txt").write_text("a text")
    (folder / "both.txt").write_text("a text")
    (folder / "both.json").write_text('{"caption": "x"}')
    (folder / "upper.TXT").write_text("A TEXT")
    os.utime(folder / "text.png", (1e9, 1e9))  # earlier than its sidecar
    os.utime(folder / "both.txt", (1e9, 1e9))
    os.utime(folder / "both.json", (1e9, 1e9))
    make_tar(folder / "z.tar", [("0.png", png(8)), ("0.txt", b"in a tar"), ("1.png", png(9))])
    opened = catalog.open(tmp_path / "catalog")
    ingest(opened, [folder], workers=1)
    rows = opened.sql("FROM images ORDER BY image_id").to_dicts()
    (folder / "later.txt").write_text("the image is as it was")
    return {
        Path(row["uri"]).stem + (str(row["byte_offset"] // 1024) if "tar" in row["uri"] else ""): row
        for row in rows
    }


def asked(row: dict[str, Any], monkeypatch: pytest.MonkeyPatch, hash_all: bool = False) -> tuple[bool, bool]:
    """Whether the bytes are taken for the same, and whether they were hashed."""
    data = Path(row["uri"]).read_bytes()[row["byte_offset"] :][: row["byte_length"]]
    hashed = []

    def sha256(data: bytes) -> Any:
        hashed.append(data)
        return hashlib.new("sha256", data)

    with monkeypatch.context() as patch:
        patch.setattr(identity.hashlib, "sha256", sha256)
        same = same_bytes(data, row["uri"], row["sha256"], row["file_size"], row["file_mtime_ns"], hash_all)
    return same, bool(hashed)


def test_what_was_not_touched_is_not_hashed(known, monkeypatch) -> None:
    assert len(known) == 7
    for name, row in known.items():
        assert asked(row, monkeypatch) == (True, False), name
        assert asked(row, monkeypatch, hash_all=True) == (True, True), name


def test_a_touched_file_is_hashed_and_is_the_same(known, monkeypatch) -> None:
    for name, row in known.items():
        os.utime(row["uri"])
        assert asked(row, monkeypatch) == (True, True), name


def test_a_changed_file_is_another(known, monkeypatch) -> None:
    for name in ("plain", "text", "both", "upper"):
        path = Path(known[name]["uri"])
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        assert asked(known[name], monkeypatch) == (False, True), name


def test_a_changed_sidecar_is_reason_to_hash(known, monkeypatch) -> None:
    Path(known["text"]["uri"]).with_suffix(".txt").write_text("another text")
    assert asked(known["text"], monkeypatch) == (True, True)


def test_a_copy_with_its_time_kept_is_told_by_its_size(known, monkeypatch, tmp_path: Path) -> None:
    row = known["plain"]
    (tmp_path / "longer").write_bytes(Path(row["uri"]).read_bytes() + b"more")
    shutil.copystat(row["uri"], tmp_path / "longer")
    shutil.copy2(tmp_path / "longer", row["uri"])
    row = {**row, "byte_length": row["byte_length"] + 4}
    assert asked(row, monkeypatch) == (False, True)


@pytest.mark.parametrize("facts", [(None, None), (0, 5), (77, None)])
def test_without_facts_bytes_are_hashed(tmp_path: Path, facts) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"data")
    assert same_bytes(b"data", str(path), hashlib.sha256(b"data").hexdigest(), *facts)
    assert not same_bytes(b"data", str(path), "0" * 64, *facts)
    assert not same_bytes(b"data", "s3://bucket/x", "0" * 64, 4, path.stat().st_mtime_ns)
    assert not same_bytes(b"data", str(tmp_path / "gone"), "0" * 64, 4, path.stat().st_mtime_ns)
