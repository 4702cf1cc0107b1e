"""A wheel built from the tree works where nothing of the tree can be seen."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHECK = """
import catalog, catalog.taxonomy, sql, lensdata, lensmodel, sys, tempfile
assert all(sys.prefix in m.__file__ for m in (catalog, sql, lensdata, lensmodel)), sql.__file__
assert statements.migrations() and statements.views() and statements.queries()
assert len(catalog.taxonomy.load().categories) == 10
opened = catalog.open(tempfile.mkdtemp() + "/c")
assert opened.sql("FROM funnel").height == 11
print("found everything")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    # Without isolation the build uses the hatchling of the dev extra, so it needs no index.
    line = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return next(out.glob("*.whl"))


def test_the_wheel_holds_what_is_not_python(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for path in ("sql/schema/0001_tables.sql", "sql/views/20_trainable.sql", "catalog/taxonomy.json",
                 "lensdata/models/light_heads.safetensors", "lensdata/report/templates/style.css",
                 "lensdata/report/templates/page.html.j2"):  # fmt: skip
        assert path in names
    assert not [name for name in names if name.startswith(("tests/", "scripts/", "docs/"))]


@pytest.mark.slow
def test_it_works_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    """With every dependency that the wheel asks for, and nothing else."""
    venv.create(tmp_path / "clean", with_pip=True)
    python = tmp_path / "clean" / "bin" / "python"
    constraints = ROOT / "scripts" / "constraints.txt"
    line = [
        str(python),
        "-m",
        "pip",
        "install",
        "-q",
        "-c",
        str(constraints),
        f"lens-t2i[cpu] @ {wheel.as_uri()}",
    ]
    subprocess.run(line, check=True, timeout=1800)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for line, expected in (
        ([str(python), "-c", CHECK], "found everything"),
        ([str(python.with_name("lensdata")), "--help"], "build-shards"),
        ([str(python.with_name("lensmodel")), "--help"], "train"),
    ):
        done = subprocess.run(
            line, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
        )
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
