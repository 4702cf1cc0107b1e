"""Between pixels and latent tokens. Both codes share one interface:

- `channels`: width C of a token; `multiple`: what the sides of a size that is no bucket's must be multiples of.
- `pixel_size(bucket_width, bucket_height) -> (width, height)`: what an image of a bucket must be resized to before
  `encode`.
- `encode(rgb float [B, 3, H, W] in [-1, 1]) -> (tokens [B, rows*cols, C], (rows, cols))`, without gradient.
- `decode(tokens, grid) -> rgb [B, 3, H, W]`, which may overshoot [-1, 1]: the caller clamps when it makes an
  image.
"""

from typing import Any

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

    def pixel_size(self, bucket_width: int, bucket_height: int) -> tuple[int, int]:
        sides = bucket_width, bucket_height
        width, height = (max(1, round(side / self.multiple)) * self.patch for side in sides)
        return width, height

    @torch.no_grad()
    def encode(self, rgb: torch.Tensor) -> tuple[torch.Tensor, Grid]:
        tokens = flow.patchify(_rgb(rgb), self.patch)
        if self.basis is not None:
            basis = self.basis.to(tokens)
            tokens = (tokens.unflatten(-1, (3, -1)) @ basis.T).flatten(-2)
        return tokens, (rgb.shape[2] // self.patch, rgb.shape[3] // self.patch)

    def decode(self, tokens: torch.Tensor, grid: Grid) -> torch.Tensor:
        if self.basis is not None:
            tokens = (tokens.unflatten(-1, (3, -1)) @ self.basis.to(tokens)).flatten(-2)
        return flow.unpatchify(tokens, grid, self.patch)


class Flux2Latents:
    """The FLUX.2 autoencoder's latents: mode of the posterior, 2x2 patches, normalised by the batch-norm
    buffers.

    The VAE is frozen and put in evaluation mode. Its batch-norm layer is never called: only its running mean
    and variance are read, so no call can move them. There is no scaling or shift factor. Tokens are float32.
    """

    def __init__(self, vae: Any) -> None:  # diffusers' AutoencoderKLFlux2, whose lazy import hides its type
        self.vae = vae.eval().requires_grad_(False)
        self.channels = 4 * vae.config["latent_channels"]
        self.multiple = 2 * 2 ** (len(vae.config["block_out_channels"]) - 1)
        if vae.bn.num_features != self.channels:
            raise BadInput(
                f"the VAE normalises {vae.bn.num_features} channels, its 2x2 patches have {self.channels}"
            )

    def pixel_size(self, bucket_width: int, bucket_height: int) -> tuple[int, int]:
        """The bucket's own size. Raises BadInput when a side is not divisible by the patch's pixel size."""
        if bucket_width % self.multiple or bucket_height % self.multiple:
            raise BadInput(
                f"bucket {bucket_width} x {bucket_height}: sides must be divisible by {self.multiple}"
            )
        return bucket_width, bucket_height

    @torch.no_grad()
    def encode(self, rgb: torch.Tensor) -> tuple[torch.Tensor, Grid]:
        height, width = _rgb(rgb).shape[2:]
        self.pixel_size(width, height)
        latent = self.vae.encode(rgb.to(self.vae.device, self.vae.dtype)).latent_dist.mode()
        mean, std = self._moments()
        tokens = (flow.pack(latent.float()) - mean) / std
        return tokens, (latent.shape[2] // 2, latent.shape[3] // 2)

    def decode(self, tokens: torch.Tensor, grid: Grid) -> torch.Tensor:
        mean, std = self._moments()
        latent = flow.unpack(tokens.to(mean) * std + mean, grid)
        return self.vae.decode(latent.to(self.vae.dtype)).sample.float()

    def _moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        bn = self.vae.bn
        return bn.running_mean.float(), (bn.running_var.float() + bn.eps).sqrt()


def _rgb(rgb: torch.Tensor) -> torch.Tensor:
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
