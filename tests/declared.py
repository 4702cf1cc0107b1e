"""What pyproject.toml declares, and what of it is installed here."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
OURS = canonicalize_name(PROJECT["name"])


def names(requirements: list[str]) -> set[str]:
    """The distributions that are listed, without Lens's own other extras."""
    return {canonicalize_name(Requirement(text).name) for text in requirements} - {OURS}


BASE = names(PROJECT["dependencies"])
EXTRAS = {extra: names(listed) for extra, listed in PROJECT["optional-dependencies"].items()}


def distributions() -> dict[str, set[str]]:
    """Top-level module -> the installed distributions that hold it."""
    return {module: set(map(canonicalize_name, held)) for module, held in packages_distributions().items()}


def beyond_the_base() -> set[str]:
    """The top-level modules installed here that `pip install lens-t2i` alone would not bring."""
    brought, waiting = set(), set(BASE)
    while waiting:
        name = waiting.pop()
        brought.add(name)
        try:
            listed = map(Requirement, requires(name) or ())
        except PackageNotFoundError:  # of another platform
            continue
        needed = {canonicalize_name(one.name) for one in listed if not one.marker or one.marker.evaluate()}
        waiting |= needed - brought
    tools = {"pip", "setuptools", OURS}
    return {module for module, held in distributions().items() if not held & (brought | tools)}
