"""The house rules that a machine can check: imports run one way, and SQL stands in sql/ alone."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import catalog
from catalog.taxonomy import load as load_taxonomy

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "catalog": {"catalog"},
    "lensdata": {"catalog", "lensdata"},
    "lensmodel": {"catalog", "lensmodel"},
}
SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+INTO|CREATE\s+(TABLE|VIEW|OR)|MERGE\s+INTO|DELETE\s+FROM|UPDATE\s.+\sSET)\b",
    re.S,
)


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_one_way(package: str) -> None:
    for path in modules(package):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} has a relative import"
                names = [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                assert top not in MAY_IMPORT or top in MAY_IMPORT[package], f"{path} imports {name}"


@pytest.mark.parametrize("package", ["catalog", "lensdata", "lensmodel"])
def test_sql_stands_in_the_sql_folder(package: str) -> None:
    for path in modules(package):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {ast.get_docstring(n, clean=False) for n in ast.walk(tree)
                if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)}  # fmt: skip
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in docs:
                example = "lensdata query" in node.value or "Example" in node.value
                assert example or not SQL.search(node.value), f"{path}:{node.lineno} holds SQL"


def rooms() -> dict[str, int]:
    """The drawing of docs/architecture.md: a path without its ending -> its floor."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    return {name: int(floor) for floor, name in re.findall(r"^\| (\d+) \| `([\w/]+)` \|", text, re.M)}


def room_of(path: str, drawn: dict[str, int]) -> str | None:
    return next((room for room in drawn if path == room or path.startswith(f"{room}/")), None)


def imported(path: Path) -> set[str]:
    """Paths without endings of what a file imports of ours, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            place = name.replace(".", "/")
            exists = (ROOT / f"{place}.py").is_file() or (ROOT / place / "__init__.py").is_file()
            found.add(place if exists else place.rpartition("/")[0])
    return {place for place in found if place.partition("/")[0] in ("catalog", "lensdata")}


def test_the_drawing_of_the_house_is_true() -> None:
    """Every file has a room, every room a file, and what a room imports stands on a lower floor."""
    drawn = rooms()
    used, wrong = set(), []
    for package in ("catalog", "lensdata"):
        for path in modules(package):
            at = str(path.relative_to(ROOT).with_suffix("")).removesuffix("/__init__")
            if at in ("catalog", "lensdata"):
                continue
            room = room_of(at, drawn)
            assert room, f"docs/architecture.md does not draw {at}"
            used.add(room)
            for other in {room_of(place, drawn) for place in imported(path)} - {None, room}:
                if drawn[other] >= drawn[room]:  # type: ignore[index]
                    wrong.append(f"{at} imports {other}")
    assert not wrong
    assert used == set(drawn)


def test_no_circles_between_files() -> None:
    """Also not by imports within functions."""
    edges: dict[str, set[str]] = {}
    for package in ("catalog", "lensdata"):
        for path in modules(package):
            at = str(path.relative_to(ROOT).with_suffix("")).removesuffix("/__init__")
            edges[at] = imported(path) - {at, "catalog"}  # `catalog` itself loads nothing before it is asked
    done: set[str] = set()

    def visit(at: str, above: tuple[str, ...]) -> None:
        assert at not in above, f"a circle: {' -> '.join((*above[above.index(at) :], at))}"
        if at not in done:
            for other in sorted(edges.get(at, ())):
                visit(other, (*above, at))
            done.add(at)

    for at in sorted(edges):
        visit(at, ())


def test_the_catalog_prints_nothing() -> None:
    """It raises, returns and tells `notices`; what prints is the commands'."""
    for path in modules("catalog"):
        if path.name == "console.py":
            continue
        assert "catalog/console" not in imported(path), path
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"), path
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", "")}
                assert not names & {"click", "tqdm"}, path


def test_help_does_not_import_the_heavy_libraries() -> None:
    code = (
        "import sys\n"
        "import lensdata.cli, lensmodel.cli\n"
        "heavy = {'torch', 'transformers', 'diffusers', 'faiss', 'onnxruntime', 'cv2'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


HEAVY = {
    "pyarrow",
    "numpy",
    "torch",
    "cv2",
    "PIL",
    "jinja2",
    "tqdm",
    "fsspec",
    "webdataset",
    "multiprocessing",
}


@pytest.mark.parametrize(
    ("line", "also"),
    [
        (["--help"], {"polars", "duckdb"}),
        (["build-shards", "--help"], {"polars", "duckdb"}),
        (["query"], {"catalog.select"}),
        (["query", "SELECT 1"], {"catalog.select"}),
        (["query", "sources"], {"catalog.select"}),
        (["build-shards", "--out", "shards"], {"cv2"}),
    ],
    ids=lambda given: " ".join(sorted(given) if isinstance(given, set) else given),
)
def test_commands_load_no_more_than_they_need(
    filled: catalog.Catalog, line: list[str], also: set[str]
) -> None:
    """What takes a tenth of a second to import is left alone by whoever does not need it."""
    heavy = (HEAVY - {"jinja2"} if "--out" in line else HEAVY) | also
    code = (
        "import sys\n"
        "from catalog.console import run_command\n"
        "from lensdata.cli import lensdata\n"
        f"code = run_command(lensdata, 'lensdata', sys.argv[1:])\n"
        f"loaded = {heavy!r} & set(sys.modules)\n"
        "sys.exit(f'imported {loaded}' if loaded else code)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LENS_CATALOG": str(filled.root)}
    done = subprocess.run(
        [sys.executable, "-c", code, *line],
        capture_output=True, text=True, cwd=filled.root.parent, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_taxonomy_ships_with_the_package() -> None:
    assert len(load_taxonomy().categories) == 10
