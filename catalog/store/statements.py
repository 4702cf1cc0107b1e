"""The one reader of sql/, where every SQL statement of the project stands as a file.

schema/      numbered migrations of the catalog, applied in order and never edited once released
views/       the analysts' surface: views over the tables, re-created whenever they are not the present ones
queries/     named queries for `lensdata query NAME`, each with a first comment line that says what it answers
statements/  what the code itself runs, a folder a stage

A file may be a Jinja template: `metrics` are those of the registry (catalog.metrics), so that a list of columns is
written by a loop; further slots are filled by whoever runs it. Values never go into a text: they are `$parameters`.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from catalog import metrics

_PACKAGED = Path(__file__).parent.parent / "sql"  # in an installed wheel
ROOT = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "sql"  # in a checkout


def statement(name: str, /, **slots: Any) -> str:
    """The text of `statements/NAME.sql`, such as `score/part`, its slots filled. Raises KeyError if there is none."""
    return _filled(_read("statements", name), slots)


def query(name: str) -> str:
    """The text of the named query `queries/NAME.sql`. Raises KeyError if there is none."""
    return _filled(_read("queries", name), {})


@cache
def queries() -> dict[str, str]:
    """Name -> what it answers (the first comment line), of every named query."""
    return {
        path.stem: path.read_text(encoding="utf-8").splitlines()[0].removeprefix("--").strip()
        for path in sorted((ROOT / "queries").glob("*.sql"))
    }


@cache
def versions() -> tuple[int, ...]:
    """The numbers of all migrations, in order."""
    return tuple(int(path.name.split("_", 1)[0]) for path in _files("schema"))


def migration(version: int, **slots: Any) -> str:
    """The text of one migration."""
    path = next(path for path in _files("schema") if int(path.name.split("_", 1)[0]) == version)
    return _filled(path.read_text(encoding="utf-8"), slots)


def views(**slots: Any) -> list[str]:
    """The texts of the views in the order in which they may refer to one another."""
    return [_filled(text, slots) for text in _view_texts()]


def views_key(**slots: Any) -> str:
    """A digest of what `views` gives for the same slots, without rendering them."""
    return hashlib.sha256(
        repr((_view_texts(), metrics.rules(), metrics.DEFAULTS, sorted(slots.items()))).encode()
    ).hexdigest()


@cache
def _files(folder: str) -> tuple[Path, ...]:
    return tuple(sorted((ROOT / folder).glob("*.sql")))


@cache
def _view_texts() -> tuple[str, ...]:
    return tuple(path.read_text(encoding="utf-8") for path in _files("views"))


@cache
def _read(kind: str, name: str) -> str:
    path = ROOT / kind / f"{name}.sql"
    plain = all(part.replace("_", "").replace("-", "").isalnum() for part in name.split("/"))
    if not plain or not path.is_file():
        raise KeyError(f"there is no sql/{kind}/{name}.sql")
    return path.read_text(encoding="utf-8")


def _filled(text: str, slots: dict[str, Any]) -> str:
    if "{{" not in text and "{%" not in text:
        return text
    return str(_template(text).render(metrics=metrics.METRICS, rules=metrics.rules(), **slots))


@cache
def _template(text: str) -> Any:
    import jinja2  # here, since most texts need none

    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(text)
