"""The light tier: four scorers that need nothing beyond installed packages.

They let a machine without a model hub run every stage for real. They are small and say so: scores carry their
own ids and are never compared with those of the paper's models. docs/light-models.md says how good they are.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from catalog.errors import BadInput
from lensdata.models.choice import METRICS
from lensdata.models.light import efficientnet, embedding, heads, nsfw
from lensdata.models.scorer import ScorerId

if TYPE_CHECKING:
    from lensdata.models.light.heads import Head

EMBEDDING_DIM = embedding.DIM
# Larger batches only cost memory: on one thread a picture takes as long among 16 as among 64.
BATCH = 16


def light_ids() -> dict[str, ScorerId]:
    """Identity of every light scorer by metric, without loading weights or importing torch or onnxruntime."""
    backbone = efficientnet.REVISION
    ids = {"nsfw": ScorerId("nsfw", "open_nsfw", nsfw.REVISION, nsfw.PREPROCESSING, "light")}
    for metric in ("aesthetic", "watermark"):
        revision = f"{backbone}-{heads.revision(metric)}"
        name = f"efficientnet-lite0+{metric}-head"
        ids[metric] = ScorerId(metric, name, revision, efficientnet.PREPROCESSING, "light")
    ids["embedding"] = ScorerId("embedding", embedding.NAME, backbone, efficientnet.PREPROCESSING, "light")
    return ids


class LightModels:
    """The wanted light scorers, loaded once in a worker process.

    `wanted` is a subset of METRICS. Weights load on the first `run`. `threads` is set for the whole process
    (torch has one setting), so leave it at 1 and start a process a core. A CUDA device is used when present.
    Raises BadInput for an unknown metric; LensError, naming the package to install, when weights are missing.
    """

    def __init__(self, wanted: set[str], threads: int = 1) -> None:
        unknown = sorted(wanted - set(METRICS))
        if unknown:
            raise BadInput(f"unknown light metric {unknown[0]!r}: choose from {', '.join(METRICS)}")
        self.wanted = frozenset(wanted)
        self.ids = {metric: scorer for metric, scorer in light_ids().items() if metric in wanted}
        self._threads = threads
        self._nsfw: nsfw.NsfwModel | None = None
        self._backbone: efficientnet.Backbone | None = None
        self._heads: dict[str, Head] = {}

    def load(self) -> None:
        """Load the weights now rather than on the first `run`, so that a missing package is found at once."""
        if "nsfw" in self.wanted and self._nsfw is None:
            self._nsfw = nsfw.NsfwModel(self._threads)
        if self.wanted - {"nsfw"} and self._backbone is None:
            import torch

            torch.set_num_threads(self._threads)
            self._heads = heads.load_heads()
            self._backbone = efficientnet.Backbone("cuda" if torch.cuda.is_available() else "cpu")

    def run(self, rgb: list[np.ndarray], only: Collection[str] = METRICS) -> dict[str, np.ndarray]:
        """N uint8 [H, W, 3] images of any sizes -> one array for each wanted metric (of `only`), in their order.

        nsfw float32 [N] in [0, 1]; aesthetic float32 [N], 1 to 10, higher is better; watermark float32 [N] in
        [0, 1]; embedding float32 [N, EMBEDDING_DIM], rows of length 1. An image whose output is not finite
        has NaN there (the embedding a row of it): the caller records it as failed, and no NaN is stored.
        Raises ValueError for an array that is not a non-empty uint8 [H, W, 3].
        """
        wanted = self.wanted & set(only)
        if wanted:
            self.load()
        for image in rgb:
            efficientnet.check(image)
        batches = [self._batch(rgb[start : start + BATCH], wanted) for start in range(0, len(rgb), BATCH)]
        empty = {"embedding": np.empty((0, EMBEDDING_DIM), np.float32)}
        return {
            metric: np.concatenate([batch[metric] for batch in batches])
            if batches
            else empty.get(metric, np.empty(0, np.float32))
            for metric in METRICS
            if metric in wanted
        }

    def _batch(self, rgb: list[np.ndarray], wanted: frozenset[str]) -> dict[str, np.ndarray]:
        out = {}
        if self._nsfw is not None and "nsfw" in wanted:
            out["nsfw"] = self._nsfw(rgb)
        if self._backbone is not None and wanted - {"nsfw"}:
            features = self._backbone(rgb)
            if "aesthetic" in wanted:
                out["aesthetic"] = np.clip(self._heads["aesthetic"](features), 1, 10)
            if "watermark" in wanted:
                out["watermark"] = 1 / (1 + np.exp(-np.clip(self._heads["watermark"](features), -30, 30)))
            if "embedding" in wanted:
                out["embedding"] = embedding.embed(rgb, features[:, -efficientnet.POOLED_DIM :])
        return {metric: np.where(np.isfinite(value), value, np.nan) for metric, value in out.items()}
