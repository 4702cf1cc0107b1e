"""Writing scenes as an ordinary image folder that `lensdata ingest` reads like any other.

Files are large enough for their bucket, and shrink to mini's pixels without a crop: a grid scene's cells then lie
on mini's patches.
"""

from __future__ import annotations

import io
import json
import math
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from catalog.buckets import BUCKETS, BY_NAME, Bucket, assign
from catalog.errors import BadInput, LensError
from catalog.notices import track
from lensmodel.shapes import caption
from lensmodel.shapes.prompts import pairs_of
from lensmodel.shapes.render import render
from lensmodel.shapes.scene import WORLDS, Scene, sample

PATCH, SCALE = 8, 16  # of the preset mini: pixels of a patch; a bucket's side over the picture's
CHUNK = 16  # pictures a worker makes between two reports
POOL_FROM = 256  # below this many pictures starting worker processes costs more than it saves


@dataclass
class Summary:
    """What `write` did. `buckets`: pictures made in each."""

    out: Path
    made: int = 0
    existing: int = 0
    buckets: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """All that decides a series of pictures."""

    seed: int
    world: str
    buckets: tuple[str, ...]
    leave_out: bool

    def plain(self) -> dict[str, Any]:
        return {**asdict(self), "buckets": list(self.buckets)}


def buckets_of(sizes: Sequence[int], aspects: Sequence[str]) -> tuple[str, ...]:
    """Names of the buckets of these bases and aspects. Raises BadInput if there is none such."""
    bases, ratios = {b.base for b in BUCKETS}, {b.aspect for b in BUCKETS}
    for size in sizes:
        if size not in bases:
            raise BadInput(f"shapes: there is no size {size}; there are {', '.join(map(str, sorted(bases)))}")
    for aspect in aspects:
        if aspect not in ratios:
            raise BadInput(f"shapes: there is no aspect {aspect!r}; there are {', '.join(sorted(ratios))}")
    return tuple(b.name for b in BUCKETS if b.base in sizes and b.aspect in aspects)


def picture_size(bucket: Bucket) -> tuple[int, int]:
    """(width, height) in pixels of mini's pictures of a bucket: whole patches, about a 16th of its sides."""
    width, height = (round(side / (PATCH * SCALE)) * PATCH for side in (bucket.width, bucket.height))
    return width, height


@cache
def file_size(bucket: Bucket) -> tuple[int, int]:
    """(width, height) of a bucket's files: the smallest multiple of `picture_size` that `assign` puts into it.

    Where there is none, because another bucket has the same pictures and is nearer in aspect: the size that loses
    least to the crop, at most 2 columns or rows of the picture.
    """
    from lensmodel.data.transform import cover_size

    wide, high = picture_size(bucket)
    for times in range(SCALE, 2 * SCALE):
        if assign(wide * times, high * times) == bucket:
            return wide * times, high * times
    sizes = (
        (math.prod(cover_size(width, height, wide, high)), width * height, width, height)
        for height in range(bucket.height - 32, bucket.height + 33)
        for width in range(bucket.width - 32, bucket.width + 33)
        if assign(width, height) == bucket
    )
    return min(sizes)[2:]


def scene_of(recipe: Recipe, index: int) -> tuple[Bucket, Scene]:
    """The bucket and the scene of picture `index`: they depend on nothing else."""
    rng = Random(f"scene/{recipe.seed}/{index}")
    bucket = BY_NAME[rng.choice(recipe.buckets)]
    pairs = pairs_of("seen") if recipe.leave_out else None
    return bucket, sample(rng, *picture_size(bucket), world=recipe.world, pairs=pairs)


