"""What the second look at pictures keeps of true copies, and what it keeps apart, of pairs the embedding joins.

    python scripts/bench/second_look.py --images FOLDER [--limit 130] [--font FILE.ttf]

FOLDER holds pictures of different families (drawings); scikit-image's samples and their quarters are the photographs.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run from a checkout without installing

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from catalog import pixels
from lensdata import filters
from lensdata.dedup.pictures import Pictures
from lensdata.models import LightModels
from lensdata.vectors import thumbnail

THRESHOLD = 0.985
LONGEST = 768
WORDS = ("EXIT", "EDIT", "STOP", "SHOP", "OPEN", "OVEN", "SALE", "SAVE", "MENU", "MEMO", "TIGER", "TIMER", "2023",
         "2024", "10%", "70%")  # fmt: skip
LINES = ("the", "of", "invoice", "total", "tax", "amount", "due", "paid", "client", "service", "hour", "rate", "item",
         "unit", "price", "net", "order", "date")  # fmt: skip


def jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def scaled(image: Image.Image, factor: float) -> Image.Image:
    size = (max(round(image.width * factor), 1), max(round(image.height * factor), 1))
    return image.resize(size, Image.Resampling.LANCZOS)


def cropped(image: Image.Image, share: float) -> Image.Image:
    x, y = round(image.width * share), round(image.height * share)
    return image.crop((x, y, image.width - x, image.height - y))


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG quality 60": lambda image: jpeg(image, 60),
    "JPEG quality 30": lambda image: jpeg(image, 30),
    "half size": lambda image: png(scaled(image, 1 / 2)),
    "half size and JPEG 60": lambda image: jpeg(scaled(image, 1 / 2), 60),
    "a third of the size": lambda image: png(scaled(image, 1 / 3)),
    "a third and JPEG 30": lambda image: jpeg(scaled(image, 1 / 3), 30),
    "1% cut off each side": lambda image: png(cropped(image, 0.01)),
}


class Seen:
    """Encoded pictures as scoring sees them: unit vectors of halves, and what the second look compares."""

    def __init__(self, models: LightModels, encoded: list[bytes]) -> None:
        decoded = [pixels.decode(data, side=filters.WORKING_SIDE) for data in encoded]
        rgb = [one.rgb for one in decoded if one.rgb is not None]
        assert len(rgb) == len(encoded)
        vectors = models.run([reduced(one) for one in rgb])["embedding"].astype(np.float16).astype(np.float32)
        self.vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self.thumbnails = np.stack([thumbnail(reduced(one)) for one in rgb])
        self.sides = np.array([min(Image.open(io.BytesIO(data)).size) for data in encoded])
        self.hashes = np.array([filters.cheap(one)["phash"] for one in rgb], dtype=np.uint64)


def reduced(rgb: np.ndarray, side: int = 512) -> np.ndarray:
    scale = side / min(rgb.shape[:2])
    return rgb if scale >= 1 else cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def joined(a: Seen, i: np.ndarray, b: Seen, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the pairs a[i], b[j]: those the embedding joins, and which of these the second look joins, too."""
    near = np.einsum("ij,ij->i", a.vectors[i], b.vectors[j]) > THRESHOLD
    both = [
        np.concatenate(pair)
        for pair in ((a.thumbnails, b.thumbnails), (a.sides, b.sides), (a.hashes, b.hashes))
    ]
    pictures = Pictures(*both, np.ones(len(both[0]), dtype=bool))
    return near, pictures.agree(i[near], j[near] + len(a.sides))


def photographs() -> list[Image.Image]:
    from skimage import data

    found = []
    for name in ("astronaut", "coffee", "chelsea", "rocket", "camera", "coins", "brick", "grass", "gravel",
                 "immunohistochemistry", "retina", "hubble_deep_field", "moon", "clock", "colorwheel"):  # fmt: skip
        try:
            image = Image.fromarray(np.asarray(getattr(data, name)())).convert("RGB")
        except (OSError, ValueError, ImportError):  # a sample that would have to be downloaded
            continue
        width, height = image.width // 2, image.height // 2
        image.thumbnail((LONGEST, LONGEST))
        found.append(image)
        if min(width, height) >= 200:
            whole = Image.fromarray(np.asarray(getattr(data, name)())).convert("RGB")
            found += [whole.crop((x, y, x + width, y + height)) for x in (0, width) for y in (0, height)]
    return found


