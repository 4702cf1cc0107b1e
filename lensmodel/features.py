"""Captions' features on disk: each caption is encoded once, whatever the number of epochs and runs.

A cache folder holds `cache.json` (the fingerprint of what made the features) and `part-*.safetensors`, each
with `keys` uint8 [n, 32] (sha256 of the caption), `offsets` int64 [n + 1] and `features` bfloat16 [tokens,
layers, width]. Parts appear by rename, complete or not at all; a run adds only the captions that are missing.
fp16 would not do: raw residual streams reach 10,000 and more.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.errors import BadInput
from catalog.notices import Progress
from catalog.store.parts import write_bytes

if TYPE_CHECKING:
    import torch

    from lensmodel.text import EncoderConfig, TextEncoder

DTYPE = "bfloat16"
CAPTIONS_A_PART = 1024


def key_of_caption(caption: str) -> bytes:
    return hashlib.sha256(caption.encode()).digest()


class FeatureCache:
    """Features by caption, memory-mapped from `folder`, made by the encoder that `config` describes.

    `config.weights` must be known (see `lensmodel.text.load`). Raises BadInput if the folder holds the
    features of another encoder, layers, template or length, or a part that cannot be read.
    """

    def __init__(self, folder: Path, config: EncoderConfig) -> None:
        self.folder, self.config = folder, config
        self._places: dict[bytes, tuple[Path, int, int]] = {}
        self._parts: dict[Path, torch.Tensor] = {}
        self.encode_seconds = 0.0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"features={folder} cannot be a folder ({error.strerror}); name another") from None
        about = folder / "cache.json"
        mine = {
            "fingerprint": config.fingerprint(DTYPE),
            "dtype": DTYPE,
            "encoder": dataclasses.asdict(config),
        }
        if not about.exists():
            write_bytes(about, json.dumps(mine, indent=1).encode())
        try:
            stored = json.loads(about.read_text())
            theirs = stored["fingerprint"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput(
                f"{about} is damaged ({error}); delete the folder to encode the captions anew"
            ) from error
        if theirs != mine["fingerprint"]:
            differs = [
                name
                for name, value in json.loads(json.dumps(dataclasses.asdict(config))).items()
                if name != "source" and stored.get("encoder", {}).get(name) != value
            ]
            raise BadInput(
                f"{folder} holds text features of another encoder configuration "
                f"(differs in: {', '.join(differs) or 'dtype'}); "
                "give another folder with features= or restore the old settings"
            )
        for part in sorted(folder.glob("part-*.safetensors")):
            self._add(part)

    def _add(self, part: Path) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(part, "pt") as f:
                keys, offsets = f.get_tensor("keys").numpy(), f.get_tensor("offsets").tolist()
                self._parts[part] = f.get_tensor(
                    "features"
                )  # a view of the mapped file: pages load when touched
        except (OSError, SafetensorError) as error:
            raise BadInput(
                f"{part} cannot be read ({error}); delete it and its captions are encoded again"
            ) from error
        for i, key in enumerate(keys):
            self._places[key.tobytes()] = (part, offsets[i], offsets[i + 1])

    def missing(self, captions: Iterable[str]) -> list[str]:
        """The captions that are not in the cache yet, each once, in order of their keys."""
        unique = {key_of_caption(c): c for c in captions}
        return [unique[key] for key in sorted(unique) if key not in self._places]

    def fill(self, captions: Sequence[str], encoder: TextEncoder) -> int:
        """Encode and store what is missing; returns how many that were. `encode_seconds` says how long."""
        todo = self.missing(captions)
        start = time.monotonic()
        with Progress(len(todo), "encode captions", "captions") as bar:
            for i in range(0, len(todo), CAPTIONS_A_PART):
                chunk = todo[i : i + CAPTIONS_A_PART]
                found: list[torch.Tensor] = []
                for j in range(0, len(chunk), 128):
                    found += encoder.encode(chunk[j : j + 128])
                    bar.advance(len(chunk[j : j + 128]))
                self._write(chunk, found)
        self.encode_seconds += time.monotonic() - start
        return len(todo)

    def _write(self, captions: list[str], found: list[torch.Tensor]) -> None:
        import numpy as np
        import torch
        from safetensors.torch import save

        keys = np.frombuffer(b"".join(map(key_of_caption, captions)), dtype=np.uint8).reshape(-1, 32).copy()
        offsets = torch.tensor([0, *map(len, found)], dtype=torch.int64).cumsum(0)
        features = torch.cat(found).to(torch.bfloat16)
        part = self.folder / f"part-{uuid.uuid4().hex}.safetensors"
        write_bytes(part, save({"keys": torch.from_numpy(keys), "offsets": offsets, "features": features}))
        self._add(part)

    @property
    def width(self) -> int:
        """Width of the features stored. Raises StopIteration if there is none yet."""
        return int(next(iter(self._parts.values())).shape[-1])

    def get(self, caption: str) -> torch.Tensor:
        """bfloat16 [tokens, layers, width]. Raises KeyError for a caption never encoded."""
        part, start, end = self._places[key_of_caption(caption)]
        return self._parts[part][start:end]


class CachedEncoder:
    """Features of captions from the cache in `folder`; the encoder fills what is missing, and is loaded only then. They
    are rounded to bfloat16, as in training."""

    def __init__(self, folder: Path, config: EncoderConfig, device: str = "cpu") -> None:
        self.cache, self.device = FeatureCache(folder, config), device
        self._encoder: TextEncoder | None = None

    def encode(self, captions: Sequence[str]) -> list[torch.Tensor]:
        """bfloat16 [tokens after the offset, layers, width] of each caption, in order."""
        from lensmodel import text

        if self.cache.missing(captions):
            self._encoder = self._encoder or text.load(self.cache.config, self.device)
            self.cache.fill(captions, self._encoder)
        return [self.cache.get(caption) for caption in captions]
