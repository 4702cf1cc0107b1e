"""Debian packages without root: private package lists, `apt-get download`, `dpkg -x` into a cache folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from catalog.notices import say

UPDATE_SECONDS, DOWNLOAD_SECONDS = 180, 1200


class Unavailable(Exception):
    """The packages cannot be had here; the message says why."""


def unpacked(cache: Path, *names: str) -> Path:
    """The folder that holds the files of the first of the packages `names` that there is
    (`folder/usr/share/...`).

    Downloads and unpacks it into `cache` unless that was done before. Raises Unavailable.
    """
    for name in names:
        if (cache / name).is_dir():
            return cache / name
    for tool in ("apt-get", "dpkg"):
        if not shutil.which(tool):
            raise Unavailable(f"there is no {tool} on this machine")
    _update(cache)
    reason = ""
    for name in names:
        try:
            return _install(cache, name)
        except Unavailable as failure:
            reason = reason or str(failure)
    raise Unavailable(reason)


def _install(cache: Path, name: str) -> Path:
    debs, scratch = cache / ".debs", cache / f".{name}.partial"
    debs.mkdir(parents=True, exist_ok=True)
    say(f"downloading the Debian package {name}")
    _run(["apt-get", *_options(cache), "download", name], DOWNLOAD_SECONDS, cwd=debs)
    found = sorted(debs.glob(f"{name}_*.deb"))
    if not found:
        raise Unavailable(f"apt-get downloaded no {name}")
    shutil.rmtree(scratch, ignore_errors=True)
    _run(["dpkg", "-x", str(found[-1]), str(scratch)], DOWNLOAD_SECONDS)
    scratch.rename(cache / name)
    for deb in found:
        deb.unlink()
    return cache / name


def _update(cache: Path) -> None:
    """Fetch the package lists into the cache, once a run."""
    lists = cache / ".apt" / "lists"
    fresh = cache / ".apt" / f"updated-{os.getpid()}"
    if fresh.exists():
        return
    for folder in (lists / "partial", cache / ".apt" / "cache" / "archives" / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    say("reading the Debian package lists (apt-get update, into a private folder)")
    _run(["apt-get", *_options(cache), "update"], UPDATE_SECONDS)
    for old in (cache / ".apt").glob("updated-*"):
        old.unlink()
    fresh.touch()


def _options(cache: Path) -> list[str]:
    settings = {
        "Dir::State::Lists": cache / ".apt" / "lists",
        "Dir::Cache": cache / ".apt" / "cache",
        "Acquire::Languages": "none",
        "Acquire::Retries": 2,
        "Acquire::http::Timeout": 20,
        # apt would otherwise drop to a user who may not write into the private folders
        "APT::Sandbox::User": "root",
    }
    return ["-qq", *(part for key, value in settings.items() for part in ("-o", f"{key}={value}"))]


def _run(command: list[str], seconds: int, cwd: Path | None = None) -> None:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} did not finish in {seconds} seconds") from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(("E:", "dpkg"))] or lines
        raise Unavailable(errors[0] if errors else f"{command[0]} failed with exit code {done.returncode}")
