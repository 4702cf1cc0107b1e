"""How well the verifier judges: on true pictures, wrong captions, and damaged pictures.

    python -m lensmodel.shapes.measure [--world grid|free] [--width 32 --height 32] [--n 80] [--seed 0]

prints a table: one row a damage, the share of pictures that pass all rubrics of their own prompt per task, then
of another prompt of the task. CPU seconds a picture are on the last line.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np

from lensmodel.shapes.prompts import TASKS, prompts, score, shuffled
from lensmodel.shapes.render import render
from lensmodel.shapes.scene import WORLDS

Damage = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def blur(sigma: float) -> Damage:
    return lambda rgb, _: cv2.GaussianBlur(rgb, (0, 0), sigma)


def noise(level: float) -> Damage:
    return lambda rgb, rng: _bytes(rgb + rng.normal(0, level, rgb.shape))


def shift(most: float) -> Damage:
    """Each channel moved by up to `most` grey levels."""
    return lambda rgb, rng: _bytes(rgb + rng.uniform(-most, most, 3))


def contrast(gain: float) -> Damage:
    """Distances from middle grey multiplied by `gain`."""
    return lambda rgb, _: _bytes(127.5 + gain * (rgb.astype(np.float32) - 127.5))


def jpeg(quality: int) -> Damage:
    def damage(rgb: np.ndarray, _: np.random.Generator) -> np.ndarray:
        coded = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        assert decoded is not None
        return np.ascontiguousarray(decoded[..., ::-1])

    return damage


def both(*damages: Damage) -> Damage:
    def damage(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        for each in damages:
            rgb = each(rgb, rng)
        return rgb

    return damage


DAMAGES: dict[str, Damage] = {
    "none": lambda rgb, _: rgb,
    "blur 0.5 px": blur(0.5),
    "blur 0.75 px": blur(0.75),
    "blur 1 px": blur(1.0),
    "noise 5": noise(5),
    "noise 10": noise(10),
    "noise 15": noise(15),
    "colour shift 10": shift(10),
    "colour shift 20": shift(20),
    "contrast 0.8": contrast(0.8),
    "JPEG 90": jpeg(90),
    "JPEG 75": jpeg(75),
    "blur 0.75, noise 8, shift 10": both(blur(0.75), noise(8), shift(10)),
}


def measure(
    world: str = "grid", size: tuple[int, int] = (32, 32), n: int = 80, seed: int = 0
) -> tuple[dict[str, tuple[dict[str, float], dict[str, float]]], float]:
    """Damage -> (scores under own prompts, scores under wrong ones), and the verifier's CPU seconds a picture."""
    asked = [prompt for task in TASKS for prompt in prompts(task, n, seed, world, size)]
    wrong = shuffled(asked, seed)
    table, seconds = {}, 0.0
    for name, damage in DAMAGES.items():
        rng = np.random.default_rng(seed)
        images = [damage(render(prompt.scene), rng) for prompt in asked]
        start = time.process_time()
        table[name] = score(images, asked), score(images, wrong)
        seconds += time.process_time() - start
    return table, seconds / (2 * len(asked) * len(DAMAGES))


def _bytes(rgb: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the verifier of the world of shapes.")
    parser.add_argument("--world", choices=WORLDS, default="grid")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--height", type=int, default=32)
    parser.add_argument("--n", type=int, default=80, help="prompts a task")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    table, seconds = measure(args.world, (args.width, args.height), args.n, args.seed)
    columns = [*TASKS, "overall"]
    print(
        f"| {args.world} {args.width}x{args.height}, n={args.n} | {' | '.join(columns)} | most, wrong caption |"
    )
    print("| --- " * (len(columns) + 2) + "|")
    for name, (true, false) in table.items():
        worst = max(false[task] for task in TASKS)
        print(f"| {name} | {' | '.join(f'{true[c]:.3f}' for c in columns)} | {worst:.3f} |")
    print(f"\n{1e3 * seconds:.2f} CPU ms a picture, {1 / seconds:.0f} pictures a second and core")


if __name__ == "__main__":
    main()
