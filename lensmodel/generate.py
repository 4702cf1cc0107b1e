"""Prompts to pictures with what a checkpoint folder holds: weights, latents, encoder and its template."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from catalog.buckets import BY_NAME
from catalog.console import Progress
from catalog.errors import BadInput
from lensmodel import build, checkpoint, flow, nn, presets, text
from lensmodel.data.plan import key_of
from lensmodel.sampler import sample

GRID_CELL = 256  # pixels: small pictures are enlarged to about this in the grid, pixel by pixel
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
    weights: str = "ema"


class Generator:
    """A loaded checkpoint. Raises BadInput if `path` names none, or its encoder is not at hand."""

    def __init__(
        self, path: Path, weights: str = "ema", encoder: str | None = None, device: str = "auto"
    ) -> None:
        self.folder = checkpoint.find(path)
        self.state = checkpoint.read_state(self.folder)
        self.settings = presets.from_plain(self.state["settings"])
        self.device = torch.device(
            "cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu")
        )
        self.model = nn.load(self.folder / weights, device=self.device)
        self.latents = build.latents(self.settings)
        config = text.EncoderConfig.from_dict(
            {**self.state["encoder"], **({"source": encoder} if encoder else {})}
        )
        self.encoder = text.load(config, str(self.device))

    def sigmas(self, tokens: int, steps: int) -> torch.Tensor:
        """The sampling times: shifted by the setting sample_mu, else as FLUX.2 does."""
        if self.settings.sample_mu is None:
            return flow.inference_sigmas(tokens, steps)
        s = torch.linspace(1, 1 / steps, steps, dtype=torch.float64)
        shift = math.exp(self.settings.sample_mu)
        return torch.cat([shift / (shift + 1 / s - 1), torch.zeros(1, dtype=torch.float64)]).float()

    def size(self, width: int | None, height: int | None) -> tuple[int, int]:
        """Width and height to draw at, in bucket pixels; by default the bucket the run saw most of."""
        main = BY_NAME[self.state["main_bucket"]]
        if width is None and height is None:
            return main.width, main.height
        return width or height or 0, height or width or 0

    @torch.no_grad()
    def draw(self, prompts: Sequence[str], options: Options) -> list[np.ndarray]:
        """uint8 [H, W, 3] pictures: `count` of the first prompt, then of the second, ...

        The noise of a picture depends on the seed, its prompt's text and its number alone, not on its
        neighbours.
        """
        picture_w, picture_h = self.latents.pixel_size(*self.size(options.width, options.height))
        grid = picture_h // self.latents.patch, picture_w // self.latents.patch
        tokens = grid[0] * grid[1]
        features = [f for f in self.encoder.encode(prompts) for _ in range(options.count)]
        noise = [
            torch.randn(tokens, self.latents.channels, generator=torch.Generator().manual_seed(key))
            for prompt in prompts
            for key in [key_of("sample", options.seed, prompt, n) for n in range(options.count)]
        ]
        sigmas = self.sigmas(tokens, options.steps)
        pictures: list[np.ndarray] = []
        with Progress(len(noise), "sample", "images") as bar:
            for start in range(0, len(noise), IMAGES_A_BATCH):
                chosen = features[start : start + IMAGES_A_BATCH]
                x = torch.stack(noise[start : start + IMAGES_A_BATCH]).to(self.device)
                x0 = sample(self._denoiser(chosen, grid, options.guidance), x, sigmas, options.method)
                rgb = self.latents.decode(x0, grid).clamp(-1, 1)
                pictures += list(((rgb + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy())
                bar.advance(len(chosen))
        return pictures

    def _denoiser(self, features: list[torch.Tensor], grid: tuple[int, int], guidance: float) -> Any:
        n = len(features)
        guided = guidance != 1
        both = [*features, *([None] * n if guided else [])]
        padded, mask = text.pad(both, len(self.encoder.config.layers), self.encoder.width)
        padded, mask = [f.to(self.device) for f in padded], mask.to(self.device)

        def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            if not guided:
                return self.model(x, padded, mask, sigma.expand(n), grid)
            v = self.model(torch.cat([x, x]), padded, mask, sigma.expand(2 * n), grid)
            return flow.guide(v[:n], v[n:], guidance)

        return denoise


def file_name(prompt: str, seed: int, number: int) -> str:
    """A name that tells the prompt: its first words, a digest of all of it, seed and number."""
    words = "-".join("".join(c if c.isalnum() else " " for c in prompt.lower()).split())[:40].strip("-")
    digest = hashlib.sha256(prompt.encode()).hexdigest()[:8]
    return f"{words or 'prompt'}-{digest}-s{seed}-{number:02d}.png"


def contact_sheet(pictures: Sequence[np.ndarray], columns: int) -> Image.Image:
    """The pictures (all of one size) in rows of `columns`; small ones enlarged by a whole factor."""
    height, width = pictures[0].shape[:2]
    factor = max(1, GRID_CELL // max(height, width))
    gap = 8
    cell_w, cell_h = width * factor + gap, height * factor + gap
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell_w + gap, rows * cell_h + gap), "white")
    for i, picture in enumerate(pictures):
        image = Image.fromarray(picture).resize((width * factor, height * factor), Image.Resampling.NEAREST)
        sheet.paste(image, (gap + i % columns * cell_w, gap + i // columns * cell_h))
    return sheet


def write(prompts: Sequence[str], pictures: Sequence[np.ndarray], options: Options, out: Path) -> list[Path]:
    """Write one PNG a picture, with prompt and seed inside, and grid.png. Returns the paths, grid last."""
    from PIL.PngImagePlugin import PngInfo

    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise BadInput(f"--out {out} is a file; name a folder") from None
    paths = []
    for i, picture in enumerate(pictures):
        prompt, number = prompts[i // options.count], i % options.count
        about = PngInfo()
        about.add_itxt("prompt", prompt)
        about.add_text("seed", str(options.seed))
        paths.append(out / file_name(prompt, options.seed, number))
        Image.fromarray(picture).save(paths[-1], pnginfo=about)
    columns = options.count if options.count > 1 else math.ceil(math.sqrt(len(pictures)))
    paths.append(out / "grid.png")
    contact_sheet(pictures, columns).save(paths[-1])
    return paths
