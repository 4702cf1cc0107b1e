"""Finding a model's files: a hub's cache, a hub that does not answer, a head by URL."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from catalog.errors import LensError
from lensdata.models.choice import Choice
from lensdata.models.paper import checkpoint
from lensdata.models.paper.models import Found, PaperModel, resolve
from tests.helpers import picture
from tests.lensdata.models import tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "somebody/marks"


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache as a download leaves it: REPO at COMMIT, to which `main` points. The hub itself is away."""
    cache = tmp_path / "hub"
    snapshot = cache / f"models--{REPO.replace('/', '--')}" / "snapshots" / COMMIT
    tiny.watermark(snapshot)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return snapshot


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_a_hub_id_is_scored_under_its_commit(cached: Path, revision: str) -> None:
    found = resolve("watermark", Choice(REPO, revision, device="cpu", dtype="float32"))
    assert (found.identity.name, found.identity.revision) == (REPO, COMMIT)
    assert found.identity.tier == "custom"
    image = np.asarray(picture(0))
    local = resolve("watermark", Choice(str(cached), device="cpu", dtype="float32"))
    np.testing.assert_array_equal(PaperModel(found).run([image]), PaperModel(local).run([image]))


def test_a_worker_on_another_machine_takes_the_same_commit(
    cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = resolve("watermark", Choice(REPO, "main", device="cpu", dtype="float32"))
    sent = pickle.dumps(found)
    expected = PaperModel(found).run([np.asarray(picture(0))])
    elsewhere = tmp_path / "elsewhere"
    shutil.move(tmp_path / "hub", elsewhere)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(elsewhere))
    there: Found = pickle.loads(sent)
    assert not there.checkpoint.folder.exists()
    np.testing.assert_array_equal(PaperModel(there).run([np.asarray(picture(0))]), expected)


def test_the_hubs_silence_is_one_line_that_says_what_to_do(cached: Path) -> None:
    for choice in (Choice("nobody/nothing", "main"), Choice(REPO, "v2")):
        with pytest.raises(
            LensError, match=r"from the hub .*model = \"/models/eva\".*--models FILE"
        ) as caught:
            resolve("watermark", choice)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 1
    (cached / "model.safetensors").unlink()
    with pytest.raises(LensError, match=r"cannot get .* of somebody/marks from the hub"):
        resolve("watermark", Choice(REPO, "main"))


def test_ids_need_no_heavy_import(tmp_path: Path) -> None:
    tiny.watermark(tmp_path / "watermark")
    tiny.clip(tmp_path / "clip")
    (tmp_path / "models.toml").write_text('watermark = "./watermark"\nembedding = "./clip"\n')
    code = (
        "import sys; from lensdata.models import plan; "
        "found = plan(sys.argv[1], {'watermark', 'embedding'}); print(*found.ids.values()); "
        "assert not {'torch', 'transformers', 'open_clip', 'onnxruntime'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "models.toml"], capture_output=True, text=True, check=True
    )
    assert "custom/siglip-watermark@" in done.stdout and "custom/open-clip@" in done.stdout


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A local web server over tmp_path/site."""
    (tmp_path / "site").mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=os.fspath(tmp_path / "site"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_head_by_url_is_fetched_once(tmp_path: Path, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tiny.siglip(tmp_path / "siglip")
    head = tmp_path / "siglip" / "head.pth"
    local = resolve("aesthetic", Choice(str(tmp_path / "siglip"), head=str(head))).identity
    head.rename(tmp_path / "site" / "head.pth")
    choice = Choice(str(tmp_path / "siglip"), head=f"{site}/head.pth", device="cpu", dtype="float32")
    fetched = resolve("aesthetic", choice)
    assert fetched.identity == local
    (tmp_path / "site" / "head.pth").unlink()
    assert resolve("aesthetic", choice) == fetched
    assert PaperModel(fetched).run([np.asarray(picture(0))]).shape == (1,)
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(LensError, match=r"cannot get http.*404.*head = \"/models/head.pth\""):
        resolve("aesthetic", choice)
    assert not list(tmp_path.rglob("*.tmp"))


def test_what_is_too_large_to_be_a_head_is_not_kept(
    tmp_path: Path, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(checkpoint, "MOST_HEAD_BYTES", 1 << 20)
    tiny.siglip(tmp_path / "siglip")
    (tmp_path / "site" / "head.pth").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(LensError, match="larger than 1 MB"):
        resolve("aesthetic", Choice(str(tmp_path / "siglip"), head=f"{site}/head.pth"))
    assert not (tmp_path / "cache").exists()


def test_a_heads_query_is_not_told(
    tmp_path: Path, site: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tiny.siglip(tmp_path / "siglip")
    shutil.copy(tmp_path / "siglip" / "head.pth", tmp_path / "site" / "head.pth")
    for name in ("head.pth", "none.pth"):
        url = f"{site}/{name}?token=hunter2{'x' * 300}"  # longer than a file's name may be
        with suppress(LensError):
            resolve("aesthetic", Choice(str(tmp_path / "siglip"), head=url))
        lines = capsys.readouterr().err.splitlines()
        told = [line for line in lines if not line.startswith("127.0.0.1 - ")]  # what the server logs
        assert told == [f"fetching {site}/{name}"]
    [kept] = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert kept.name == "head.pth"
    with pytest.raises(LensError, match="cannot get http") as caught:
        checkpoint._download(f"{site}/none.pth?token=hunter2")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(LensError, match="cannot get http"):
        checkpoint._download("http://[broken/head.pth")
