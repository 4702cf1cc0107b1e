"""Prompts to pictures with what a checkpoint folder holds: weights, latents, encoder and its template."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from catalog.buckets import BY_NAME
from catalog.errors import BadInput, LensError
from catalog.notices import Progress
from lensmodel import build, checkpoint, distributed, draw, origin, text
from lensmodel.features import CachedEncoder
from lensmodel.runfolder import cannot_write
from lensmodel.settings import from_plain

IMAGES_A_BATCH = 16


@dataclass(frozen=True)
class Options:
    """What `lensmodel sample` asks for; `guidance` 1 turns the unconditional branch off."""

    width: int | None = None
    height: int | None = None
    steps: int = 20
    guidance: float = 5.0
    seed: int = 0
    count: int = 1
    method: str = "euler"


class Generator:
    """A loaded checkpoint. Raises BadInput if `path` names none or a damaged one, or its encoder is not at hand.

    `base`: where the model is now that the adapter of a run of LoRA belongs to, if not where it was. `features`: the
    folder of a cache of text features, as training has it, for prompts that are drawn with several checkpoints.
    """

    def __init__(
        self, path: Path, weights: str = "ema", encoder: str | None = None, device: str = "auto",
        base: Path | None = None, vae: str | None = None, features: Path | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.weights = checkpoint.find(path), weights
        self.state = checkpoint.read_state(self.folder)
        checkpoint.verify(self.folder, self.state, f"{weights}/")
        try:
            self.settings = from_plain(self.state["settings"])
            config = text.EncoderConfig.from_dict(
                {**self.state["encoder"], **({"source": encoder} if encoder else {})}
            )
        except BadInput as error:
            raise BadInput(f"{self.folder / 'state.json'}: {error}") from None
        self.device = distributed.device(device)
        self.model = origin.whole(self.folder / weights, self.state, base, self.device)
        if vae and self.settings.latents != "vae":
            raise BadInput(f"{self.folder} draws pixels, not the latents of an autoencoder; leave --vae out")
        if vae:
            self.settings = dataclasses.replace(self.settings, vae=vae)
        self.latents = build.latents(self.settings, self.device, self.state["latents"].get("weights", ""))
        self.encoder: text.TextEncoder | CachedEncoder
        if features:
            self.encoder = CachedEncoder(features, config, str(self.device))
        else:
            self.encoder = text.load(config, str(self.device))

    def sigmas(self, tokens: int, steps: int) -> torch.Tensor:
        """The sampling times of this checkpoint, see `lensmodel.draw`."""
        return draw.sigmas(self.settings, self.model.config, tokens, steps)

    def size(self, width: int | None, height: int | None) -> tuple[int, int]:
        """Width and height to draw at, in bucket pixels; by default the bucket the run saw most of.

        A bucket's size, or any whose sides are multiples of what the latents need: BadInput for another one.
        """
        main = BY_NAME[self.state["main_bucket"]]
        if width is None and height is None:
            return main.width, main.height
        size = width or height or 0, height or width or 0
        unit = self.latents.multiple
        if f"{size[0]}x{size[1]}" not in BY_NAME and any(side % unit for side in size):
            near = "x".join(str(max(1, round(side / unit)) * unit) for side in size)
            raise BadInput(
                f"this checkpoint cannot draw {size[0]}x{size[1]}: its sides must be multiples of {unit} or those of a "
                f"bucket; the nearest is {near}"
            )
        return size

    def about(self, options: Options) -> dict[str, str]:
        """What, besides the prompt and its number, decides a picture."""
        width, height = self.size(options.width, options.height)
        return {
            "seed": str(options.seed),
            "size": f"{width}x{height}",
            "steps": str(options.steps),
            "guidance": str(options.guidance),
            "method": options.method,
            "checkpoint": f"{self.folder.name}/{self.weights}",
            "weights": self._digest(),
        }

    def _digest(self) -> str:
        files = {k: v for k, v in self.state["files"].items() if k.startswith(f"{self.weights}/")}
        if self.settings.lora_rank:
            files["base"] = self.state["origin"]["sha256"]
        return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()

    def draw(self, prompts: Sequence[str], options: Options) -> list[np.ndarray]:
        """uint8 [H, W, 3] pictures: `count` of the first prompt, then of the second, ...

        The noise of a picture depends on the seed, its prompt's text and its number alone, not on its
        neighbours.
        """
        picture_w, picture_h = self.latents.pixel_size(*self.size(options.width, options.height))
        grid = self.latents.grid(picture_w, picture_h)
        tokens = grid[0] * grid[1]
        features = [f for f in self.encoder.encode(prompts) for _ in range(options.count)]
        noise = [
            draw.noise(prompt, n, options.seed, tokens, self.latents.channels)
            for prompt in prompts
            for n in range(options.count)
        ]
        sigmas = self.sigmas(tokens, options.steps)
        pictures: list[np.ndarray] = []
        with Progress(len(noise), "sample", "images") as bar:
            for start in range(0, len(noise), IMAGES_A_BATCH):
                chosen = features[start : start + IMAGES_A_BATCH]
                x = torch.stack(noise[start : start + IMAGES_A_BATCH]).to(self.device)
                x0 = draw.denoised(self.model, chosen, x, grid, sigmas, options.guidance, options.method)
                try:
                    pictures += draw.pictures(self.latents, x0, grid)
                except LensError as error:
                    raise LensError(
                        f"{self.folder}: {error}; lower --guidance or use an earlier checkpoint"
                    ) from None
                bar.advance(len(chosen))
        return pictures


def file_name(prompt: str, about: dict[str, str], number: int) -> str:
    """A name that tells the prompt: its first words, a digest of all that decides the picture, seed and number."""
    words = "-".join("".join(c if c.isalnum() else " " for c in prompt.lower()).split())[:40].strip("-")
    words = words.encode()[:120].decode(errors="ignore")  # a name has 255 bytes
    digest = hashlib.sha256(json.dumps([prompt, about]).encode()).hexdigest()[:8]
    return f"{words or 'prompt'}-{digest}-s{about['seed']}-{number:02d}.png"


def make_folder(out: Path) -> None:
    """Make the folder for the pictures, before the work begins. Raises BadInput if it cannot be written to."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise BadInput(cannot_write(out, error)) from None


def write(
    prompts: Sequence[str], pictures: Sequence[np.ndarray], count: int, about: dict[str, str], out: Path
) -> list[Path]:
    """Write one PNG a picture (`count` a prompt), with its prompt and `about` inside, and grid.png with all of them.

    Only the same picture is overwritten; grid.png is always that of the last call. Returns the paths, grid last.
    """
    paths = []
    for i, picture in enumerate(pictures):
        prompt, number = prompts[i // count], i % count
        inside = PngInfo()
        for key, value in {"prompt": prompt, **about}.items():
            inside.add_itxt(key, value)
        paths.append(out / file_name(prompt, about, number))
        Image.fromarray(picture).save(paths[-1], pnginfo=inside)
    columns = count if count > 1 else math.ceil(math.sqrt(len(pictures)))
    paths.append(out / "grid.png")
    draw.contact_sheet(pictures, columns).save(paths[-1])
    return paths
