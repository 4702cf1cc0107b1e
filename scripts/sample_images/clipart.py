"""A diverse choice from openclipart: public-domain drawings of every size, with captions from their SVG
twins."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image

from sample_images.captions import Metadata, caption, read_metadata

SMALL_SHARE = (
    0.25  # of the pictures lies below the paper's smallest area, so that the resolution filter has work
)
SMALLEST_AREA = 384**2
LARGEST_SIDE = 4000
COLLECTION = 4  # a title that so many of the chosen pictures share names their collection


@dataclass(frozen=True)
class Drawing:
    path: Path
    name: Path  # relative to the package's folder, such as animals/cats/cat_01.png
    width: int
    height: int
    about: Metadata

    @property
    def area(self) -> int:
        return self.width * self.height


def choose(pngs: Path, svgs: Path, count: int, seed: int) -> list[Drawing]:
    """`count` drawings (fewer if there are not so many), one folder after the other in turn, no file twice.

    A quarter is smaller than SMALLEST_AREA; the last one is the package's largest, too large to decode. The
    choice depends on (count, seed) and the package alone.
    """
    files = [path for path in sorted(pngs.rglob("*.png")) if not path.is_symlink()]
    sizes = {path: size for path in files if (size := _png_size(path))}
    usable = {path: size for path, size in sizes.items() if max(size) <= LARGEST_SIDE}
    seen: set[str] = set()

    def take(wanted: int, small: bool) -> list[Drawing]:
        taken: list[Drawing] = []
        for path in _in_turn(
            [p for p, (w, h) in usable.items() if (w * h < SMALLEST_AREA) == small], pngs, seed
        ):
            if len(taken) == wanted:
                break
            name = path.relative_to(pngs)
            about = (
                read_metadata(svgs / name.with_suffix(".svg"))
                if (svgs / name.with_suffix(".svg")).exists()
                else None
            )
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if about and about.public_domain and digest not in seen:
                seen.add(digest)
                taken.append(Drawing(path, name, *usable[path], about))
        return taken

    huge = [path for path, size in sizes.items() if max(size) > LARGEST_SIDE]
    few = round(count * SMALL_SHARE)
    chosen = take(count - few - bool(huge), small=False) + take(few, small=True)
    if huge and count:
        path = max(huge, key=lambda path: (sizes[path][0] * sizes[path][1], str(path)))
        name = path.relative_to(pngs)
        chosen.append(Drawing(path, name, *sizes[path], read_metadata(svgs / name.with_suffix(".svg"))))
    return chosen


def write(drawings: list[Drawing], out: Path, seed: int) -> dict[str, int]:
    """Copy the drawings to OUT with .txt captions, half of them with .json (licence, author, url), and add
    copies for dedup to find: one in fifty byte for byte, one in fifty rescaled and saved as JPEG. Returns
    how many of each."""
    titles = Counter(drawing.about.title for drawing in drawings)
    collections = frozenset(title for title, times in titles.items() if times >= COLLECTION)
    for number, drawing in enumerate(drawings):
        target = out / drawing.name
        text = caption(drawing.name, drawing.about, collections)
        _sidecars(target, text, drawing.about if number % 2 == 0 else None)
        shutil.copyfile(drawing.path, target)
    copies = max(1, len(drawings) // 50) if drawings else 0
    sources = [
        drawing
        for drawing in drawings
        if drawing.area >= SMALLEST_AREA and max(drawing.width, drawing.height) <= 2000
    ]
    picked = Random(f"copies/{seed}").sample(sources, min(2 * copies, len(sources)))
    for number, drawing in enumerate(picked):
        text = caption(drawing.name, drawing.about, collections)
        if number % 2 == 0:
            target = out / "copies" / f"copy-{number:03d}-{drawing.name.name}"
            _sidecars(target, text, None)
            shutil.copyfile(drawing.path, target)
        else:
            target = out / "copies" / f"rescaled-{number:03d}-{drawing.name.stem}.jpg"
            _sidecars(target, text, None)
            _rescaled(drawing).save(target, quality=88)
    return {"drawings": len(drawings), "exact": (len(picked) + 1) // 2, "rescaled": len(picked) // 2}


def on_white(path: Path) -> Image.Image:
    """The picture as RGB, transparent parts over white."""
    with Image.open(path) as picture:
        rgba = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _rescaled(drawing: Drawing) -> Image.Image:
    scale = max(
        0.8, (SMALLEST_AREA * 1.02 / drawing.area) ** 0.5
    )  # still large enough for the resolution filter
    size = (round(drawing.width * scale), round(drawing.height * scale))
    return on_white(drawing.path).resize(size, Image.Resampling.LANCZOS)


def _sidecars(target: Path, text: str, about: Metadata | None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_suffix(".txt").write_text(text, encoding="utf-8")
    if about:
        facts = {"licence": "Public Domain", "author": about.author, "url": about.publisher}
        known = {key: value for key, value in facts.items() if value}
        target.with_suffix(".json").write_text(json.dumps(known, ensure_ascii=False), encoding="utf-8")


def _in_turn(paths: list[Path], root: Path, seed: int) -> Iterator[Path]:
    """One path of each folder, then a second of each, and so on; the order inside a folder and of folders is
    drawn by lot."""
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        folders[path.parent].append(path)
    order = sorted(folders)
    Random(f"folders/{seed}").shuffle(order)
    for folder in order:
        Random(f"{folder.relative_to(root).as_posix()}/{seed}").shuffle(folders[folder])
    while any(folders.values()):
        for folder in order:
            if folders[folder]:
                yield folders[folder].pop()


def _png_size(path: Path) -> tuple[int, int] | None:
    """(width, height) from the header alone: no decoder is asked, whose limits the largest would exceed."""
    with path.open("rb") as file:
        head = file.read(24)
    return struct.unpack(">II", head[16:24]) if len(head) == 24 and head[:8] == b"\x89PNG\r\n\x1a\n" else None
