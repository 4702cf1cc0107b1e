"""Writing a series of text images as an ordinary image folder that `lensdata ingest` reads."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from PIL import Image

from catalog.errors import BadInput, LensError
from catalog.notices import track
from lensdata.render_text import backgrounds as grounds
from lensdata.render_text.corpus import SCRIPTS
from lensdata.render_text.draw import draw
from lensdata.render_text.fonts import Face, by_script, find_fonts

CHUNK = 16  # pictures a worker makes between two reports
POOL_FROM = 64  # below this many pictures starting worker processes costs more than it saves


class Job(NamedTuple):
    """What a worker process needs to start. Kept small on purpose, each worker reads the fonts itself: a
    parent that has more to send than a pipe holds would wait for ever for a worker that died at its start."""

    out: Path
    recipe: dict[str, Any]
    fonts: list[Path] | None
    scripts: tuple[str, ...] | None
    backgrounds: Path | None


class Materials(NamedTuple):
    """What every picture of a run is made with."""

    out: Path
    recipe: dict[str, Any]
    faces: Mapping[str, Sequence[Face]]
    pictures: Sequence[Path]


_materials: Materials  # set in worker processes


@dataclass
class Summary:
    """What `render` did. `skipped`: script -> why no text was rendered in it; `failed`: index -> what went
    wrong."""

    out: Path
    made: int = 0
    existing: int = 0
    scripts: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)


def render(
    out: Path,
    n: int,
    seed: int = 0,
    fonts: list[Path] | None = None,
    backgrounds: Path | None = None,
    scripts: tuple[str, ...] | None = None,
    workers: int | None = None,
) -> Summary:
    """Make OUT/text-000000.jpg (or .png) to text-(n-1), each with .txt (the exact text, NFC, a newline for
    each line break in the picture) and .json (how it was made).

    A picture depends on (seed, index) and on the fonts and backgrounds at hand, not on `n`: a run with a
    larger n, or after an interruption, keeps what is there. `fonts`: files or folders, searched before the
    usual folders. `backgrounds`: a folder of pictures to sample crops from. `scripts`: of latin, chinese,
    japanese, korean, arabic; all that the fonts can set if None. `workers`: processes, as many as there are
    processors if None.

    Raises BadInput for an unknown or unsettable script, a missing folder, a negative n, or an OUT made with
    another seed or scripts; LensError if most pictures fail.
    """
    out = Path(out)
    if n < 0:
        raise BadInput(f"render-text: the number of images is {n}; it must not be negative")
    faces, skipped = _faces(fonts, scripts)
    pictures = _pictures(backgrounds)
    if out.exists() and not out.is_dir():
        raise BadInput(f"render-text: {out} is a file; give a folder")
    out.mkdir(parents=True, exist_ok=True)
    recipe = {
        "seed": seed,
        "scripts": list(scripts) if scripts else None,
        "backgrounds": backgrounds is not None,
    }
    have = {path.stem for path in out.glob("text-*") if path.suffix in (".jpg", ".png")}
    todo = [index for index in range(n) if _stem(index) not in have]
    _check_recipe(out, sorted(have), recipe)

    summary = Summary(out, existing=n - len(todo), skipped=skipped)
    counts: Counter[str] = Counter()
    workers = workers or (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if workers > 1 and len(todo) >= POOL_FROM:
        outcomes = _in_pool(Job(out, recipe, fonts, scripts, backgrounds), todo, workers)
    else:
        materials = Materials(out, recipe, faces, pictures)
        outcomes = (_make(index, materials) for index in todo)
    for index, script, error in track(outcomes, "render-text", "images", len(todo)):
        if error:
            summary.failed[index] = error
        else:
            counts[script] += 1
    summary.made = sum(counts.values())
    summary.scripts = dict(sorted(counts.items()))
    if len(summary.failed) > len(todo) // 2:
        index, error = next(iter(summary.failed.items()))
        raise LensError(
            f"render-text: {len(summary.failed)} of {len(todo)} images failed; the first, {index}: {error}"
        )
    return summary


def _faces(
    fonts: list[Path] | None, scripts: tuple[str, ...] | None
) -> tuple[dict[str, list[Face]], dict[str, str]]:
    unknown = sorted(set(scripts or ()) - set(SCRIPTS))
    if unknown:
        raise BadInput(f"render-text: unknown script {unknown[0]!r}; known: {', '.join(SCRIPTS)}")
    for place in fonts or ():
        if not Path(place).exists():
            raise BadInput(f"render-text: there is no font file or folder {place}")
    files = find_fonts(fonts) if fonts else []
    names = {path.name for path in files}
    files += [path for path in find_fonts() if path.name not in names]
    usable, missing = by_script(files, scripts or SCRIPTS)
    if scripts and missing:
        script, reason = next(iter(missing.items()))
        raise BadInput(
            f"render-text: cannot render {script}: {reason}; install a font for it or pass --fonts"
        )
    if not usable:
        raise BadInput(
            "render-text: no usable font found; install one (such as fonts-dejavu) or pass --fonts"
        )
    return usable, missing


def _check_recipe(out: Path, have: Sequence[str], recipe: Mapping[str, Any]) -> None:
    """A folder holds one series: going on with another seed would mix two without a trace."""
    for stem in have[:1]:
        try:
            made = json.loads((out / f"{stem}.json").read_text(encoding="utf-8"))["recipe"]
        except (OSError, ValueError, KeyError, TypeError):
            raise BadInput(
                f"render-text: {out}/{stem} was not made by render-text; give an empty folder"
            ) from None
        if made != recipe:
            raise BadInput(
                f"render-text: {out} holds a series made with {made}, not {recipe}; give another folder"
            )


def _pictures(backgrounds: Path | None) -> list[Path]:
    return grounds.find_pictures(Path(backgrounds)) if backgrounds else []


def _in_pool(job: Job, todo: Sequence[int], workers: int) -> Iterator[tuple[int, str, str]]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_start_worker, initargs=(job,)) as pool:
        try:
            yield from pool.map(_make, todo, chunksize=CHUNK)
        except BrokenProcessPool:
            raise LensError(
                "render-text: a worker process died; run the same command again to go on"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_worker(job: Job) -> None:
    global _materials
    faces, _ = _faces(job.fonts, job.scripts)
    _materials = Materials(job.out, job.recipe, faces, _pictures(job.backgrounds))


def _make(index: int, materials: Materials | None = None) -> tuple[int, str, str]:
    """Draw and write one picture: (index, script, error or "")."""
    out, recipe, faces, pictures = materials or _materials
    try:
        picture = draw(recipe["seed"], index, faces, pictures)
    except Exception as error:  # one bad font must not end a job of 100,000 pictures
        return index, "", f"{type(error).__name__}: {error}"
    stem = _stem(index)
    rng = Random(f"{recipe['seed']}/{index}/file")
    image, data = Image.fromarray(picture.rgb), io.BytesIO()
    if rng.random() < 0.7:
        suffix, quality = ".jpg", rng.randint(82, 96)
        image.save(data, "JPEG", quality=quality)
    else:
        suffix, quality = ".png", None
        image.save(data, "PNG", compress_level=3)
    facts = {**picture.facts, "quality": quality, "recipe": recipe}
    # The image last: whatever the moment of a kill, an image never lacks its caption.
    _write(out / f"{stem}.txt", picture.caption.encode())
    _write(out / f"{stem}.json", json.dumps(facts, ensure_ascii=False).encode())
    _write(out / f"{stem}{suffix}", data.getvalue())
    return index, picture.facts["script"], ""


def _stem(index: int) -> str:
    return f"text-{index:06d}"


def _write(path: Path, data: bytes) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    scratch.write_bytes(data)
    scratch.replace(path)
