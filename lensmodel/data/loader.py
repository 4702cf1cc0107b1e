"""Batches of pictures and captions, decoded in the background so that the device does not wait."""

from __future__ import annotations

import functools
import json
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from catalog import pixels
from catalog.buckets import BY_NAME
from catalog.errors import LensError
from catalog.manifest import Manifest, SampleError
from catalog.notices import say
from lensmodel.data import transform
from lensmodel.data.buffers import Buffers
from lensmodel.data.plan import Batch, DataPlan, key_of, keys_of

PixelSize = Callable[[int, int], tuple[int, int]]
OUTAGE = 4  # images in a row that storage does not give, each asked for several times: it is the storage


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
        self._unanswered = 0  # images in a row, of all threads, that storage did not give
        self.stopped = False  # whoever asked for pictures waits for them no more

    def target(self, bucket: str) -> tuple[int, int]:
        """(width, height) of a bucket's pictures in pixels."""
        b = BY_NAME[bucket]
        return self._pixel_size(b.width, b.height)

    def covered(self, row: int, asking: bool = False) -> np.ndarray:
        """The image of `row` scaled to cover its bucket's picture: uint8 [H, W, 3]. With `asking` it is read also if
        it is in memory, to learn whether storage answers. Raises SampleError."""
        with self._lock:
            if row in self._failed:
                raise SampleError(self._failed[row])
            if row in self._cache and not asking:
                self._cache.move_to_end(row)
                return self._cache[row]
        try:
            image = self._decode(row)
        except SampleError as error:
            with self._lock:
                self._unanswered = self._unanswered + 1 if error.passing else 0
                if not error.passing:
                    self._failed[row] = str(error)
            raise
        with self._lock:
            self._unanswered = 0
            if row not in self._cache and image.nbytes <= self._limit:
                self._cache[row] = image
                self._held += image.nbytes
                while self._held > self._limit:
                    self._held -= self._cache.popitem(last=False)[1].nbytes
        return image

    def _decode(self, row: int) -> np.ndarray:
        target = self.target(self.buckets[row])
        # A JPEG may come scaled, but never below what covers the target.
        decoded = pixels.decode(self.manifest.read(row).image, side=target)
        if decoded.rgb is None:
            raise SampleError(f"{decoded.status}: {decoded.reason}")
        height, width = decoded.rgb.shape[:2]
        wide, high = transform.cover_size(width, height, *target)
        if wide * high > pixels.MAX_PIXELS:
            raise SampleError(f"{width}x{height} is too narrow: it would have to be scaled to {wide}x{high}")
        return transform.cover(decoded.rgb, *target)

    def shape(self, n: int, bucket: str) -> tuple[int, int, int, int]:
        """Of `n` pictures of a bucket: (n, 3, H, W)."""
        width, height = self.target(bucket)
        return n, 3, height, width

    def picture(
        self, row: int, others: np.ndarray, place: Callable[[int], tuple[float, float]], out: np.ndarray
    ) -> int:
        """Write the picture of `row`, or of the first usable row after it in `others` (cyclically), to `out`,
        float32 [3, H, W], and return which row it was.

        `place(image_id)` says where to crop. What is skipped is recorded. Raises LensError if no row is
        usable, or storage gives none of OUTAGE images that threads have asked for one after another.
        """
        start = int(np.searchsorted(others, row))
        unfetched: list[tuple[int, int, str]] = []
        for step in range(len(others)):
            used = int(others[(start + step) % len(others)])
            if self.stopped:
                raise LensError("the loader was closed")  # nobody asks for this job's result any more
            try:
                image = self.covered(used, asking=bool(unfetched))
            except SampleError as error:
                if not error.passing:
                    self.bad.add(self.image_ids[used], used, str(error))
                    continue
                unfetched.append((self.image_ids[used], used, str(error)))
                if self._unanswered >= OUTAGE:
                    raise LensError(
                        f"{OUTAGE} images one after another could not be fetched ({error}); "
                        "go on with --resume when their storage answers again"
                    ) from None
                continue
            for image_id, skipped, reason in unfetched:  # others do come: it is not the storage
                self._failed[skipped] = reason
                self.bad.add(image_id, skipped, reason)
            transform.to_unit(
                transform.crop(image, *self.target(self.buckets[used]), place(self.image_ids[used])), out
            )
            return used
        raise LensError(
            f"no sample of bucket {self.buckets[row]} can be read; see {self.bad.path} "
            "and check with `lensdata verify-shards`"
        )


