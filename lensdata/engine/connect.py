"""Joining a Ray cluster, or starting one on this machine, quietly; and what must be the same on all its nodes."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import socket
import sys
import threading
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from catalog import extras
from catalog.errors import BadInput, LensError, one_line
from catalog.notices import say
from catalog.store import statements

SOURCE = Path(__file__).resolve().parents[2]
ANSWER_SECONDS = 10.0
PACKAGES = ("catalog", "lensdata")
# These decide pixels, scores and files. Ray itself refuses another version of Python or of Ray.
LIBRARIES = ("numpy", "pillow", "opencv-python", "simplejpeg", "torch", "onnxruntime", "polars", "pyarrow")


def connect(address: str | None, cpus: int | None = None) -> Any:
    """The module `ray`, connected; a connection that this process has already is used as it is.

    Without an `address` it is RAY_ADDRESS, else the cluster that `ray start` began on this machine, else a cluster of
    our own with `cpus` places, which ends with this process. Raises BadInput if the cluster cannot be joined.
    """
    extras.require("cluster", "--engine ray")
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        return sys.modules["ray"]
    if address is None or address == "auto":
        address = os.environ.get("RAY_ADDRESS") or ("auto" if address or _begun_here() else "local")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == "local":
        _prepare_own()
    import ray

    if address != "local":
        _require_answer(ray, address)
    before = signal.getsignal(signal.SIGTERM)
    own: dict[str, Any] = {"num_cpus": cpus, "include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **own)
    except Exception as error:
        if address == "local":
            raise LensError(f"Ray did not start on this machine: {one_line(error)}") from None
        raise BadInput(
            f"the Ray cluster at {address} cannot be joined: {one_line(error)}; "
            "is it running, with the same versions of Python and Ray? (--ray-address local starts one here)"
        ) from None
    _hush(ray, before)
    found = ray.cluster_resources()
    size = f"{found.get('CPU', 0):g} CPUs, {found.get('GPU', 0):g} GPUs, {len(ray.nodes())} node(s)"
    what = "started a cluster on this machine" if address == "local" else f"joined the cluster at {address}"
    say(f"ray: {what}: {size}")
    return ray


def _begun_here() -> str | None:
    """Address of the cluster of which `ray start` has left word on this machine (`ray stop` takes it away)."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        return Path(folder, "ray", "ray_current_cluster").read_text().strip() or None
    except OSError:
        return None


def _require_answer(ray: Any, address: str) -> None:
    """Raise BadInput if nobody listens at `address`: Ray would try for more than ten minutes."""
    found = _begun_here() if address == "auto" else address
    if found is None:
        raise BadInput(
            "no Ray cluster was started on this machine; run `ray start --head`, or name its HOST:PORT"
        )
    host, _, port = found.rpartition(":")
    if not (host and port.isdecimal()) or "/" in host:
        raise BadInput(f"--ray-address is HOST:PORT, auto or local, not {found}")
    if host in ("localhost", "127.0.0.1"):
        host = ray.util.get_node_ip_address()  # as Ray will
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise BadInput(
            f"no Ray cluster answers at {found} ({one_line(error)}); give --ray-address HOST:PORT of its head, "
            "or local to start one here"
        ) from None


def _prepare_own() -> None:
    """Settings of a cluster of our own, which Ray reads when it is imported.

    It listens on loopback alone and asks for a token that only this process and its children know. Out of memory, the
    kernel ends the process that took it, whose item is then known; Ray would end the actor above it.
    """
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
    if not os.environ.keys() & {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(16).hex()}


def _hush(ray: Any, before: Any) -> None:
    """Ray prints notices of dead workers to stdout, where --json must stand alone, and a stack when it is terminated;
    it has no option against either. `before` is who handled SIGTERM; nobody: leave in order, as Ray does."""
    ray._private.worker._worker_logs_enabled = False
    if threading.current_thread() is threading.main_thread():
        unhandled = before in (None, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, (lambda *_: sys.exit(128 + signal.SIGTERM)) if unhandled else before)


@cache
def installed() -> dict[str, str]:
    """What decides a stage's results on a machine: a digest of this code, and the versions of libraries."""
    digest = hashlib.sha256()
    for folder in (statements.ROOT, *(SOURCE / package for package in PACKAGES)):
        for path in sorted(folder.rglob("*")):
            # a wheel has sql/ inside catalog/, a checkout beside it
            twice = folder != statements.ROOT and path.is_relative_to(statements.ROOT)
            if path.is_file() and not twice and path.suffix != ".pyc" and not path.name.startswith("."):
                digest.update(f"{folder.name}/{path.relative_to(folder)}\n".encode() + path.read_bytes())
    found = {"lens-t2i (digest of its files)": digest.hexdigest()[:12]}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "(not installed)"
    return found
