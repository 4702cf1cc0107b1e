#!/usr/bin/env python3
"""The training loader against webdataset's own over the same tars; and random access through a virtual manifest.

Run it by hand: python scripts/bench/loader.py [--format jpg|png] [--low 700 --high 1600] [--workers 2]
Needs scikit-image, whose sample photos are cut, enlarged and given the grain of a camera (JPEG quality 90).
All give the same: batches of one bucket, pictures scaled to cover the bucket's size and cropped at random to it,
floats in [-1, 1], captions. Rates are decoded samples a second of wall time, and of CPU time of the process and its
children: the best of the rounds, in which the contenders take turns. The peers are WebDataset with WebLoader and
`workers` processes, their imports not timed:
  PIL: what most write: PIL decodes (with draft for JPEGs), torchvision scales (bilinear), crops, and makes floats
    of the picture, all in the workers
  cv2: imdecode, INTER_AREA; the workers send bytes, which become floats batch by batch in the main process
  torchvision: decode_image, resize on tensors (bilinear, antialiased); bytes as before
  cv2, aliased: as cv2 with INTER_LINEAR, which skips pixels when shrinking: faster, and not the same output
They check no sha256 and shuffle nothing; Lens does both.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2
import numpy as np
import torch
import webdataset as wds
from _images import prepare
from PIL import Image
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

import catalog
from catalog import manifest
from catalog.buckets import BY_NAME
from catalog.manifest import Manifest
from lensdata.shards import build
from lensmodel.data.loader import BadSamples, Captions, Loader, Pictures
from lensmodel.data.plan import DataPlan
from lensmodel.data.transform import cover_size

PHOTOS = (
    "astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "hubble_deep_field.jpg", "retina.jpg",
    "motorcycle_left.png", "motorcycle_right.png", "ihc.png",
)  # fmt: skip
Size = tuple[int, int]  # width, height


def photos(count: int, low: int, high: int) -> Iterator[np.ndarray]:
    """Landscape photos of about 4:3, `low` to `high` pixels wide: uint8 [H, W, 3]."""
    import skimage

    rng, folder = np.random.default_rng(0), Path(skimage.__file__).parent / "data"
    sources = [np.asarray(Image.open(folder / name).convert("RGB")) for name in PHOTOS]
    for n in range(count):
        source = sources[n % len(sources)]
        width, aspect = int(rng.integers(low, high + 1)), rng.uniform(1.29, 1.38)
        height = round(width / aspect)
        wide = int(min(source.shape[1], source.shape[0] * aspect) * rng.uniform(0.7, 1))
        high_ = int(wide / aspect)
        left, top = (
            int(rng.integers(0, free + 1)) for free in (source.shape[1] - wide, source.shape[0] - high_)
        )
        photo = cv2.resize(
            source[top : top + high_, left : left + wide], (width, height), interpolation=cv2.INTER_CUBIC
        )
        grain = cv2.GaussianBlur(rng.normal(0, 9, (height, width)).astype(np.float32), (0, 0), 0.7)
        yield np.clip(photo + grain[:, :, None], 0, 255).astype(np.uint8)


def write_images(folder: Path, args: argparse.Namespace) -> tuple[float, float]:
    """Tars of images with captions, as somebody's data may come; returns mean megapixels and kilobytes of an image."""
    folder.mkdir()
    pixels = size = 0
    for n, photo in enumerate(photos(args.photos, args.low, args.high)):
        file = io.BytesIO()
        Image.fromarray(photo).save(file, "JPEG" if args.format == "jpg" else "PNG", quality=90)
        pixels, size = pixels + photo.shape[0] * photo.shape[1], size + len(file.getvalue())
        text = f"photo number {n}".encode()
        with tarfile.open(folder / f"{n % 4}.tar", "a") as tar:
            for name, data in ((f"{n:06d}.{args.format}", file.getvalue()), (f"{n:06d}.txt", text)):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return pixels / args.photos / 1e6, size / args.photos / 1e3


def cut(rgb: np.ndarray, size: Size) -> torch.Tensor:
    top, left = (random.randint(0, have - want) for have, want in zip(rgb.shape, size[::-1], strict=False))
    return torch.from_numpy(np.ascontiguousarray(rgb[top : top + size[1], left : left + size[0]]))


def by_pil(data: bytes, size: Size) -> torch.Tensor:
    opened = Image.open(io.BytesIO(data))
    opened.draft("RGB", cover_size(*opened.size, *size))
    image = opened.convert("RGB")
    wide, high = cover_size(*image.size, *size)
    image = v2.functional.resize(image, [high, wide])
    image = v2.RandomCrop(size[::-1])(image)
    unit = v2.functional.to_dtype(v2.functional.to_image(image), torch.float32, scale=True)
    return v2.functional.normalize(unit, [0.5] * 3, [0.5] * 3)


def by_cv2(data: bytes, size: Size, how: int = cv2.INTER_AREA) -> torch.Tensor:
    rgb = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert rgb is not None
    wanted = cover_size(rgb.shape[1], rgb.shape[0], *size)
    return cut(cv2.resize(rgb, wanted, interpolation=how), size)


def by_torchvision(data: bytes, size: Size) -> torch.Tensor:
    image = decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB)
    wide, high = cover_size(image.shape[2], image.shape[1], *size)
    image = v2.functional.resize(image, [high, wide], antialias=True)
    return v2.RandomCrop(size[::-1])(image)