class Captions:
    """Which caption a sample trains with: dense, brief (at the rate `brief_fraction`) or None (dropped)."""

    def __init__(self, manifest: Manifest, seed: int, brief_fraction: float, dropout: float) -> None:
        # Columns, not lists: as Python's strings, the captions of millions of images take gigabytes on every rank.
        self.dense = manifest.samples["caption"]
        none = pl.repeat(None, len(self.dense), dtype=pl.String, eager=True)
        self.brief = manifest.samples.get_column("brief", default=none)
        self.image_ids = manifest.samples["image_id"].to_list()
        self.seed, self.brief_fraction, self.dropout = seed, brief_fraction, dropout

    def choose(self, epoch: int, row: int) -> str | None:
        """A pure function of (seed, epoch, image id)."""
        draw = key_of("caption", self.seed, epoch, self.image_ids[row])
        if (draw & 0xFFFFFFFF) / 2**32 < self.dropout:
            return None
        brief = self.brief[row]
        return brief if brief and (draw >> 32) / 2**31 < self.brief_fraction else self.dense[row]

    def lengths(self, epoch: int, rows: np.ndarray) -> np.ndarray:
        """Characters of each row's caption in an epoch, dropped or not, int64 [rows]. To put dropped ones together
        would make batches that learn nothing of text."""
        dense, brief = self._characters
        found = dense[rows]
        if self.brief_fraction:
            having = np.flatnonzero(brief[rows])
            draws = keys_of(
                [self.image_ids[row] for row in rows[having].tolist()], "caption", self.seed, epoch
            )
            told = having[(draws >> 32) / 2**31 < self.brief_fraction]
            found[told] = brief[rows[told]]
        return found

    @functools.cached_property
    def _characters(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each row's dense and brief caption (0: none), int64 [samples]."""
        dense, brief = (column.str.len_chars().fill_null(0) for column in (self.dense, self.brief))
        return dense.to_numpy().astype(np.int64), brief.to_numpy().astype(np.int64)

    def all(self, rows: np.ndarray) -> list[str]:
        """Every caption that `rows` may train with."""
        captions = self.dense[rows].to_list()
        if self.brief_fraction > 0:
            captions += filter(None, self.brief[rows].to_list())
        return captions


class Loader:
    """Iterates over `rank`'s batches of a plan from stream position `position` on, without end.

    `workers` threads decode (they release Python's lock while they do), `prefetch` batches ahead, straight into the
    batch's one array. `waited` counts the seconds in which the consumer had to wait for a batch. Use as a context
    manager.
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
        self._buffers = Buffers(prefetch + 2)  # and what the consumer holds, and what it has just let go
        self._workers, self._pool = workers, ThreadPoolExecutor(workers, thread_name_prefix="decode")
        self._queue: deque[tuple[Batch, np.ndarray, list[Future[list[int]]]]] = deque()
        self.waited = 0.0

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.pictures.stopped = True  # what is being read ends; what a job has left to read is not begun
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.pictures.stopped = False

    def _submit(self) -> None:
        batch = self.plan.batch(self._next)
        self._next += self._world
        out = self._buffers.empty(self.pictures.shape(len(batch.rows), batch.bucket))
        # A job is a few samples: small pictures take less time than handing over a job of their own.
        size = max(1, len(batch.rows) // (2 * self._workers))
        starts = range(0, len(batch.rows), size)
        jobs = [self._pool.submit(self._fill, batch, out, range(s, s + size)) for s in starts]
        self._queue.append((batch, out, jobs))

    def _fill(self, batch: Batch, out: np.ndarray, places: range) -> list[int]:
        """Write the pictures of these places of a batch to `out`, and return their rows."""
        others = self.plan.members[batch.bucket]

        def place(image_id: int) -> tuple[float, float]:
            return transform.random_place(self.plan.seed, batch.epoch, image_id)

        wanted = batch.rows[places.start : places.stop].tolist()
        return [
            self.pictures.picture(row, others, place, out[i]) for i, row in enumerate(wanted, places.start)
        ]

    def __iter__(self) -> Iterator[LoadedBatch]:
        while True:
            start = time.monotonic()
            while len(self._queue) < self._prefetch:
                self._submit()
            batch, out, jobs = self._queue.popleft()
            rows = [row for job in jobs for row in job.result()]
            captions = [self.captions.choose(batch.epoch, row) for row in rows]
            self.waited += time.monotonic() - start
            yield LoadedBatch(batch.number, batch.bucket, rows, out, captions)
