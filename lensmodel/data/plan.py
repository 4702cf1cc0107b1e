"""The data plan: which samples a training step sees, as a pure function of (seed, position).

An epoch is one shuffled list of bucket-pure batches that does not depend on the number of ranks. Batches of
all epochs follow each other in one endless numbered stream; a step on W ranks with A batches a rank takes the
next W*A of them, rank r taking numbers position + a*W + r. So every rank has the same number of batches by
construction, a run resumes from one integer (the position), and resuming with another W goes on where the
last one stopped.

An epoch holds every sample once, or as often as the weight of its source says (catalog.mixture). It has the same
number of batches of every bucket whatever its number. Within a bucket and a window of batches samples may be sorted by
length: which samples share a batch changes, and nothing else of the above.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from catalog.buckets import BY_NAME
from catalog.errors import BadInput
from catalog.mixture import taken


def key_of(*parts: object) -> int:
    """A 63-bit integer, a pure function of `parts` (sha256 of their text): the seed of everything random."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def keys_of(last: Iterable[object], *parts: object) -> np.ndarray:
    """`key_of`(*parts, one) of each one of `last`, int64."""
    start, digests = hashlib.sha256("".join(f"{part}\x1f" for part in parts).encode()), []
    for one in last:
        digest = start.copy()
        digest.update(str(one).encode())
        digests.append(digest.digest()[:8])
    return (np.frombuffer(b"".join(digests), dtype="<u8") >> np.uint64(1)).astype(np.int64)


def shuffled(n: int, *key: object) -> np.ndarray:
    """A permutation of range(n), int64. Sorting raw Philox words keeps it the same in every numpy."""
    words = np.random.Philox(key=key_of("shuffle", *key)).random_raw(n)
    return np.argsort(words, kind="stable")


def identities(samples: pl.DataFrame) -> np.ndarray:
    """What decides a sample's side, uint64 [N]: the start of the sha256 of its bytes, so that copies of a picture and
    another ingest order share it; the image id of a manifest that names no sha256.
    """
    if "sha256" not in samples.columns:
        return samples["image_id"].to_numpy().astype(np.uint64)
    return samples["sha256"].str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64).to_numpy()