def write(
    out: Path, n: int, seed: int = 0, world: str = "grid", buckets: Sequence[str] = ("512x512",),
    leave_out: bool = False, workers: int | None = None,
) -> Summary:  # fmt: skip
    """Make OUT/shapes-000000.png to shapes-(n-1), each with .txt (the dense caption) and .json (`brief`, the scene,
    what both captions assert, and the recipe).

    A picture depends on its number and the recipe, not on `n`: a run with a larger n, or after an interruption,
    keeps what is there, and the same recipe gives the same bytes. `leave_out` keeps the pairs of colour and shape in
    `scene.UNSEEN` out. `workers`: processes, as many as there are processors if None. One run at a time in a folder.

    Raises BadInput for an unknown world or bucket, a negative n, or an OUT made with another recipe.
    """
    out = Path(out)
    if n < 0:
        raise BadInput(f"shapes: the number of pictures is {n}; it must not be negative")
    if world not in WORLDS:
        raise BadInput(f"shapes: there is no world {world!r}; there are {', '.join(WORLDS)}")
    unknown = [name for name in buckets if name not in BY_NAME]
    if unknown or not buckets:
        raise BadInput(
            f"shapes: there is no bucket {unknown[0]!r}" if unknown else "shapes: no bucket is given"
        )
    if out.exists() and not out.is_dir():
        raise BadInput(f"shapes: {out} is a file; give a folder")
    out.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(seed, world, tuple(buckets), leave_out)
    have = {path.stem for path in out.glob("shapes-*.png")}
    _check_recipe(out, have, recipe)
    todo = [index for index in range(n) if _stem(index) not in have]

    workers = workers or (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    make = partial(_make, out, recipe)
    made = _in_pool(make, todo, workers) if workers > 1 and len(todo) >= POOL_FROM else map(make, todo)
    counts = Counter(track(made, "shapes", "images", len(todo)))
    return Summary(out, counts.total(), n - len(todo), dict(sorted(counts.items())))


def _in_pool(make: partial[str], todo: Sequence[int], workers: int) -> Iterator[str]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        try:
            yield from pool.map(make, todo, chunksize=CHUNK)
        except BrokenProcessPool:
            raise LensError("shapes: a worker process died; run the same command again to go on") from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _make(out: Path, recipe: Recipe, index: int) -> str:
    """Draw and write one picture; the name of its bucket."""
    bucket, scene = scene_of(recipe, index)
    dense, dense_spec = caption.dense(scene, Random(f"dense/{recipe.seed}/{index}"))
    brief, brief_spec = caption.brief(scene, Random(f"brief/{recipe.seed}/{index}"))
    facts = {
        "brief": brief,
        "bucket": bucket.name,
        "scene": asdict(scene),
        "asserts": {"dense": dense_spec.plain(), "brief": brief_spec.plain()},
        "recipe": recipe.plain(),
    }
    image = io.BytesIO()
    Image.fromarray(render(scene, *file_size(bucket))).save(image, "PNG", compress_level=3)
    stem = _stem(index)
    # The image last: whatever the moment of a kill, an image never lacks its captions.
    _write(out / f"{stem}.txt", dense.encode())
    _write(out / f"{stem}.json", json.dumps(facts).encode())
    _write(out / f"{stem}.png", image.getvalue())
    return bucket.name


def _check_recipe(out: Path, have: set[str], recipe: Recipe) -> None:
    """A folder holds one series: going on with another seed would mix two without a trace."""
    for stem in sorted(have)[:1]:
        try:
            made = json.loads((out / f"{stem}.json").read_bytes())["recipe"]
        except (OSError, ValueError, KeyError, TypeError):
            raise BadInput(f"shapes: {out}/{stem} was not made by `shapes`; give an empty folder") from None
        if made != recipe.plain():
            raise BadInput(
                f"shapes: {out} holds a series made with {made}, not {recipe.plain()}; give another folder"
            )


def _stem(index: int) -> str:
    return f"shapes-{index:06d}"


def _write(path: Path, data: bytes) -> None:
    scratch = path.with_name(f".{path.name}.tmp")  # a run that resumes makes the same and takes it over
    scratch.write_bytes(data)
    scratch.replace(path)
