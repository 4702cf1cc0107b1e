"""A run's row in the catalog: what was trained on which manifest, with which settings and code."""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path

import catalog
from catalog.errors import LensError
from catalog.manifest import Manifest
from catalog.notices import say
from catalog.store.database import DATABASE, Statement
from lensmodel.settings import Settings, plain


def record_run(root: Path, manifest: Manifest, settings: Settings, out: Path) -> str | None:
    """Enter a start (or resume) of the run in `out` into the catalog at `root`; its run_id.

    Training needs no catalog, so without one nothing is recorded, and one that cannot be written is said and passed
    over: None.
    """
    if not (root / DATABASE).is_file():
        return None
    run_id = uuid.uuid4().hex
    row = {
        "run_id": run_id,
        "manifest": manifest.name,
        "config": json.dumps(plain(settings), sort_keys=True),
        "git_commit": git_commit(),
        "out": str(out.absolute()),
    }
    try:
        catalog.open(root).commit("run", f"run-{run_id}", 1, [Statement("catalog/run_add", row)])
    except LensError as error:
        say(f"warning: this run is not recorded in {root}: {error}")
        return None
    return run_id


def git_commit() -> str | None:
    """The commit of the code that runs, with "+" if files differ from it; None outside a git checkout."""
    here = Path(__file__).parent
    try:
        head = _git(here, "rev-parse", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")


def _git(where: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(where), *arguments], capture_output=True, text=True, timeout=20, check=True
    )
    return done.stdout.strip()
