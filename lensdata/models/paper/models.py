"""The paper's four scorers: found once by the job, loaded once by every worker process.

Each is a network class (eva.py, siglip.py, clip.py) made from a checkpoint's files: making it reads only JSON and
tells its name, its view of a picture and the rule of its score; `load` builds the network and reads the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from catalog.errors import BadInput, LensError, one_line
from lensdata.models.choice import PAPER, PAPER_MODELS, Choice
from lensdata.models.device import place
from lensdata.models.light.efficientnet import check
from lensdata.models.paper.checkpoint import Checkpoint, find
from lensdata.models.paper.clip import ClipEmbedding
from lensdata.models.paper.eva import EvaNsfw
from lensdata.models.paper.siglip import SiglipAesthetic, SiglipWatermark
from lensdata.models.scorer import ScorerId

CUSTOM = "custom"
NETWORKS: dict[str, Any] = {
    "nsfw": EvaNsfw,
    "aesthetic": SiglipAesthetic,
    "watermark": SiglipWatermark,
    "embedding": ClipEmbedding,
}


@dataclass(frozen=True)
class Found:
    """One metric's model as the job found it: all that a worker needs to load the same one.

    `side` is the short side, in pixels, that pictures should keep on their way to it.
    """

    identity: ScorerId
    checkpoint: Checkpoint
    side: int
    device: str
    dtype: str
    batch: int


def resolve(metric: str, choice: Choice) -> Found:
    """Find the chosen model's files and say who it is, without loading weights.

    The tier is `paper` for the model the built-in list names (at any revision), else `custom`. Raises BadInput for
    files that are missing or of another architecture or other classes; LensError if the hub cannot be reached.
    """
    kind = NETWORKS[metric]
    checkpoint = find(choice, kind.CONFIGS, kind.WEIGHTS, with_head=metric == "aesthetic")
    try:
        network = kind(checkpoint)
    except LensError:
        raise
    except Exception as error:  # somebody else's JSON may hold anything anywhere
        what = f"{type(error).__name__}: {one_line(error)[:200]}"
        raise BadInput(
            f"{checkpoint.folder}: {' or '.join(kind.CONFIGS)} is not as such a model's ({what})"
        ) from None
    ours = PAPER_MODELS[metric]
    tier = PAPER if (choice.model, choice.head) == (ours.model, ours.head) else CUSTOM
    name = network.name if choice.folder else choice.model
    identity = ScorerId(metric, name, checkpoint.revision, f"{network.view}; {network.rule}", tier)
    return Found(identity, checkpoint, network.view.needs, choice.device, choice.dtype, choice.batch)


class PaperModel:
    """A loaded scorer. Raises BadInput when a tensor is missing, unexpected or misshapen, naming it."""

    def __init__(self, found: Found) -> None:
        self._batch = found.batch
        self._network = NETWORKS[found.identity.metric](found.checkpoint)
        self._device, self._dtype = place(found.device, found.dtype)
        try:
            self._network.load(self._device, self._dtype)
        except LensError:
            raise
        except Exception as error:  # whatever a library says to a configuration it cannot build
            raise BadInput(
                f"{found.checkpoint.folder}: the network it describes cannot be built ({one_line(error)[:200]})"
            ) from None

    def run(self, rgb: list[np.ndarray]) -> np.ndarray:
        """N uint8 [H, W, 3] images of any sizes -> float32 [N], or [N, dim] of the embedding; NaN if not finite."""
        import torch

        results = [np.empty((0, *self._shape()), np.float32)]
        for image in rgb:
            check(image)
        with torch.inference_mode():
            for start in range(0, len(rgb), self._batch):
                pixels = self._network.view.batch(rgb[start : start + self._batch], self._device, self._dtype)
                results.append(self._network(pixels).float().cpu().numpy())
        values = np.concatenate(results)
        return np.where(np.isfinite(values), values, np.float32(np.nan))

    def _shape(self) -> tuple[int, ...]:
        return (self._network.dim,) if isinstance(self._network, ClipEmbedding) else ()
