"""Batches of pictures and captions, decoded in the background so that the device does not wait."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from catalog import pixels
from catalog.buckets import BY_NAME
from catalog.console import say
from catalog.errors import LensError
from catalog.manifest import Manifest, SampleError
from lensmodel.data import transform
from lensmodel.data.plan import Batch, DataPlan, key_of

PixelSize = Callable[[int, int], tuple[int, int]]


@dataclass(frozen=True)
class LoadedBatch:
    """`pixels` float32 [B, 3, H, W] in [-1, 1]; `captions` None where dropped; `rows` after replacements."""

    number: int
    bucket: str
    rows: list[int]
    pixels: np.ndarray
    captions: list[str | None]


class BadSamples:
    """Samples that could not be used, one JSON line each in `path`; a resumed run does not repeat them."""

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, threading.Lock()
        self.reasons: dict[int, str] = {}

    def read(self) -> None:
        """Know what a run that is being resumed has recorded."""
        for line in self.path.read_text(errors="replace").splitlines() if self.path.exists() else []:
            try:
                entry = json.loads(line)
                self.reasons[entry["image_id"]] = entry["reason"]
            except (ValueError, KeyError, TypeError):
                continue  # a line that a full disk cut

    def add(self, image_id: int, row: int, reason: str) -> None:
        with self._lock:
            if image_id in self.reasons:
                return
            self.reasons[image_id] = reason
            with self.path.open("a") as f:
                f.write(json.dumps({"image_id": image_id, "row": row, "reason": reason}) + "\n")
        say(f"warning: image {image_id} cannot be used and is replaced by the next of its bucket: {reason}")


class Pictures:
    """Reads, decodes, scales and cuts samples. Scaled images stay in memory up to `cache_mb`."""

    def __init__(
        self, manifest: Manifest, pixel_size: PixelSize, seed: int, cache_mb: int, bad: BadSamples
    ) -> None:
        self.manifest, self.seed, self.bad = manifest, seed, bad
        self.image_ids = manifest.samples["image_id"].to_list()
        self.buckets = manifest.samples["bucket"].to_list()
        self._pixel_size = pixel_size
        self._limit = cache_mb << 20
        self._held = 0
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()
        self._failed: dict[int, str] = {}
        self._lock = threading.Lock()

    def target(self, bucket: str) -> tuple[int, int]:
        """(width, height) of a bucket's pictures in pixels."""
        b = BY_NAME[bucket]
        return self._pixel_size(b.width, b.height)

    def covered(self, row: int) -> np.ndarray:
        """The image of `row` scaled to cover its bucket's picture: uint8 [H, W, 3]. Raises SampleError."""
        with self._lock:
            if row in self._failed:
                raise SampleError(self._failed[row])
            if row in self._cache:
                self._cache.move_to_end(row)
                return self._cache[row]
        try:
            image = self._decode(row)
        except SampleError as error:
            with self._lock:
                self._failed[row] = str(error)
            raise
        with self._lock:
            if row not in self._cache and image.nbytes <= self._limit:
                self._cache[row] = image
                self._held += image.nbytes
                while self._held > self._limit:
                    self._held -= self._cache.popitem(last=False)[1].nbytes
        return image

    def _decode(self, row: int) -> np.ndarray:
        target = self.target(
            self.buckets[row]
        )  # a JPEG may come scaled, but never below what covers the target
        decoded = pixels.decode(self.manifest.read(row).image, side=max(target))
        if decoded.rgb is None:
            raise SampleError(f"{decoded.status}: {decoded.reason}")
        return transform.cover(decoded.rgb, *target)

    def picture(
        self, row: int, others: np.ndarray, place: Callable[[int], tuple[float, float]]
    ) -> tuple[int, np.ndarray]:
        """(row used, float32 [3, H, W]) of `row`, or of the first usable row after it in `others`
        (cyclically).

        `place(image_id)` says where to crop. What is skipped is recorded. Raises LensError if no row is
        usable.
        """
        start = int(np.searchsorted(others, row))
        for step in range(len(others)):
            used = int(others[(start + step) % len(others)])
            try:
                image = self.covered(used)
            except SampleError as error:
                self.bad.add(self.image_ids[used], used, str(error))
                continue
            cut = transform.crop(image, *self.target(self.buckets[used]), place(self.image_ids[used]))
            return used, transform.to_unit(cut)
        raise LensError(
            f"no sample of bucket {self.buckets[row]} can be read; see {self.bad.path} "
            "and check with `lensdata verify-shards`"
        )


class Captions:
    """Which caption a sample trains with: dense, brief (at the rate `brief_fraction`) or None (dropped)."""

    def __init__(self, manifest: Manifest, seed: int, brief_fraction: float, dropout: float) -> None:
        self.dense = manifest.samples["caption"].to_list()
        self.brief = (
            manifest.samples["brief"].to_list()
            if "brief" in manifest.samples.columns
            else [None] * len(self.dense)
        )
        self.image_ids = manifest.samples["image_id"].to_list()
        self.seed, self.brief_fraction, self.dropout = seed, brief_fraction, dropout

    def choose(self, epoch: int, row: int) -> str | None:
        """A pure function of (seed, epoch, image id)."""
        draw = key_of("caption", self.seed, epoch, self.image_ids[row])
        if (draw & 0xFFFFFFFF) / 2**32 < self.dropout:
            return None
        brief = self.brief[row]
        return brief if brief and (draw >> 32) / 2**31 < self.brief_fraction else self.dense[row]

    def all(self, rows: np.ndarray) -> list[str]:
        """Every caption that `rows` may train with."""
        captions = [self.dense[row] for row in rows]
        if self.brief_fraction > 0:
            captions += [self.brief[row] for row in rows if self.brief[row]]
        return captions


class Loader:
    """Iterates over `rank`'s batches of a plan from stream position `position` on, without end.

    `workers` threads decode (they release Python's lock while they do), `prefetch` batches ahead. `waited`
    counts the seconds in which the consumer had to wait for a batch. Use as a context manager.
    """

    def __init__(
        self,
        plan: DataPlan,
        pictures: Pictures,
        captions: Captions,
        *,
        position: int = 0,
        rank: int = 0,
        world: int = 1,
        workers: int = 2,
        prefetch: int = 4,
    ) -> None:
        self.plan, self.pictures, self.captions = plan, pictures, captions
        self._next, self._world, self._prefetch = position + rank, world, prefetch
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        self._queue: deque[tuple[Batch, list[Future[tuple[int, np.ndarray]]]]] = deque()
        self.waited = 0.0

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self) -> None:
        batch = self.plan.batch(self._next)
        self._next += self._world
        others = self.plan.members[batch.bucket]

        def place(image_id: int) -> tuple[float, float]:
            return transform.random_place(self.plan.seed, batch.epoch, image_id)

        jobs = [self._pool.submit(self.pictures.picture, int(row), others, place) for row in batch.rows]
        self._queue.append((batch, jobs))

    def __iter__(self) -> Iterator[LoadedBatch]:
        while True:
            while len(self._queue) < self._prefetch:
                self._submit()
            batch, jobs = self._queue.popleft()
            start = time.monotonic()
            done = [job.result() for job in jobs]
            self.waited += time.monotonic() - start
            rows = [row for row, _ in done]
            captions = [self.captions.choose(batch.epoch, row) for row in rows]
            yield LoadedBatch(
                batch.number, batch.bucket, rows, np.stack([image for _, image in done]), captions
            )
