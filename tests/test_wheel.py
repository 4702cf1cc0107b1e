"""What is built from the tree - sdist, wheel, editable wheel - has what it should, and works where nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import fill

ROOT = Path(__file__).resolve().parent.parent
HOUSE = ("catalog", "lensdata", "lensmodel")
CHECK = """
import catalog, catalog.metrics, catalog.taxonomy, importlib.util, lensdata, lensmodel, sys, tempfile
from catalog.store import statements
assert all(module.__file__.startswith(sys.prefix) for module in (catalog, lensdata, lensmodel)), catalog.__file__
assert str(statements.ROOT).startswith(sys.prefix), statements.ROOT
assert importlib.util.find_spec("sql") is None  # its name is another project's, too
assert statements.versions() and statements.queries()
rules = catalog.metrics.rules()
assert catalog.open(tempfile.mkdtemp() + "/c").sql("FROM funnel").height == len(rules)
assert len(catalog.taxonomy.load().categories) == 10
for name in ("torch", "faiss", "transformers", "ray"):
    assert importlib.util.find_spec(name) is None, name
print("found everything")
"""


def build(out: Path, code: str) -> Path:
    """Run a function of hatchling in the tree; the file it makes in `out`. No index is needed."""
    line = [
        sys.executable,
        "-c",
        f"import hatchling.build, sys; print(hatchling.build.{code}(sys.argv[1]))",
        str(out),
    ]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel, the wheel made of what the sdist holds."""
    out = tmp_path_factory.mktemp("built")
    # Without isolation the build uses the hatchling of the dev extra, so it needs no index.
    line = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return out


def test_the_wheel_holds_what_is_not_python(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    files = [path for package in HOUSE for path in (ROOT / package).rglob("*") if path.is_file()]
    data = [path.relative_to(ROOT) for path in files if path.suffix not in (".py", ".pyc")]
    statements = [path.relative_to(ROOT) for path in (ROOT / "sql").rglob("*.sql")]
    assert len(statements) > 50 and len(data) > 5
    for path in (*map(str, data), *(f"catalog/{path}" for path in statements)):
        assert path in names
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == set(HOUSE)


def test_the_sdist_holds_what_the_tests_need(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    for path in ("pyproject.toml", "README.md", "LICENSE", "sql/schema/0001_tables.sql", "tests/test_wheel.py",
                 "scripts/_setup.sh", "scripts/constraints.txt", "docs/sources.md", "catalog/__init__.py"):  # fmt: skip
        assert path in names
    assert not [name for name in names if name.startswith(".venv")]


def test_an_editable_installation_is_the_checkout(tmp_path: Path) -> None:
    wheel = zipfile.ZipFile(build(tmp_path, "build_editable"))
    names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert len(names) == 1 and names[0].endswith(".pth")  # and no copy of sql/ that would grow old
    assert wheel.read(names[0]).decode().split() == [str(ROOT)]


@pytest.fixture(scope="module")
def small(
    built: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A command in an environment where `pip install lens-t2i` was all, without a compiler and without a cache."""
    folder = tmp_path_factory.mktemp("small")
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / "bin"
    plain = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "LENS_CATALOG")}
    nothing = {"CC": "/bin/false", "CXX": "/bin/false", "PIP_ONLY_BINARY": ":all:", "PIP_NO_CACHE_DIR": "1"}
    (wheel,) = built.glob("*.whl")
    line = [
        programs / "python",
        "-m",
        "pip",
        "install",
        "-q",
        "-c",
        ROOT / "scripts" / "constraints.txt",
        wheel,
    ]
    subprocess.run(line, check=True, timeout=900, env=plain | nothing)

    def run(name: str, *line: object) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in (programs / name, *line)]
        return subprocess.run(words, capture_output=True, text=True, env=plain, cwd=folder, check=False)

    return run


@pytest.mark.slow
def test_the_small_installation(
    small: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Ingest, query and build-shards in it; a model is one line."""
    done = small("python", "-c", CHECK)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "found everything\n"
    images = fill(tmp_path / "images", 12)
    kept = ("--catalog", tmp_path / "catalog")
    off = [f"--{rule}=none" for rule in ("min-aesthetic", "max-nsfw", "max-watermark", "min-clarity")]
    for line in (
        ("lensdata", *kept, "ingest", images),
        ("lensdata", *kept, "score", "--only", "clarity", "--only", "entropy", "--only", "luminance"),
        ("lensdata", *kept, "caption"),
        ("lensdata", *kept, "bucket"),
        ("lensdata", *kept, "query", "statuses"),
        ("lensdata", *kept, "build-shards", "--out", tmp_path / "shards", "--no-dedup", *off),
        ("lensdata", "verify-shards", tmp_path / "shards"),
        ("lensdata", *kept, "report", "--out", tmp_path / "report.html"),
        ("lensdata", "--help"),
        ("lensmodel", "--help"),
    ):
        done = small(*line)
        assert done.returncode == 0, (line, done.stderr)
    for line, extra in ((("lensdata", *kept, "score"), "score"), (("lensmodel", "plan"), "train")):
        done = small(*line)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert f'pip install "lens-t2i[{extra}]"' in done.stderr
