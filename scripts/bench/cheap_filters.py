"""How much of the speed of a bare scaled decode is left after our rules and all cheap filters.

    python scripts/bench/cheap_filters.py [--images 100] [--size 1024x768]

One core, CPU time, contenders interleaved: compare the ratios, not the rates, between machines.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run from a checkout without installing

import cv2
import numpy as np
import simplejpeg
from _timing import interleaved, report

from catalog import locate, pixels
from lensdata.filters import WORKING_SIDE, cheap


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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--size", default="1024x768", help="width x height of the JPEGs")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, jpeg in enumerate(photographs(options.images, width, height)):
            path = Path(folder) / f"{number:04d}.jpg"
            path.write_bytes(jpeg)
            paths.append(str(path))
        contenders = {
            "full decode": full_decode,
            "half decode": half_decode,
            "inline limit": inline_limit,
            "lens": lens,
            "lens header": header,
        }
        rates = interleaved(contenders, paths, options.rounds)
    print(f"{options.images} JPEGs of {width}x{height}, one core, median of {options.rounds} rounds")
    report(rates, [("lens", "inline limit"), ("lens", "half decode"), ("lens", "full decode")])


if __name__ == "__main__":
    main()
