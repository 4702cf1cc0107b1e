"""Fixtures that many tests share: folders of real image files and small catalogs filled through the real stages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from catalog import console
from tests.helpers import GOOD, fill, set_scores

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# The same commit is judged by the same examples every time. To look for new ones: pytest --hypothesis-profile search
settings.register_profile("fixed", derandomize=True)
settings.register_profile("search", max_examples=2_000, deadline=None)
settings.load_profile("fixed")
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True, scope="session")
def _listening() -> None:
    """Lines and progress are shown as by a command, so that tests can read them from stderr."""
    console.listen()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of twelve captioned pictures: four each of 520x520, 480x640 and 300x300."""
    return fill(tmp_path / "images", 12)


@pytest.fixture
def command(tmp_path: Path):
    """Run `lensdata` or `lensmodel` in a process of its own: command("lensdata", "ingest", ...) -> CompletedProcess."""

    def run(name: str, *args: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "LENS_CATALOG": str(tmp_path / "catalog"),
            "PYTHONPATH": str(ROOT),
            **(env or {}),
        }
        line = [sys.executable, "-m", name, *map(str, args)]
        return subprocess.run(
            line, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return run


def make_catalog(root: Path, images: Path):
    """A catalog of `images` with good scores, captions, buckets, and every image its own keeper."""
    import catalog
    from catalog.store import parts
    from lensdata.bucket import bucket
    from lensdata.caption import FromSource, caption
    from lensdata.ingest import ingest

    opened = catalog.open(root)
    ingest(opened, [images], workers=1)
    set_scores(opened, **GOOD)
    caption(opened, FromSource())
    bucket(opened)
    rows = opened.sql(
        "SELECT image_id, image_id AS keeper_id, 1.0::FLOAT AS similarity, NULL::VARCHAR AS reason FROM images"
    )
    opened.commit_part("dedup", parts.write(opened.root, "dedup", "dedup-test", rows), ["dedup/part"])
    return opened


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled catalog, made once; its pictures are shared and must not be changed."""
    folder = tmp_path_factory.mktemp("template")
    return make_catalog(folder / "catalog", fill(folder / "images", 12)).root


@pytest.fixture
def filled(tmp_path: Path, template: Path):
    """A catalog of twelve pictures, good scores, captions and buckets; a copy, so it may be changed."""
    import catalog

    shutil.copytree(template, tmp_path / "catalog")
    return catalog.open(tmp_path / "catalog")


@pytest.fixture
def filled_own(tmp_path: Path, images: Path):
    """As `filled`, over the test's own pictures in `images`, which may be changed, too."""
    return make_catalog(tmp_path / "catalog", images)