def spread(identities: np.ndarray) -> np.ndarray:
    """The 64-bit finaliser of splitmix64, so that neighbouring ids land anywhere in [0, 2^64).

    Its starting constant is not the one that orders manifests: who validates must not follow from a sample's
    place.
    """
    x = identities.astype(np.uint64) + np.uint64(0x5851F42D4C957F2D)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def held_out(identities: np.ndarray, fraction: float, at_least: int) -> np.ndarray:
    """Which samples validate and never train: bool [N], by a hash of their identities. Equal ones share a side.

    While `fraction` decides, an image keeps its side when the data set grows. Where it gives fewer than `at_least`
    samples, the ones with the lowest hashes fill up (never beyond a quarter of the data); of these, some may train
    once the data set has grown.
    """
    hashes = spread(identities)
    wanted = max(int((hashes < np.uint64(int(fraction * 2**63) * 2)).sum()), min(at_least, len(hashes) // 4))
    if fraction == 0 or wanted == 0:
        return np.zeros(len(hashes), dtype=bool)
    last = np.sort(hashes)[wanted - 1]
    chosen = hashes <= last
    # Many copies of one picture at the border: leave them to training rather than most of the data to validation.
    return chosen if chosen.sum() <= max(wanted, len(hashes) // 2) else hashes < last


@dataclass(frozen=True)
class Batch:
    """One bucket-pure batch of the stream: `rows` (int64) index the manifest's samples."""

    number: int
    epoch: int
    bucket: str
    rows: np.ndarray


@dataclass(frozen=True)
class Group:
    """The training samples of one bucket and source, each seen `repeats` times an epoch on average."""

    source: str
    rows: np.ndarray
    repeats: float

    @property
    def mean(self) -> float:
        """Samples an epoch, on average."""
        return len(self.rows) * self.repeats

    @property
    def least(self) -> int:
        """Samples that every epoch has; some have one more."""
        return taken(len(self.rows), self.repeats, 1)

    def of_epoch(self, epoch: int) -> np.ndarray:
        """The rows of one epoch: a stretch of an endless walk around the list, which the epochs divide.

        So within an epoch, as over any number of them, a row occurs as often as any other or once more.
        """
        n = len(self.rows)
        stretch = np.arange(taken(n, self.repeats, epoch), taken(n, self.repeats, epoch + 1))
        return self.rows[stretch % n]


class DataPlan:
    """Batches over the rows of a manifest.

    `buckets`: the bucket name of each sample; `rows`: those that train; `batch_sizes`: samples a batch by the
    base of the bucket (512, 768, 1024); `sources`: the source of each sample; `mixture`: how many times an epoch
    shows the samples of a source, 1 where it does not say. `lengths`(epoch, rows) gives each sample's length in that
    epoch; samples are sorted by it within every `window` batches of a bucket. Raises BadInput if no bucket fills one
    batch, or a bucket is unknown.
    """

    def __init__(
        self,
        buckets: Sequence[str],
        rows: np.ndarray,
        batch_sizes: Mapping[int, int],
        seed: int,
        sources: Sequence[str] | None = None,
        mixture: Mapping[str, float] | None = None,
        lengths: Callable[[int, np.ndarray], np.ndarray] | None = None,
        window: int = 1,
    ) -> None:
        self.seed, self._lengths, self._window = seed, lengths, window
        names = np.asarray(buckets, dtype=object)
        of_bucket: dict[str, list[int]] = {}
        for row in rows.tolist():
            of_bucket.setdefault(names[row], []).append(row)
        unknown = sorted(set(of_bucket) - set(BY_NAME))
        if unknown:
            raise BadInput(
                f"the manifest has samples in bucket {unknown[0]!r}, which is not one of the 27 buckets"
            )
        self.members = {name: np.asarray(of_bucket[name], dtype=np.int64) for name in sorted(of_bucket)}
        self.batch_size = {name: batch_sizes[BY_NAME[name].base] for name in self.members}
        kinds = np.asarray(sources if sources is not None else [""] * len(names), dtype=object)
        self.groups = {name: self._grouped(name, kinds, mixture or {}) for name in self.members}
        self.least = {name: sum(group.least for group in groups) for name, groups in self.groups.items()}
        self.batches_of = {name: n // self.batch_size[name] for name, n in self.least.items()}
        self.batches_per_epoch = sum(self.batches_of.values())
        if not self.batches_per_epoch:
            largest = max(self.least, key=lambda name: self.least[name], default=None)
            detail = "no sample to train on"
            if largest:
                detail = f"the fullest, {largest}, has {self.least[largest]} of {self.batch_size[largest]}"
            raise BadInput(
                f"no bucket has enough training samples for one batch ({detail}); "
                "add images or lower batch_512=, batch_768=, batch_1024="
            )
        self._epoch = functools.lru_cache(maxsize=2)(self._build_epoch)

    def _grouped(self, bucket: str, kinds: np.ndarray, mixture: Mapping[str, float]) -> list[Group]:
        rows, found = self.members[bucket], []
        for source in sorted(set(kinds[rows])):
            mine = rows[kinds[rows] == source]
            repeats = float(mixture.get(source, 1))
            if not repeats.is_integer():  # an epoch takes a part, which must not follow the manifest's order
                mine = mine[shuffled(len(mine), self.seed, "source", source, bucket)]
            found.append(Group(source, mine, repeats))
        return found

    @property
    def samples_per_epoch(self) -> int:
        return sum(count * self.batch_size[name] for name, count in self.batches_of.items())

    @property
    def dropped_per_epoch(self) -> int:
        """Samples of incomplete batches (rounded, if epochs differ); each leaves out others, as its shuffle falls."""
        return round(sum(g.mean for groups in self.groups.values() for g in groups)) - self.samples_per_epoch

    @property
    def shares(self) -> dict[str, float]:
        """Source -> its expected share of the stream (what incomplete batches leave out is any source's alike)."""
        found: dict[str, float] = {}
        for name, groups in self.groups.items():
            trained = self.batches_of[name] * self.batch_size[name] / sum(group.mean for group in groups)
            for group in groups:
                share = group.mean * trained / self.samples_per_epoch
                found[group.source] = found.get(group.source, 0.0) + share
        return found

    @property
    def starved(self) -> dict[str, int]:
        """Buckets that never train because an epoch's samples do not fill one batch: name -> samples an epoch."""
        return {name: n for name, n in self.least.items() if not self.batches_of[name]}

    def _build_epoch(self, epoch: int) -> list[tuple[str, np.ndarray]]:
        batches = []
        for name, groups in self.groups.items():
            members = np.sort(np.concatenate([group.of_epoch(epoch) for group in groups]))
            size, order = self.batch_size[name], shuffled(len(members), self.seed, epoch, name)
            rows = members[order[: self.batches_of[name] * size]]
            if self._lengths and self._window > 1:
                rows = _sorted_in_windows(rows, self._lengths(epoch, rows), self._window * size)
            batches += [(name, rows[start : start + size]) for start in range(0, len(rows), size)]
        return [batches[i] for i in shuffled(len(batches), self.seed, epoch, "batches")]

    def batch(self, number: int) -> Batch:
        """Batch `number` (from 0) of the endless stream."""
        epoch, index = divmod(number, self.batches_per_epoch)
        bucket, rows = self._epoch(epoch)[index]
        return Batch(number, epoch, bucket, rows)

    def step(self, position: int, rank: int, world: int, accumulate: int = 1) -> list[Batch]:
        """The `accumulate` batches of `rank` in the step that starts at stream position `position`."""
        return [self.batch(position + a * world + rank) for a in range(accumulate)]

    def epochs(self, batches: int) -> float:
        """How many epochs `batches` batches of the stream are."""
        return batches / self.batches_per_epoch


def _sorted_in_windows(rows: np.ndarray, lengths: np.ndarray, window: int) -> np.ndarray:
    """`rows` with every stretch of `window` of them in order of their lengths; equal ones stay as they came."""
    return rows[np.lexsort((lengths, np.arange(len(rows)) // window))]


@dataclass(frozen=True)
class Segment:
    """From `step` on, which started at stream position `position`, every step took `width` batches."""

    step: int
    position: int
    width: int


def position_of(segments: Sequence[Segment], step: int) -> tuple[int, int]:
    """(stream position, batches taken) of a step in a run whose world size may have changed on the way."""
    segment = max((s for s in segments if s.step <= step), key=lambda s: s.step)
    return segment.position + (step - segment.step) * segment.width, segment.width


def samples_of(plan: DataPlan, segments: Sequence[Segment], step: int) -> np.ndarray:
    """Every row that step `step` (from 0) trained on, all ranks together, in stream order: int64."""
    position, width = position_of(segments, step)
    return np.concatenate([plan.batch(position + i).rows for i in range(width)])


def resume_segments(segments: Sequence[Segment], step: int, width: int) -> list[Segment]:
    """The history of a run that goes on at `step` with `width` batches a step."""
    if not segments:
        return [Segment(step, 0, width)]
    position, _ = position_of(segments, step)
    kept = [s for s in segments if s.step < step]
    if kept and kept[-1].width == width:
        return kept
    return [*kept, Segment(step, position, width)]
