"""The pictures a run draws on its way: the same prompts from the same noise each time, on one sheet.

    OUT/samples/step-000500.png   the sheet; prompts, step, size, steps and guidance stand inside it
    OUT/samples/prompts.txt       the prompts in the sheet's order, row by row

They are those that `lensmodel sample --seed 0` draws with the averaged weights at the size of the main bucket.
Drawing takes no random number that training would, and a sheet that fails is recorded and ends no run.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL.PngImagePlugin import PngInfo

from catalog.buckets import BY_NAME
from catalog.errors import BadInput, one_line
from catalog.store.parts import write_bytes
from lensmodel import draw

if TYPE_CHECKING:
    from lensmodel.distributed import Ranks
    from lensmodel.rundata import RunData
    from lensmodel.runlog import RunLog
    from lensmodel.settings import Settings

CAPTIONS = 8  # drawn if no file names prompts
MOST = 64


def prompts_of(settings: Settings, captions: Iterable[str | None]) -> list[str]:
    """What a run draws, each prompt once: the lines of its file, else the first of `captions`; nothing if it draws
    never. Raises BadInput for a file that is not there, is no text or has no or too many lines."""
    if not settings.sample_every:
        return []
    file = settings.sample_prompts
    if not file:
        found: dict[str, None] = {}
        for caption in captions:
            if len(found) == CAPTIONS:
                break
            if caption:
                found[caption] = None
        return list(found)
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise BadInput(f"sample_prompts={file} cannot be read ({why}); name a text file") from None
    prompts = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not 1 <= len(prompts) <= MOST:
        raise BadInput(f"sample_prompts={file} has {len(prompts)} prompts; give 1 to {MOST}, one a line")
    return prompts


class Preview:
    """Draws `data.prompts` with a model, each rank its share of them.

    Shards of a model meet in each forward pass, so with `sharded` every rank makes as many of them, and what fails
    inside one ends the run as it would in a step of training. Otherwise nothing does.
    """

    def __init__(self, data: RunData, ranks: Ranks, log: RunLog, sharded: bool) -> None:
        self.data, self.ranks, self.log, self.sharded = data, ranks, log, sharded
        self.folder = data.out / "samples"
        bucket = BY_NAME[data.main_bucket]
        self.size = data.latents.pixel_size(bucket.width, bucket.height)
        self.grid = data.latents.grid(*self.size)
        # With its twin of no text a picture is two samples: a pass is no larger than one of training.
        self.at_once = max(1, data.settings.batch_sizes()[bucket.base] // 2)
        prompts, world = data.prompts, ranks.world
        each = -(-len(prompts) // world)
        numbers = range(ranks.rank * each, (ranks.rank + 1) * each)
        self.mine = (
            [prompts[n % len(prompts)] for n in numbers] if prompts else []
        )  # padded: alike on all ranks
        self.features = data.features_of(self.mine)

    def draw(self, model: Any, step: int) -> None:
        """Write and log the sheet of `step`. Every rank must call it."""
        if not self.data.prompts:
            return
        start = time.monotonic()
        found: list[np.ndarray] = []
        why = ""
        try:
            tokens = self._tokens(model)
        except Exception as error:  # no memory left, say
            if self.sharded:
                raise
            tokens, why = [], one_line(error)
        try:
            for x0 in tokens:
                found += draw.pictures(self.data.latents, x0, self.grid)
        except Exception as error:
            why = one_line(error)
        parts = self.ranks.gather((found, why))
        if parts is None:
            return
        why = next((reason for _, reason in parts if reason), "")
        if not why:
            try:
                self._write([one for mine, _ in parts for one in mine], step, start)
            except Exception as error:  # a full disk, say
                why = one_line(error)
        if why:
            self.log.event("samples", f"warning: no samples of step {step}: {why}", step=step, failed=why)

    def _tokens(self, model: Any) -> list[torch.Tensor]:
        s, device = self.data.settings, self.ranks.device
        count, channels = self.grid[0] * self.grid[1], self.data.latents.channels
        levels = draw.sigmas(s, model.config, count, s.sample_steps)
        found = []
        for at in range(0, len(self.mine), self.at_once):
            chosen = slice(at, at + self.at_once)
            noise = [draw.noise(prompt, 0, 0, count, channels) for prompt in self.mine[chosen]]
            features = [f for f in self.features[chosen] if f is not None]
            with torch.autocast(device.type, torch.bfloat16, enabled=s.precision == "bf16"):
                x = torch.stack(noise).to(device)
                found.append(draw.denoised(model, features, x, self.grid, levels, s.sample_guidance))
        return found

    def _write(self, pictures: list[np.ndarray], step: int, start: float) -> None:
        s, prompts = self.data.settings, self.data.prompts
        sheet = draw.contact_sheet(pictures[: len(prompts)], math.ceil(math.sqrt(len(prompts))))
        inside, told = PngInfo(), "".join(" ".join(prompt.split()) + "\n" for prompt in prompts)
        for key, value in (("prompts", told), ("step", step), ("size", "x".join(map(str, self.size))),
                           ("steps", s.sample_steps), ("guidance", s.sample_guidance), ("weights", "ema")):  # fmt: skip
            inside.add_itxt(key, str(value))
        data = io.BytesIO()
        sheet.save(data, "PNG", pnginfo=inside)
        self.folder.mkdir(exist_ok=True)
        listed = self.folder / "prompts.txt"
        if not listed.exists() or listed.read_bytes() != told.encode():
            write_bytes(listed, told.encode())
        path = self.folder / f"step-{step:06d}.png"
        write_bytes(path, data.getvalue())
        seconds = round(time.monotonic() - start, 3)
        self.log.event("samples", f"step {step}  drew {len(prompts)} samples: {path}", step=step, seconds=seconds,
                       path=str(path.relative_to(self.data.out)))  # fmt: skip
        self.log.picture("samples", np.asarray(sheet), step)