def drawings(folder: Path, limit: int) -> list[Image.Image]:
    paths = sorted(path for path in folder.rglob("*.png") if "copies" not in path.parts)
    random.Random(0).shuffle(paths)
    found = []
    for path in paths:
        decoded = pixels.decode(path.read_bytes())
        if decoded.rgb is not None and min(decoded.rgb.shape[:2]) >= 48 and len(found) < limit:
            found.append(Image.fromarray(decoded.rgb))
            found[-1].thumbnail((LONGEST, LONGEST))
    return found


def different(font: Callable[[int], ImageFont.FreeTypeFont | ImageFont.ImageFont], ground: Image.Image):
    """Groups of pictures of which none is a copy of another."""

    def lettered(image: Image.Image, text: str, size: int, at: float, colour: str) -> Image.Image:
        image = image.copy()
        where = (image.width // 2, round(image.height * at))
        ImageDraw.Draw(image).text(where, text, font=font(size), fill=colour, anchor="mm")
        return image

    def page(seed: int, size: int) -> Image.Image:
        choose = random.Random(seed)
        image = Image.new("RGB", (850, 1100), "white")
        for y in range(120, 1040, round(size * 1.6)):
            text = " ".join(choose.choice(LINES) for _ in range(9))
            ImageDraw.Draw(image).text((60, y), text, font=font(size), fill="black")
        return lettered(image, "INVOICE", 40, 0.05, "black")

    white = Image.new("RGB", (512, 512), "white")
    for size in (140, 48, 24):
        yield f"words of {size} px on white", [lettered(white, word, size, 0.5, "black") for word in WORDS]
    for size in (64, 32):
        yield (
            f"captions of {size} px on a photograph",
            [lettered(ground, word, size, 0.85, "white") for word in WORDS],
        )
    yield "pages of 18 px type", [page(seed, 18) for seed in range(14)]
    yield "pages of 12 px type", [page(seed, 12) for seed in range(14)]
    colours = [(255, 0, 0), (200, 20, 20), (240, 10, 10), (0, 0, 255), (0, 0, 230), (0, 0, 0), (12, 12, 12),
               (24, 24, 24), (255, 255, 255), (245, 245, 245), (235, 235, 235), (128, 128, 128)]  # fmt: skip
    yield "flat colours", [Image.new("RGB", (400, 400), colour) for colour in colours]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=130)
    parser.add_argument("--font", help="a TrueType file; Pillow's own font if left out")
    options = parser.parse_args()
    models = LightModels({"embedding"})
    photos = photographs()
    for kind, images in (("drawings", drawings(options.images, options.limit)), ("photographs", photos)):
        original = Seen(models, [png(image) for image in images])
        rows = np.arange(len(images))
        for name, copy in COPIES.items():
            near, agreed = joined(original, rows, Seen(models, [copy(image) for image in images]), rows)
            share = agreed.mean() if len(agreed) else 1.0
            print(
                f"{kind:<12} {name:<22} embedding joins {near.sum():>4} of {len(near)}, of these kept {share:.1%}"
            )

    def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        return ImageFont.truetype(options.font, size) if options.font else ImageFont.load_default(size)

    for name, images in different(font, photos[0].resize((512, 512))):
        seen = Seen(models, [png(image) for image in images])
        i, j = np.triu_indices(len(images), 1)
        near, agreed = joined(seen, i, seen, j)
        apart = 1 - agreed.mean() if len(agreed) else 1.0
        print(
            f"different    {name:<34} embedding joins {near.sum():>4} of {len(near)}, of these apart {apart:.1%}"
        )


if __name__ == "__main__":
    main()
