"""Manifests: an immutable, ordered list of samples that training reads instead of the database.

A manifest is a folder with `manifest.json` and `samples.parquet` (one row per sample, in order). It is virtual when
the rows point at the original bytes (uri, offset, length); `lensdata build-shards` writes the same rows over its
own tars. Either way any sample is one ranged read away, so the trainer's plan can ask for them in any order.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl
import pyarrow as pa

from catalog import locate, parts
from catalog import mixture as mixtures
from catalog import samples as tables
from catalog.buckets import BUCKETS, BY_NAME
from catalog.errors import BadInput, LensError

if TYPE_CHECKING:
    from catalog.select import Selection

Read = TypeVar("Read")
FORMAT = "lens-manifest/1"
MIXED = "lens-manifest/2"  # has weights, which a reader of the first format would leave out in silence
REQUIRED = {
    "name",
    "fingerprint",
    "virtual",
    "samples",
    "samples_file",
    "samples_sha256",
    "shards",
    "buckets",
}
BLOCK = 512  # bytes of a tar block
SCORES = ("nsfw", "aesthetic", "watermark", "clarity", "entropy", "luminance")


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

    def _checked(self, read: Callable[[Path], Read]) -> Read:
        """What `read` makes of samples.parquet, which must be the file that manifest.json was written with."""
        path = self.samples_path
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            rows = parts.count(path)
            found = read(path)
        except (OSError, pl.exceptions.PolarsError, pa.ArrowException) as error:
            raise BadInput(f"{path} cannot be read ({error}); build the shards again") from None
        if digest != self.info["samples_sha256"] or rows != self.info["samples"]:
            raise BadInput(
                f"{path} is not the one that manifest.json was written with; build the shards again"
            )
        return found

    def read(self, row: int) -> Sample:
        """The sample of a row of `samples`. Raises SampleError if its bytes are not there or not the right ones."""
        entry = self.samples.row(row, named=True)
        image_id, where = entry["image_id"], entry["uri"] if self.virtual else entry["shard"]
        if self.virtual:
            image = _range(where, entry["offset"], entry["length"], image_id)
            caption, brief, meta = entry["caption"], entry["brief"], sample_meta(entry)
        else:
            data = _range(f"{self.where}/{where}", entry["offset"], entry["length"], image_id)
            members = dict(_members(data, image_id))
            try:
                image, caption = members[entry["ext"]], members["txt"].decode()
                meta = json.loads(members["json"])
                brief = meta["brief"] or None
            except (KeyError, ValueError, TypeError) as error:
                raise SampleError(f"image {image_id}: {where} does not hold it whole ({error})") from None
        if hashlib.sha256(image).hexdigest() != entry["sha256"]:
            raise SampleError(f"image {image_id}: {where} does not hold the bytes that the manifest names")
        return Sample(image_id, image, caption, brief, meta)


def load(path: str | Path, check_sizes: bool = True) -> Manifest:
    """The manifest in the folder `path`; a str may also be a URL (s3://bucket/folder) that fsspec reads.

    Raises BadInput if there is none, one this version cannot read, or (unless `check_sizes` is off) one whose shards
    are missing or of another size.
    """
    where = _folder(path)
    file = f"{where}/manifest.json"
    try:
        info = json.loads(locate.read(file))
    except locate.Unreadable as error:
        hint = f"was `lensdata build-shards --out {where}` finished?"
        if "://" in where:
            hint = "name the place that a folder written by `lensdata build-shards` was copied to"
        raise BadInput(f"{where} holds no manifest.json that can be read ({error}); {hint}") from None
    except ValueError as error:
        raise BadInput(f"{file} is not JSON ({error}); build the shards again") from None
    if not isinstance(info, dict) or info.get("format") not in (FORMAT, MIXED):
        found = info.get("format") if isinstance(info, dict) else None
        raise BadInput(f"{file} has the format {found!r}, not {FORMAT!r}; build it with this version")
    missing = REQUIRED - info.keys()
    if missing:
        raise BadInput(f"{file} lacks {', '.join(sorted(missing))}; build the shards again")
    try:
        mixtures.checked(dict(info.get("mixture", {})))
    except (BadInput, TypeError, ValueError) as error:
        raise BadInput(f"{file} has no valid mixture ({error})") from None
    try:
        names = [info["samples_file"], *(shard["name"] for shard in info["shards"])]
        outside = [name for name in names if Path(name).name != name or name in ("", "..")]
        sized = all(isinstance(shard["bytes"], int) for shard in info["shards"])
    except (KeyError, TypeError):
        sized, outside = False, []
    if outside:
        raise BadInput(f"{file} names a file outside its folder: {outside[0]!r}")
    if not sized:
        raise BadInput(f"{file} does not say of every shard its name and bytes; build the shards again")
    if check_sizes and info["shards"]:
        _check_sizes(where, info["shards"])
    return Manifest(where, info)


def _folder(path: str | Path) -> str:
    """The place of a manifest as an absolute path or URL."""
    if isinstance(path, str) and "://" in (path := path.removeprefix("file://")):
        if (shown := locate.without_login(path)) != path:
            raise BadInput(f"{shown} comes with a password, which would be stored; set it in the environment")
        if (
            path.startswith(("http:", "https:"))
            and (bare := re.sub(r"(?<=://)[^/@]*@|[?#].*", "", path)) != path
        ):
            raise BadInput(f"{bare} comes with a user or a query, which would be stored; leave them out")
        return path.rstrip("/")
    root = Path(path).expanduser().absolute()
    if not root.is_dir():
        raise BadInput(f"{root} is not a folder; name one written by `lensdata build-shards --out DIR`")
    return str(root)


def _check_sizes(where: str, shards: list[dict[str, Any]]) -> None:
    """Raise BadInput for the first shard that is missing or of another size, as far as its store lists."""
    if "://" in where:
        found = locate.sizes(where)
        if "manifest.json" not in found:  # which was read just now: this store does not list
            return
    else:
        found = {entry.name: entry.stat().st_size for entry in os.scandir(where) if entry.is_file()}
    for shard in shards:
        name, size = shard["name"], found.get(shard["name"])
        if size != shard["bytes"] and (size is not None or name not in found):
            what = "is missing" if size is None else f"has {size} bytes instead of {shard['bytes']}"
            hint = f"check with `lensdata verify-shards {where}` and build the shards again"
            if "://" in where:
                hint = "copy the shards again"
            raise BadInput(f"{where}/{name} {what}; {hint}")


def create(selection: Selection, name: str | None = None) -> Manifest:
    """Write the manifest of a selection: see `Selection.manifest`."""
    catalog = selection.catalog
    mixed = selection.mixed_scorers()
    if mixed:
        metric, ids = next(iter(mixed.items()))
        raise BadInput(
            f"the column {metric} holds scores of {len(ids)} scorers (ids {ids}), which must not be mixed; "
            f"finish with `lensdata score` or switch the rule off with `none`"
        )
    version = catalog.version
    spool = catalog.root / "manifests" / f"selected.{os.getpid()}{parts.TEMPORARY}"
    try:
        return _create(selection, name, version, spool)
    finally:
        spool.unlink(missing_ok=True)


def _create(selection: Selection, name: str | None, version: int, spool: Path) -> Manifest:
    """As `create`. The rows go through the file `spool`: memory never holds them all."""
    catalog = selection.catalog
    buckets, sources = Counter[str](), Counter[str]()

    def counted() -> Iterator[pl.DataFrame]:
        for rows in selection.in_order(tables.ROWS):
            samples = _samples(rows, selection.captions)
            buckets.update(dict(samples.group_by("bucket").len().iter_rows()))
            sources.update(source_counts(samples))
            yield samples

    tables.write(spool, counted())
    total = buckets.total()
    if not total:
        raise BadInput(f"nothing is selected: {selection.explain_empty()}")
    mixture = mixtures.in_force(selection.sources or {}, sources)
    fingerprint = fingerprint_of(tables.batches(spool), mixture)
    name = name or fingerprint[:12]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise BadInput(f"{name!r} cannot name a manifest; use letters, digits, '-', '_' and '.'")
    folder = catalog.root / "manifests" / name
    record = {
        "manifest": name, "fingerprint": fingerprint, "query": selection.query, "catalog_version": version,
        "parameters": json.dumps(selection.parameters), "samples": total, "virtual": True,
    }  # fmt: skip
    if (folder / "manifest.json").is_file():
        kept = load(folder)
        if kept.fingerprint != fingerprint:
            raise BadInput(
                f"the manifest {name} exists and selects other images or weights; manifests never change: "
                "take another name, or finish the build that was begun from it with --resume"
            )
    else:
        info = {
            "format": MIXED if mixture else FORMAT,
            "name": name,
            "fingerprint": fingerprint,
            "virtual": True,
            "samples": total,
            "catalog_version": version,
            "query": selection.query,
            "parameters": selection.parameters,
            "captions": list(selection.captions),
            "unmeasured": selection.unmeasured(),
            "buckets": bucket_rows(buckets),
            "sources": dict.fromkeys(selection.sources or {}, 0) | dict(sorted(sources.items())),
            **({"mixture": mixture} if mixture else {}),
            "shards": [],
        }
        kept = write(folder, info, tables.batches(spool))
    # Also for one that is there already: a kill may have come between its files and its row.
    catalog.commit("manifest", f"manifest-{name}", total, [("manifest_add", record)])
    return kept


def write(folder: Path, info: dict[str, Any], samples: pl.DataFrame | Iterable[pl.DataFrame]) -> Manifest:
    """Write a manifest's two files; manifest.json comes last, so that what can be loaded is complete.

    `samples` is the table, or its rows in order, frame by frame.
    """
    folder.mkdir(parents=True, exist_ok=True)
    info = {"samples_file": "samples.parquet", **info}
    path = folder / info["samples_file"]
    tables.write(path, [samples] if isinstance(samples, pl.DataFrame) else samples)
    with path.open("rb") as file:
        info = {**info, "samples_sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    text = json.dumps(info, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    parts.write_bytes(folder / "manifest.json", text.encode())
    return Manifest(str(folder.absolute()), info)


def bucket_counts(samples: pl.DataFrame) -> list[dict[str, Any]]:
    """Per bucket in use: name, base, aspect, width, height and number of samples."""
    return bucket_rows(dict(samples.group_by("bucket").len().iter_rows()))


def bucket_rows(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """As `bucket_counts`, of the number of samples by bucket name."""
    return [
        {
            "name": b.name,
            "base": b.base,
            "aspect": b.aspect,
            "width": b.width,
            "height": b.height,
            "samples": counts[b.name],
        }
        for b in BUCKETS
        if counts.get(b.name)
    ]


def source_counts(samples: pl.DataFrame) -> dict[str, int]:
    """Samples per kind of source; {} for shards of an earlier Lens, whose list does not say."""
    if "source" not in samples.columns:
        return {}
    return dict(samples.group_by("source").len().sort("source").iter_rows())


def sample_meta(row: dict[str, Any]) -> dict[str, Any]:
    """What a shard's KEY.json says of a sample: a pure function of its manifest row, so that tars are reproducible."""
    return {
        "image_id": row["image_id"],
        "sha256": row["sha256"],
        "source": row["source"],
        "width": row["width"],
        "height": row["height"],
        "bucket": [BY_NAME[row["bucket"]].width, BY_NAME[row["bucket"]].height],
        "caption_style": row["caption_style"],
        "brief": row["brief"]
        or "",  # never null: readers that infer a schema from the first samples take it for good
        "scores": {name: row[name] for name in SCORES},
    }


def select_rows(selection: Selection) -> pl.DataFrame:
    """What a selection selects, with each row's bucket name and the style of its caption."""
    return _named(selection.frame(), selection.captions)


def _named(rows: pl.DataFrame, styles: tuple[str, ...]) -> pl.DataFrame:
    style = pl.coalesce(*(pl.when(pl.col(s) != "").then(pl.lit(s)) for s in styles))
    bucket = pl.format("{}x{}", pl.col("bucket_width"), pl.col("bucket_height"))
    return rows.with_columns(caption_style=style, bucket=bucket)


def _samples(rows: pl.DataFrame, styles: tuple[str, ...]) -> pl.DataFrame:
    """The columns of samples.parquet, of selected rows."""
    columns = [
        "image_id", "bucket", "shard", "uri", "byte_offset", "byte_length", "sha256", "format", "width", "height",
        "source", "caption", "caption_style", "brief", *SCORES, "file_size", "file_mtime_ns",
    ]  # fmt: skip
    named = _named(rows, styles).with_columns(shard=pl.lit(None, dtype=pl.String))
    return named.select(columns).rename({"byte_offset": "offset", "byte_length": "length"})


def fingerprint_of(samples: pl.DataFrame | Iterable[pl.DataFrame], mixture: Mapping[str, float]) -> str:
    """sha256 of identity, bucket and captions in order, and of the weights if there are any (then of sources, too);
    not of where the bytes lie, nor of their scores."""
    digest = hashlib.sha256()
    names = ["image_id", "sha256", "bucket", "caption", "brief"]
    if mixture:
        digest.update(json.dumps(mixture, sort_keys=True).encode() + b"\n")
        names.append("source")
    frames = samples.iter_slices(tables.ROWS) if isinstance(samples, pl.DataFrame) else samples
    for n, rows in enumerate(frames):
        lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows.select(names).iter_rows())
        digest.update(("\n" * (n > 0) + lines).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _range(uri: str, offset: int, length: int, image_id: int) -> bytes:
    try:
        return locate.read(uri, offset, length)
    except (LensError, OSError) as error:
        raise SampleError(f"image {image_id}: {error}", getattr(error, "passing", False)) from None


def _members(data: bytes, image_id: int) -> list[tuple[str, bytes]]:
    """(extension, content) of the ustar members in `data`, a run of whole members without the end mark."""
    found, at = [], 0
    while at + BLOCK <= len(data):
        header = data[at : at + BLOCK]
        try:
            name, size = header[:100].rstrip(b"\0").decode(), int(header[124:135], 8)
        except ValueError:
            raise SampleError(
                f"image {image_id}: its place in the shard does not hold a tar member"
            ) from None
        found.append((name.partition(".")[2], data[at + BLOCK : at + BLOCK + size]))
        at += BLOCK + -(-size // BLOCK) * BLOCK
    return found
