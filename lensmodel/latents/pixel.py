"""Pixels as latents: space-to-depth, or its lowest frequencies."""

import torch

from catalog.errors import BadInput
from lensmodel import flow

Grid = tuple[int, int]


class PixelLatents:
    """Pixels as latents, for models small enough to train on a CPU: each patch x patch square is a token.

    Images are the bucket's sides divided by `scale`, rounded to whole patches: 512^2 -> 32^2 pixels, 16
    tokens. `keep` writes each patch and colour in the orthonormal 2-D DCT-II basis and keeps that many
    components, lowest frequency first: smooth images survive with fewer channels. All components kept, or
    keep=None (plain pixels), is exact. Raises BadInput for values that cannot be.
    """

    def __init__(self, patch: int = 8, keep: int | None = None, scale: int = 16) -> None:
        if patch < 1 or scale < 1:
            raise BadInput(f"patch and scale must be positive, got {patch} and {scale}")
        if keep is not None and not 1 <= keep <= patch * patch:
            raise BadInput(f"keep must lie between 1 and patch^2 = {patch * patch}, got {keep}")
        self.patch, self.scale, self.multiple = patch, scale, patch * scale
        self.basis = None if keep is None else _dct_basis(patch)[:keep]
        self.channels = 3 * (patch * patch if keep is None else keep)
        self.weights = ""

    def pixel_size(self, bucket_width: int, bucket_height: int) -> tuple[int, int]:
        sides = bucket_width, bucket_height
        width, height = (max(1, round(side / self.multiple)) * self.patch for side in sides)
        return width, height

    def grid(self, width: int, height: int) -> Grid:
        return height // self.patch, width // self.patch

    @torch.no_grad()
    def encode(self, rgb: torch.Tensor) -> tuple[torch.Tensor, Grid]:
        tokens = flow.patchify(checked_rgb(rgb), self.patch)
        if self.basis is not None:
            basis = self.basis.to(tokens)
            tokens = (tokens.unflatten(-1, (3, -1)) @ basis.T).flatten(-2)
        return tokens, (rgb.shape[2] // self.patch, rgb.shape[3] // self.patch)

    def decode(self, tokens: torch.Tensor, grid: Grid) -> torch.Tensor:
        if self.basis is not None:
            tokens = (tokens.unflatten(-1, (3, -1)) @ self.basis.to(tokens)).flatten(-2)
        return flow.unpatchify(tokens, grid, self.patch)


def checked_rgb(rgb: torch.Tensor) -> torch.Tensor:
    """`rgb`, which must be float [B, 3, H, W]. Raises BadInput."""
    if rgb.ndim != 4 or rgb.shape[1] != 3 or not rgb.is_floating_point():
        raise BadInput(f"expected float rgb [B, 3, H, W], got {rgb.dtype} {tuple(rgb.shape)}")
    return rgb


def _dct_basis(patch: int) -> torch.Tensor:
    """Orthonormal 2-D DCT-II basis [patch^2, patch^2], one component a row, by rising frequency."""
    n = torch.arange(patch, dtype=torch.float64)
    one = torch.cos(torch.pi / patch * (n + 0.5) * n[:, None]) * (2 / patch) ** 0.5
    one[0] /= 2**0.5
    two = torch.einsum("up,vq->uvpq", one, one).reshape(patch * patch, -1)
    frequency = (n[:, None] ** 2 + n**2).flatten()
    return two[frequency.argsort(stable=True)]
