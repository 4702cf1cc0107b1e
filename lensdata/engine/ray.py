"""Workers on a Ray cluster: actors, each with one process of the local engine, so that items are guarded alike.

The actor is what Ray places, counts and replaces; the process below it is what an image may kill. Should the actor or
its node go, the part is run again elsewhere. Parts are files on storage that all nodes share; only their names travel.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Sequence
from typing import Any

from catalog.errors import BadInput, LensError
from catalog.notices import say
from lensdata.engine import connect
from lensdata.engine.local import Process
from lensdata.engine.task import ATTEMPTS, Died, Ray, Task, Work

TICK = 10.0  # seconds after which the cluster's size is looked at again
LOST = -signal.SIGKILL  # the exit code of a worker whose actor or node is gone: nobody's fault


class Host:
    """The actor: lives on a node of the cluster and keeps a worker process there."""

    def __init__(self, work: Work, item_seconds: float, gpus: float) -> None:
        if not gpus:  # Ray would show it all of them, and every worker would take the same
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self.work, self.item_seconds = work, item_seconds
        self.process: Process | None = None

    def hello(self) -> tuple[str, dict[str, str]]:
        """(the node's name, what is installed on it)."""
        return socket.gethostname(), connect.installed()

    def do(self, task: Task) -> tuple[bool, Any] | Died:
        """What the process below makes of a task, or how it died."""
        if self.process is None:
            self.process = Process(self.work, self.item_seconds)
        self.process.give(task)
        try:
            return self.process.take()
        except Died as death:
            self.process.end()
            self.process = None
            return death


class Hired:
    """The driver's end of an actor."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.task: Task | None = None
        self.started = False
        self.actor = cluster.host.remote(cluster.work, cluster.item_seconds, cluster.gpus)
        self.ref = self.actor.hello.remote()

    def give(self, task: Task) -> None:
        self.task = task
        self.ref = self.actor.do.remote(task)

    def take(self) -> tuple[bool, Any]:
        ray = self.cluster.ray
        try:
            found = ray.get(self.ref)
        except ray.exceptions.RayTaskError as error:
            raise LensError(f"a worker on the Ray cluster failed: {_last_line(error)}") from None
        except ray.exceptions.RayError as error:
            if not self.started:
                self.cluster.stillborn(error)
            raise Died(LOST) from None
        if not self.started:
            self.cluster.welcome(*found)
            self.started = True
            return True, None
        if isinstance(found, Died):
            raise found
        self.task = None
        return found

    def end(self) -> None:
        self.cluster.ray.kill(self.actor)


class Cluster:
    """A Ray cluster as a place of workers: `workers` of them, or as many as it has CPUs (or shares of GPUs)."""

    def __init__(self, work: Work, settings: Ray, workers: int | None, item_seconds: float) -> None:
        self.ray = connect.connect(settings.address, workers)
        self.work, self.item_seconds = work, item_seconds
        self.workers, self.gpus = workers, settings.gpus
        self.host = self.ray.remote(num_cpus=1, num_gpus=settings.gpus, max_restarts=0)(Host)
        self.ours = connect.installed()
        self.failed_starts = 0
        self.told = False
        self.asked, self.places = -TICK, 0
        if workers is None and settings.gpus and not self._resources().get("GPU"):
            raise BadInput(
                "the Ray cluster has no GPU; leave out --gpus-per-worker, or give --workers if nodes are still to come"
            )

    def size(self) -> int:
        if self.workers is not None:
            return self.workers
        if time.monotonic() - self.asked >= TICK:
            self.asked = time.monotonic()
            found = self._resources()
            places = found.get("CPU", 0.0)
            if self.gpus:
                places = min(places, found.get("GPU", 0.0) / self.gpus)
            self.places = max(int(places), 1)
        return self.places

    def hire(self) -> Hired:
        return Hired(self)

    def wait(self, workers: Sequence[Hired]) -> list[Hired]:
        ready, _ = self.ray.wait([worker.ref for worker in workers], num_returns=1, timeout=TICK)
        if not ready and not self.told and not any(worker.started for worker in workers):
            self.told = True
            say(f"ray: waiting for a place on the cluster (1 CPU, {self.gpus:g} GPUs a worker)")
        return [worker for worker in workers if worker.ref in ready]

    def welcome(self, node: str, theirs: dict[str, str]) -> None:
        """Refuse a node that would give other results."""
        self.failed_starts = 0
        for name, version in self.ours.items():
            if theirs.get(name) != version:
                raise BadInput(
                    f"the node {node} has {name} {theirs.get(name)}, this machine {version}; "
                    "install the same packages on every node of the cluster"
                )

    def stillborn(self, error: Exception) -> None:
        """A worker did not start; nodes may go at any time, but not every time."""
        self.failed_starts += 1
        if self.failed_starts >= ATTEMPTS:
            raise LensError(
                f"workers do not start on the Ray cluster: {_last_line(error)}; is lens-t2i installed on every node?"
            )

    def _resources(self) -> dict[str, float]:
        return dict(self.ray.cluster_resources())


def _last_line(error: Exception) -> str:
    """Of Ray's many lines, the one that names the fault."""
    return ([line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__])[-1]
