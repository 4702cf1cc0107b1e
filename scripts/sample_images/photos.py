"""Where no package can be fetched: the sample photos that scikit-image carries, and crops of them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from random import Random

from PIL import Image

from catalog.errors import LensError

CAPTIONS = {  # written for this project, by looking at each
    "astronaut.png": "A smiling astronaut in an orange space suit before a flag and a model of a shuttle.",
    "chelsea.png": "A close portrait of a ginger tabby cat looking to the side.",
    "coffee.png": "A red cup of espresso with a spoon on its saucer, on a wooden table.",
    "rocket.jpg": "A white rocket on its launch pad between four lattice towers, before a dark blue sky.",
    "hubble_deep_field.jpg": "Thousands of distant galaxies of many colours against the black of deep space.",
    "camera.png": "A black and white photograph of a man in a long coat looking into a camera on a tripod.",
    "coins.png": "Rows of old worn coins on a dark ground, seen from above, in black and white.",
    "moon.png": "The grey surface of the moon with craters, in black and white.",
    "brick.png": "Dark bricks in staggered columns, seen at an angle, in black and white.",
    "grass.png": "Blades of grass seen from above, in black and white.",
    "gravel.png": "A ground of gravel seen from above, in black and white.",
    "retina.jpg": "The inside of an eye: an orange retina with branching blood vessels.",
    "motorcycle_left.png": "A red motorcycle stands in a garage before shelves with boxes.",
    "motorcycle_right.png": "A red motorcycle in a garage before shelves with boxes, from the right.",
    "ihc.png": "A microscope picture of stained tissue, brown and blue.",
    "clock_motion.png": "A pale round clock, blurred by motion beyond recognition, on a grey ground.",
}
BACKDROPS = (
    "brick.png",
    "grass.png",
    "gravel.png",
    "moon.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "retina.jpg",
)
CROPS_EACH = 30  # more crops of so few photos would teach nothing new


def folder() -> Path | None:
    """The folder of scikit-image's sample photos, if it is installed."""
    spec = find_spec("skimage")
    return Path(spec.origin).parent / "data" if spec and spec.origin else None


def write(out: Path, count: int, seed: int) -> dict[str, int]:
    """Write the photos and random crops of them, about `count` in all, with captions. Raises LensError if
    there are none."""
    source = folder()
    found = sorted(name for name in CAPTIONS if source and (source / name).is_file())
    if not source or not found:
        raise LensError(
            "no images: the Debian packages cannot be fetched and scikit-image is not installed; "
            "`pip install scikit-image`, or use a folder of your own"
        )
    out.mkdir(parents=True)
    found = found[:count]
    crops = min(CROPS_EACH, max(0, count - len(found)) // max(1, len(found)))
    for name in found:
        with Image.open(source / name) as opened:
            photo = opened.convert("RGB")
        stem = Path(name).stem
        (out / f"{stem}.txt").write_text(CAPTIONS[name], encoding="utf-8")
        (out / name).write_bytes((source / name).read_bytes())
        rng = Random(f"{name}/{seed}")
        for number in range(crops):
            crop = photo.crop(_box(rng, *photo.size))
            (out / f"{stem}-crop-{number:02d}.txt").write_text(
                f"A detail of a picture. {CAPTIONS[name]}", encoding="utf-8"
            )
            crop.save(out / f"{stem}-crop-{number:02d}.jpg", quality=92)
    return {"photos": len(found), "crops": crops * len(found)}


def backdrops(out: Path) -> Path | None:
    """Copy the textures among the photos to OUT, for text to be rendered onto; None if there are none."""
    source = folder()
    found = [name for name in BACKDROPS if source and (source / name).is_file()]
    if not source or not found:
        return None
    out.mkdir(parents=True, exist_ok=True)
    for name in found:
        (out / name).write_bytes((source / name).read_bytes())
    return out


def _box(rng: Random, width: int, height: int) -> tuple[int, int, int, int]:
    wide, high = (round(side * rng.uniform(0.45, 0.95)) for side in (width, height))
    left, top = rng.randint(0, width - wide), rng.randint(0, height - high)
    return left, top, left + wide, top + high