def webdataset(
    shards: Manifest, decode: Callable[[bytes, Size], torch.Tensor], args: argparse.Namespace
) -> int:
    """One WebDataset and WebLoader a bucket, as many passes as asked for; returns the samples."""
    cv2.setNumThreads(0)  # as is the rule in worker processes
    seen = 0
    for name in sorted({shard["bucket"] for shard in shards.info["shards"]}):
        urls = [str(shards.root / s["name"]) for s in shards.info["shards"] if s["bucket"] == name]
        size = BY_NAME[name].width, BY_NAME[name].height

        def sample(found: dict[str, Any], size: Size = size) -> tuple[torch.Tensor, str]:
            return decode(found[args.format], size), found["txt"].decode()

        data = wds.WebDataset(urls, shardshuffle=False).map(sample).batched(args.batch).repeat(args.epochs)
        for images, captions in wds.WebLoader(data, batch_size=None, num_workers=args.workers):
            if images.dtype == torch.uint8:
                planar = images if images.shape[1] == 3 else images.permute(0, 3, 1, 2)
                images = torch.empty(planar.shape).copy_(planar).div_(127.5).sub_(1)
            assert images.shape[2:] == size[::-1] and len(captions) == len(images)
            seen += len(images)
    cv2.setNumThreads(-1)
    return seen


def lens(data: Manifest, args: argparse.Namespace, folder: Path) -> int:
    """As a run reads it, by its plan; returns the samples."""
    sizes = dict.fromkeys((512, 768, 1024), args.batch)
    plan = DataPlan(data.samples["bucket"].to_list(), np.arange(len(data.samples)), sizes, 0)
    pictures = Pictures(data, lambda wide, high: (wide, high), 0, 0, BadSamples(folder / "bad.jsonl"))
    with Loader(plan, pictures, Captions(data, 0, 0.0, 0.1), workers=args.workers) as loader:
        batches = zip(range(plan.batches_per_epoch * args.epochs), loader, strict=False)
        return sum(len(batch.pixels) for _, batch in batches)


def fetch(data: Manifest, rows: np.ndarray, repeats: int, cold: bool) -> int:
    """Read the samples' bytes; `cold`: from the disk, as far as the kernel lets its copy go."""
    for _ in range(repeats):
        if cold:
            for uri in set(data.samples["uri"]):
                with Path(uri).open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for row in rows.tolist():
            data.read(row)
    return len(rows) * repeats


def timed(contenders: Mapping[str, Callable[[], int]], rounds: int) -> dict[str, tuple[float, float]]:
    """Print samples a second of wall and of CPU time of each; returns them."""
    best: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for name, work in contenders.items():
            start, before = time.monotonic(), os.times()
            seen = work()
            after = os.times()
            wall, cpu = seen / (time.monotonic() - start), seen / (sum(after[:4]) - sum(before[:4]))
            had = best.get(name, (0.0, 0.0))
            best[name] = max(wall, had[0]), max(cpu, had[1])
    for name, (wall, cpu) in best.items():
        print(f"{name:36} {wall:9.1f} {cpu:9.1f}")
    return best


def main() -> None:
    """Time all and print rates and ratios."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--format", choices=("jpg", "png"), default="jpg")
    options.add_argument("--low", type=int, default=700, help="least width of a photo  [%(default)s]")
    options.add_argument("--high", type=int, default=1600, help="most  [%(default)s]")
    options.add_argument("--photos", type=int, default=192)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--batch", type=int, default=12)
    options.add_argument(
        "--epochs", type=int, default=2, help="passes over the photos a round  [%(default)s]"
    )
    options.add_argument("--rounds", type=int, default=3)
    args = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        megapixels, kilobytes = write_images(folder / "images", args)
        chosen = prepare(folder / "catalog", folder / "images")
        opened = catalog.open(folder / "catalog")
        build(opened, chosen, folder / "shards", shard_samples=args.batch, workers=1)
        shards = manifest.load(folder / "shards")
        virtual = manifest.load(chosen.root)
        print(
            f"{args.photos} photos of {megapixels:.2f} MP and {kilobytes:.0f} kB, {args.format}, in "
            f"{len(shards.info['buckets'])} buckets, {args.workers} workers, best of {args.rounds} rounds"
        )
        print(f"{'samples a second of':36} {'wall':>9} {'CPU':>9}")
        peers: dict[str, Callable[[bytes, Size], torch.Tensor]] = {
            "PIL": by_pil, "cv2": by_cv2, "torchvision": by_torchvision,
            "cv2, aliased": partial(by_cv2, how=cv2.INTER_LINEAR),
        }  # fmt: skip
        contenders = {f"webdataset, {n}": partial(webdataset, shards, d, args) for n, d in peers.items()}
        rates = timed({"lens": partial(lens, shards, args, folder), **contenders}, args.rounds)
        for peer in contenders:
            wall, cpu = (a / b for a, b in zip(rates["lens"], rates[peer], strict=True))
            print(f"lens / {peer} = {wall:.2f} of wall time, {cpu:.2f} of CPU time")
        inorder = np.arange(len(virtual.samples))
        shuffled = np.random.default_rng(0).permutation(inorder)
        print("virtual manifest, bytes read and checked")
        ways = {
            f"{order}, {state}": partial(
                fetch, virtual, rows, 10 if state == "cached" else 2, state == "cold"
            )
            for state in ("cached", "cold")
            for order, rows in (("in order", inorder), ("at random", shuffled))
        }
        rates = timed(ways, args.rounds)
        for state in ("cached", "cold"):
            ratio = rates[f"at random, {state}"][0] / rates[f"in order, {state}"][0]
            print(f"at random / in order, {state} = {ratio:.2f} of wall time")


if __name__ == "__main__":
    main()
