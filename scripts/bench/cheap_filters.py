"""How much of the speed of a bare scaled decode is left after our rules and all cheap filters, first in the loop of a
worker, then from `lensdata score` as users run it: parts written and committed, processes started.

    python scripts/bench/cheap_filters.py [--images 100] [--size 1024x768] [--stage 5000] [--cleanvision PYTHON]

CPU time, children's included, contenders interleaved: compare the ratios, not the rates, between machines. With
`--cleanvision`, an interpreter that has it, its blurry, low-information, dark, light and duplicate checks run over the
same files.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run from a checkout without installing

import cv2
import numpy as np
import simplejpeg
from _timing import interleaved, report

import catalog
from catalog import metrics, pixels
from catalog.bytes import locate
from lensdata.filters import WORKING_SIDE, cheap
from lensdata.ingest import ingest
from lensdata.score import score

FORMULAS = tuple(metrics.names(learned=False))
CLEANVISION = """
import sys
from cleanvision import Imagelab
checks = ("blurry", "low_information", "dark", "light", "exact_duplicates", "near_duplicates")
Imagelab(data_path=sys.argv[1], verbose=False).find_issues({name: {} for name in checks}, n_jobs=1, verbose=False)
"""


def photographs(count: int, width: int, height: int) -> list[bytes]:
    """`count` JPEGs (quality 90, 4:2:0): crops of scikit-image's sample photos, else noise and shapes."""
    rng = np.random.default_rng(0)
    tiles = _sample_photos() or [_synthetic(rng) for _ in range(8)]
    jpegs = []
    for number in range(count):
        tile = tiles[number % len(tiles)]
        rows, columns = -(-2 * height // tile.shape[0]), -(-2 * width // tile.shape[1])
        top, left = rng.integers(0, height), rng.integers(0, width)
        crop = np.tile(tile, (rows, columns, 1))[top : top + height, left : left + width]
        jpegs.append(simplejpeg.encode_jpeg(np.ascontiguousarray(crop), 90, colorsubsampling="420"))
    return jpegs


def _sample_photos() -> list[np.ndarray]:
    try:
        from skimage import data
    except ImportError:
        return []
    names = ("astronaut", "coffee", "chelsea", "rocket")
    return [np.ascontiguousarray(getattr(data, name)()[..., :3]) for name in names]


def _synthetic(rng: np.random.Generator) -> np.ndarray:
    ground = cv2.resize(
        rng.integers(0, 256, (9, 12, 3), dtype=np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC
    )
    for _ in range(30):
        centre = (int(rng.integers(640)), int(rng.integers(480)))
        cv2.circle(ground, centre, int(rng.integers(5, 60)), tuple(map(int, rng.integers(0, 256, 3))), -1)
    return np.clip(ground + rng.normal(0, 6, ground.shape), 0, 255).astype(np.uint8)


def full_decode(path: str) -> object:
    return simplejpeg.decode_jpeg(Path(path).read_bytes(), "RGB")


def _halved(path: str) -> np.ndarray:
    return simplejpeg.decode_jpeg(
        Path(path).read_bytes(), "RGB", min_height=WORKING_SIDE, min_width=WORKING_SIDE, min_factor=2
    )


def half_decode(path: str) -> object:
    return _halved(path)


def inline_limit(path: str) -> object:
    """The least that gives the three values on the scaled decode: no checks, no fixed working side."""
    rgb = _halved(path)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    clarity = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))[1][0, 0] ** 2
    counts = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel()
    shares = counts[counts > 0] / grey.size
    red, green, blue = cv2.split(rgb)
    return clarity, -(shares * np.log2(shares)).sum(), cv2.mean(cv2.max(cv2.max(red, green), blue))[0] / 255


def lens(path: str) -> object:
    """What the engine does: find the bytes, decode by the rules, all cheap filters and the hash."""
    decoded = pixels.decode(locate.read(path), side=WORKING_SIDE)
    assert decoded.rgb is not None
    return cheap(decoded.rgb)


def header(path: str) -> object:
    return pixels.probe(locate.read(path))


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of `work`, of this process and of the children that have ended."""
    before = os.times()
    work()
    return sum(os.times()[:4]) - sum(before[:4])


def write(folder: Path, count: int, size: tuple[int, int]) -> list[str]:
    """`count` files, all different: the photographs repeat, with a trailing comment that no decoder minds."""
    folder.mkdir()
    kinds = photographs(min(count, 200), *size)
    paths = []
    for number in range(count):
        path = folder / f"{number:06d}.jpg"
        path.write_bytes(kinds[number % len(kinds)] + str(number).encode())
        paths.append(str(path))
    return paths


def stage(folder: Path, paths: list[str], peer: str | None, rounds: int) -> None:
    """The whole of `score --only clarity,entropy,luminance`, one worker, against the limit over the same files."""
    ingest(catalog.open(folder / "ingested"), [Path(paths[0]).parent], workers=1)
    seconds: dict[str, list[float]] = {"limit": [], "score": []}
    for _ in range(rounds):
        seconds["limit"].append(cpu_seconds(lambda: [inline_limit(path) for path in paths]))
        copy = shutil.copytree(folder / "ingested", folder / "scored")
        opened = catalog.open(copy)
        seconds["score"].append(cpu_seconds(lambda: score(opened, only=FORMULAS, workers=1)))  # noqa: B023
        done = opened.sql("SELECT count(*) FROM scores WHERE luminance IS NOT NULL").item()
        assert done == len(paths), f"{done} of {len(paths)} images scored"
        shutil.rmtree(copy)
    if peer:
        line = [peer, "-c", CLEANVISION, str(Path(paths[0]).parent)]
        seconds["cleanvision"] = [
            cpu_seconds(
                lambda: subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
        ]
    rates = {name: len(paths) / min(taken) for name, taken in seconds.items()}
    print(
        f"\n`score --only {','.join(FORMULAS)}` on {len(paths)} images, one worker, all CPU time, best of {rounds}"
    )
    report(rates, [("score", "limit")] + ([("score", "cleanvision")] if peer else []), "images/CPU-s")
    if not peer:
        print("cleanvision: not timed; name an interpreter that has it with --cleanvision")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--size", default="1024x768", help="width x height of the JPEGs")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--stage", type=int, default=5000, help="images for the whole stage; 0 skips it")
    parser.add_argument("--cleanvision", metavar="PYTHON", help="an interpreter that has cleanvision")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write(folder / "few", options.images, (width, height))
        contenders: dict[str, Callable[[str], object]] = {
            "full decode": full_decode,
            "half decode": half_decode,
            "inline limit": inline_limit,
            "lens": lens,
            "lens header": header,
        }
        rates = interleaved(contenders, paths, options.rounds)
        print(f"{options.images} JPEGs of {width}x{height}, one core, median of {options.rounds} rounds")
        report(rates, [("lens", "inline limit"), ("lens", "half decode"), ("lens", "full decode")])
        if options.stage:
            many = write(folder / "many", options.stage, (width, height))
            stage(folder, many, options.cleanvision, min(options.rounds, 3))


if __name__ == "__main__":
    main()
