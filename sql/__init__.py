"""Every SQL statement of the project, as files.

schema/      numbered migrations of the catalog, applied in order and never edited once released
views/       the analysts' surface: views over the tables, re-created whenever a catalog is opened for writing
queries/     named queries for `lensdata query NAME`, each with a first comment line that says what it answers
statements/  what the code itself runs
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parent


@cache
def statement(name: str) -> str:
    """The text of `statements/NAME.sql`. Raises KeyError if there is none."""
    return _read("statements", name)


@cache
def query(name: str) -> str:
    """The text of the named query `queries/NAME.sql`. Raises KeyError if there is none."""
    return _read("queries", name)


@cache
def queries() -> dict[str, str]:
    """Name -> what it answers (the first comment line), of every named query."""
    found = sorted((_ROOT / "queries").glob("*.sql"))
    return {
        path.stem: path.read_text(encoding="utf-8").splitlines()[0].removeprefix("--").strip()
        for path in found
    }


@cache
def migrations() -> tuple[tuple[int, str], ...]:
    """(version, text) of every migration, in order."""
    found = sorted((_ROOT / "schema").glob("*.sql"))
    return tuple((int(path.name.split("_", 1)[0]), path.read_text(encoding="utf-8")) for path in found)


@cache
def views() -> tuple[str, ...]:
    """The texts of the views in the order in which they may refer to one another."""
    return tuple(path.read_text(encoding="utf-8") for path in sorted((_ROOT / "views").glob("*.sql")))


def _read(kind: str, name: str) -> str:
    path = _ROOT / kind / f"{name}.sql"
    if not name.replace("_", "").replace("-", "").isalnum() or not path.is_file():
        raise KeyError(f"there is no sql/{kind}/{name}.sql")
    return path.read_text(encoding="utf-8")
