"""What the light models cost an image, and how far their embedding tells copies from other pictures.

    python scripts/bench/light_models.py [--images PNG]... [--limit 120]

Without --images only the cost: CPU time of one thread, 512 x 512 inputs, batches of 16. With folders of pictures also
the cosines of edited copies and of different pictures, one picture a family (leading letters of the file name).
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run from a checkout without installing

import numpy as np
from PIL import Image, ImageOps

from lensdata.models import METRICS, LightModels

THRESHOLD, BATCH, MOST_SIDE, LEAST_SIDE = 0.985, 16, 768, 96


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def cut(image: Image.Image, share: float) -> Image.Image:
    x, y = round(image.width * share), round(image.height * share)
    return image.crop((x, y, image.width - x, image.height - y))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG quality 60": lambda image: jpeg(image, 60),
    "JPEG quality 30": lambda image: jpeg(image, 30),
    "half size": lambda image: image.reduce(2),
    "half size and JPEG 60": lambda image: jpeg(image.reduce(2), 60),
    "a third of the size": lambda image: image.reduce(3),
    "1% cut off each side": lambda image: cut(image, 0.01),
    "5% cut off each side": lambda image: cut(image, 0.05),
    "mirrored": ImageOps.mirror,
}


def pictures(folders: list[Path], limit: int) -> list[Image.Image]:
    """One picture a family over white, at most MOST_SIDE long; the same ones every time."""
    families: dict[str, Path] = {}
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        name = re.match(r"[a-z]*", path.stem.lower())
        families.setdefault(name[0] if name and name[0] else path.stem, path)
    kept: list[Image.Image] = []
    for index in np.random.default_rng(0).permutation(len(families)):
        path = list(families.values())[index]
        try:
            with Image.open(path) as image:
                if min(image.size) < LEAST_SIDE or image.width * image.height > 60_000_000:
                    continue
                rgba = image.convert("RGBA")
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
        rgba.thumbnail((MOST_SIDE, MOST_SIDE), Image.Resampling.BOX)
        flat = Image.new("RGBA", rgba.size, "white")
        rgb = Image.alpha_composite(flat, rgba).convert("RGB")
        if min(rgb.size) >= LEAST_SIDE and np.asarray(rgb).std() >= 4:
            kept.append(rgb)
        if len(kept) == limit:
            break
    return kept


def cost() -> None:
    rgb = [np.random.default_rng(n).integers(0, 256, (512, 512, 3)).astype(np.uint8) for n in range(BATCH)]
    for wanted in ({"nsfw"}, {"embedding"}, set(METRICS) - {"nsfw"}, set(METRICS)):
        models = LightModels(wanted)
        models.run(rgb)
        rounds = []
        for _ in range(5):
            started = time.process_time()
            models.run(rgb)
            rounds.append((time.process_time() - started) / BATCH)
        print(f"{' + '.join(sorted(wanted)):42} {min(rounds) * 1000:5.1f} ms CPU an image")


def separation(images: list[Image.Image]) -> None:
    models = LightModels({"embedding"})

    def vectors(changed: list[Image.Image]) -> np.ndarray:
        return models.run([np.asarray(image) for image in changed])["embedding"]

    originals = vectors(images)
    print(f"{len(images)} pictures; copies: the lowest 5%, the share above {THRESHOLD}")
    for name, change in COPIES.items():
        cosines = (originals * vectors([change(image) for image in images])).sum(1)
        print(f"{name:24} {np.quantile(cosines, 0.05):.3f}  {np.mean(cosines > THRESHOLD):4.0%}")
    pairs = (originals @ originals.T)[np.triu_indices(len(images), 1)]
    passed = int((pairs > THRESHOLD).sum())
    print(
        f"different pictures: 99.9% below {np.quantile(pairs, 0.999):.3f}; {passed} of {len(pairs)} pairs pass"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, action="append", default=[])
    parser.add_argument("--limit", type=int, default=120)
    args = parser.parse_args()
    cost()
    if args.images:
        separation(pictures(args.images, args.limit))


if __name__ == "__main__":
    main()
