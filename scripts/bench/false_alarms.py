"""How many good pictures each rule of a selection drops at the light tier's defaults, and what it drops of spoilt ones.

    python scripts/bench/false_alarms.py [--cache ~/.cache/lens]

Good: 49 clean photographs that the light heads never saw (opencv-doc, palapeli-data and lxqt-themes of Debian, fetched
without root) with five random crops of each, and scikit-image's pictures of cells, coins, text and a clock. Spoilt: the
same photographs blurred or noisy, posterised, blocked, badly exposed, watermarked; black and white frames.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for sample_images
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run from a checkout without installing

import cv2
import numpy as np
from sample_images import debian, photos

from catalog import metrics, pixels
from lensdata import filters
from lensdata.models import LightModels
from lensdata.models.light import damage, rendering

CROPS = 5
PHOTOS = {  # chosen by looking: photographs, sharp, without a mark; of near-duplicates one
    "opencv-doc": (
        "usr/share/doc/opencv-doc/examples",
        "alphamat/input_images/plant.jpg data/aero1.jpg data/aero3.jpg data/aloeL.jpg data/apple.jpg data/baboon.jpg "
        "data/basketball1.png data/board.jpg data/box_in_scene.png data/building.jpg data/butterfly.jpg "
        "data/chicky_512.png data/ela_original.jpg data/fruits.jpg data/graf1.png data/home.jpg data/left.jpg "
        "data/leuvenA.jpg data/messi5.jpg data/orange.jpg data/rubberwhale1.png data/squirrel_cls.jpg data/stuff.jpg "
        "dnn_superres/butterfly.png hfs/data/000.jpg hfs/data/001.jpg hfs/data/002.jpg reg/home.png "
        "text/scenetext01.jpg text/scenetext02.jpg text/scenetext03.jpg text/scenetext04.jpg text/scenetext05.jpg "
        "text/scenetext06.jpg",
    ),
    "palapeli-data": (
        "usr/share/palapeli/collection",
        "castle-maintenon.jpg cincinnati-bridge.jpg citrus-fruits.jpg european-honey-bee.jpg "
        "panther-chameleon-female.jpg",
    ),
    "lxqt-themes": (
        "usr/share/lxqt/wallpapers",
        "Butterfly-Kenneth-Wimer.jpg Valendas.png after-the-rain.jpg appleflower.png butterfly.png cloud.png drop.png "
        "flowers.png fog.jpg this-is-not-windows.jpg",
    ),
}
SHARP = ("cell.png", "coins.png", "camera.png", "clock_motion.png", "ihc.png", "page.png", "text.png")


def photographs(cache: Path) -> dict[str, np.ndarray]:
    """Name -> uint8 [H, W, 3]. Raises debian.Unavailable."""
    found = {}
    for package, (folder, names) in PHOTOS.items():
        root = debian.unpacked(cache / "debian", package) / folder
        found |= {f"{package}/{name}": read(root / name) for name in names.split()}
    return found


def read(path: Path) -> np.ndarray:
    decoded = pixels.decode(path.read_bytes())
    assert decoded.rgb is not None, f"{path}: {decoded.reason}"
    return decoded.rgb


def crops(name: str, rgb: np.ndarray) -> Iterator[np.ndarray]:
    rng, (height, width) = Random(name), rgb.shape[:2]
    for _ in range(CROPS):
        wide, high = (round(side * rng.uniform(0.45, 0.95)) for side in (width, height))
        x, y = rng.randint(0, width - wide), rng.randint(0, height - high)
        yield np.ascontiguousarray(rgb[y : y + high, x : x + wide])


def spoilt(found: dict[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
    """What was done -> the pictures, the short side of each at most 448."""
    rng = np.random.default_rng(0)
    small = [
        cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if (scale := 448 / min(rgb.shape[:2])) < 1
        else rgb
        for rgb in found.values()
    ]
    made = {f"{name}, severe": [how(rgb, 0.9, rng) for rgb in small] for name, how in damage.DAMAGE.items()}
    for mark in (rendering.tiled_mark, rendering.centre_mark, rendering.corner_mark):
        made[mark.__name__.replace("_mark", " watermark")] = [mark(rgb, rng, []) for rgb in small]
    made["black or white"] = [np.full((400, 400, 3), value, np.uint8) for value in (0, 4, 8, 251, 255)]
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "lens")
    found = photographs(parser.parse_args().cache)
    folder = photos.folder()
    assert folder is not None, "scikit-image is not installed"
    sets = {
        "photographs": list(found.values()),
        "crops of them": [crop for name, rgb in found.items() for crop in crops(name, rgb)],
        "sharp pictures": [read(folder / name) for name in SHARP],
        **spoilt(found),
    }
    learned = metrics.names(learned=True)
    models = LightModels(set(learned))

    def measured(rgb: np.ndarray) -> dict[str, float]:
        values = {name: float(value[0]) for name, value in models.run([rgb]).items() if name in learned}
        return values | filters.cheap(rgb)

    rules = {metric.name: metric.limits_of(metrics.LIGHT) for metric in metrics.METRICS}
    strict = {metric.name: metric.limits for metric in metrics.METRICS}
    print(f"share dropped, at the light tier's defaults{'':10}" + "".join(f"{name:>11}" for name in rules))
    of_strict = {}
    for what, pictures in sets.items():
        values = [measured(rgb) for rgb in pictures]
        print(
            f"{what:40} {len(values):6}      "
            + "".join(f"{share(values, name, rules):11.1%}" for name in rules)
        )
        of_strict[what] = [share(values, name, strict) for name in rules]
    print("\nat the other tiers' defaults")
    for what in of_strict:
        print(f"{what:52}" + "".join(f"{value:11.1%}" for value in of_strict[what]))


def share(values: list[dict[str, float]], name: str, rules: dict[str, dict[str, float | None]]) -> float:
    """How many of the pictures the rule drops."""
    low, high = (rules[name].get(f"{end}_{name}") for end in ("min", "max"))
    dropped = [(low is not None and v[name] < low) or (high is not None and v[name] > high) for v in values]
    return sum(dropped) / len(dropped)


if __name__ == "__main__":
    main()
