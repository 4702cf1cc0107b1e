"""What a model sees of a picture: resized, cropped and normalised as its checkpoint's files say.

It is the rule of torchvision's `Resize` and `CenterCrop` on Pillow images, which timm, open_clip and SigLIP's
original processor share, so the pixels are theirs exactly (tests compare). Normalising waits until the batch is
on the model's device: bytes travel, not floats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch

SHORT_SIDE = 512  # pixels, of what models are given
LONGEST = (
    16  # times the short side: what is longer loses its ends first, or enlarging a line would fill the memory
)
LARGEST = 4096  # pixels, of a model's input: above any, and a slip in a file does not fill the memory
RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class View:
    """Resize to `resize` (squashed, or by the short side), cut `crop` x `crop` from the centre, normalise.

    Raises ValueError or TypeError for sides or statistics that cannot be a model's.
    """

    resize: int
    crop: int
    squash: bool
    resampling: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.resize <= LARGEST:
            raise ValueError(f"an input of {self.crop} pixels cut from {self.resize}")
        known = len(self.mean) == len(self.std) == 3 and all(map(math.isfinite, self.mean + self.std))
        if not known or not all(self.std):
            raise ValueError(f"mean {self.mean}, std {self.std}")

    @property
    def needs(self) -> int:
        """The short side, in pixels, that a picture should still have when it comes here."""
        return max(SHORT_SIDE, self.resize)

    def __str__(self) -> str:
        to = f"{self.resize}x{self.resize}" if self.squash else f"short side {self.resize}"
        cut = f", centre {self.crop}" if not self.squash or self.crop != self.resize else ""
        mean, std = (" ".join(f"{x:g}" for x in values) for values in (self.mean, self.std))
        how = "squash to" if self.squash else "resize to"
        return (
            f"scaled decode and area to short side >= {self.needs}; {how} {to} ({self.resampling}){cut}; "
            f"mean {mean}, std {std}"
        )

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] of any size -> uint8 [crop, crop, 3]."""
        if self.squash:
            size = (self.resize, self.resize)
        else:
            rgb = _without_ends(rgb)
            height, width = rgb.shape[:2]
            short = min(height, width)
            size = (int(self.resize * width / short), int(self.resize * height / short))
        image = Image.fromarray(rgb)
        if size != image.size:
            image = image.resize(size, RESAMPLING[self.resampling])
        left, top = (round((side - self.crop) / 2) for side in size)
        return np.asarray(image.crop((left, top, left + self.crop, top + self.crop)))

    def batch(self, rgb: list[np.ndarray], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """N pictures -> [N, 3, crop, crop] on the device, normalised in fp32."""
        import torch

        pixels = torch.from_numpy(np.stack([self(image) for image in rgb])).to(device)
        mean = torch.tensor(self.mean, device=device)
        std = torch.tensor(self.std, device=device)
        values = (pixels.float().div_(255) - mean) / std
        return values.permute(0, 3, 1, 2).contiguous().to(dtype)


def _without_ends(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[:2]
    most = LONGEST * min(height, width)
    top, left = max(height - most, 0) // 2, max(width - most, 0) // 2
    return np.ascontiguousarray(rgb[top : top + most, left : left + most])
