"""A manifest as training reads it: an immutable, ordered list of samples, any of which is one ranged read away."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from catalog.bytes import locate, tar
from catalog.errors import BadInput, LensError
from catalog.manifest import files
from catalog.manifest import rows as tables
from catalog.manifest.files import sample_meta
from catalog.store import parts

Read = TypeVar("Read")


class SampleError(LensError):
    """One sample cannot be read; the reason says why. The job goes on without it.

    `passing`: its storage did not answer, also when asked again; later it may.
    """

    def __init__(self, reason: str, passing: bool = False) -> None:
        super().__init__(reason)
        self.passing = passing


@dataclass(frozen=True)
class Sample:
    """One training sample: the original encoded bytes and its captions."""

    image_id: int
    image: bytes
    caption: str
    brief: str | None
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass
class Manifest:
    """A manifest. `samples` has, besides others, image_id, bucket ("448x608"), caption, brief (or None), shard (None
    if virtual), offset and length: where the sample's bytes stand in its shard, or the image's in its uri.

    `where` is the folder that holds it, as an absolute path or as a URL that fsspec reads.
    """

    where: str
    info: dict[str, Any]

    @property
    def root(self) -> Path:
        """The folder, if it is on this disk. Raises BadInput."""
        if "://" in self.where:
            raise BadInput(f"{self.where} is on an object store; copy it to this disk for that")
        return Path(self.where)

    @property
    def name(self) -> str:
        return str(self.info["name"])

    @property
    def fingerprint(self) -> str:
        """sha256 of what is selected, in order: equal fingerprints train on equal data."""
        return str(self.info["fingerprint"])

    @property
    def virtual(self) -> bool:
        return bool(self.info["virtual"])

    @property
    def mixture(self) -> dict[str, float]:
        """Source -> how many times an epoch shows each of its images; {} if once, whatever its source."""
        return dict(self.info.get("mixture", {}))

    @cached_property
    def samples_path(self) -> Path:
        """samples.parquet; of a manifest on an object store a copy, which goes when this object does."""
        if "://" not in self.where:
            return self.root / self.info["samples_file"]
        self._copied = tempfile.TemporaryDirectory(prefix="lens-manifest-")
        path = Path(self._copied.name) / self.info["samples_file"]
        try:
            locate.copy(f"{self.where}/{self.info['samples_file']}", path)
        except LensError as error:
            raise BadInput(f"{self.where} lacks its list of samples ({error}); copy it whole") from None
        return path

    @cached_property
    def samples(self) -> pl.DataFrame:
        found = self._checked(pl.read_parquet)
        if not self.virtual:
            named = pl.Series([shard["name"] for shard in self.info["shards"]], dtype=pl.String)
            strange = found.filter(~pl.col("shard").is_in(named) | pl.col("shard").is_null())["shard"]
            if len(strange):  # also one outside the folder
                raise BadInput(
                    f"{self.samples_path} has samples in {strange[0]!r}, which manifest.json does not name"
                )
        return found

    def batches(self) -> Iterator[pl.DataFrame]:
        """`samples` in order, some thousand rows at a time, for what must not hold them all in memory."""
        return self._checked(tables.batches)

    @property
    def table(self) -> Path:
        """The file of `samples`, for what reads it by itself. Raises BadInput unless it is whole."""
        return self._checked(lambda path: path)

    def by_shard(self) -> Iterator[tuple[str, pl.DataFrame]]:
        """`samples` shard by shard, (name, rows), as they follow one another; memory holds one shard's."""
        held: list[pl.DataFrame] = []
        filling = ""
        for batch in self.batches():
            for rows in batch.with_columns(run=pl.col("shard").rle_id()).partition_by(
                "run", include_key=False
            ):
                if held and rows["shard"][0] != filling:
                    yield filling, pl.concat(held)
                    held = []
                filling = rows["shard"][0]
                held.append(rows)
        if held:
            yield filling, pl.concat(held)

    def _checked(self, read: Callable[[Path], Read]) -> Read:
        """What `read` makes of samples.parquet, which must be the file that manifest.json was written with."""
        path = self.samples_path
        try:
            whole = self._whole
            found = read(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise BadInput(f"{path} cannot be read ({error}); build the shards again") from None
        if not whole:
            raise BadInput(
                f"{path} is not the one that manifest.json was written with; build the shards again"
            )
        return found

    @cached_property
    def _whole(self) -> bool:
        """Whether samples.parquet is the file that manifest.json was written with; it is hashed once."""
        path = self.samples_path
        return (
            files.listed(path)["samples_sha256"] == self.info["samples_sha256"]
            and parts.count(path) == self.info["samples"]
        )

    def read(self, row: int) -> Sample:
        """The sample of a row of `samples`. Raises SampleError if its bytes are not there or not the right ones."""
        return self.sample(self.samples.row(row, named=True))

    def sample(self, entry: dict[str, Any]) -> Sample:
        """As `read`, of a row as a dict."""
        image_id, where = entry["image_id"], entry["uri"] if self.virtual else entry["shard"]
        if self.virtual:
            image = _range(where, entry["offset"], entry["length"], image_id)
            caption, brief, meta = entry["caption"], entry["brief"], sample_meta(entry)
        else:
            data = _range(f"{self.where}/{where}", entry["offset"], entry["length"], image_id)
            members = _members(data, image_id)
            try:
                image, caption = members[entry["ext"]], members["txt"].decode()
                meta = json.loads(members["json"])
                brief = meta["brief"] or None
            except (KeyError, ValueError, TypeError) as error:
                raise SampleError(f"image {image_id}: {where} does not hold it whole ({error})") from None
        if hashlib.sha256(image).hexdigest() != entry["sha256"]:
            raise SampleError(f"image {image_id}: {where} does not hold the bytes that the manifest names")
        return Sample(image_id, image, caption, brief, meta)


def _range(uri: str, offset: int, length: int, image_id: int) -> bytes:
    try:
        return locate.read(uri, offset, length)
    except (LensError, OSError) as error:
        raise SampleError(f"image {image_id}: {error}", getattr(error, "passing", False)) from None


def _members(data: bytes, image_id: int) -> dict[str, bytes]:
    """Extension -> content of the members of one sample."""
    try:
        return {name.partition(".")[2]: content for name, content in tar.split(data)}
    except ValueError:
        raise SampleError(f"image {image_id}: its place in the shard does not hold a tar member") from None
