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
    "sql": {"sql"},
    "catalog": {"sql", "catalog"},
    "lensdata": {"sql", "catalog", "lensdata"},
    "lensmodel": {"sql", "catalog", "lensmodel"},
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
    ids=" ".join,
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
