"""Between pixels and latent tokens. Every code shares one interface:

- `channels`: width C of a token; `multiple`: what the sides of a size that is no bucket's must be multiples of.
- `pixel_size(bucket_width, bucket_height) -> (width, height)`: what an image of a bucket must be resized to before
  `encode`; `grid(width, height) -> (rows, columns)` of the tokens of such an image.
- `encode(rgb float [B, 3, H, W] in [-1, 1]) -> (tokens [B, rows*cols, C], (rows, cols))`, without gradient.
- `decode(tokens, grid) -> rgb [B, 3, H, W]`, which may overshoot [-1, 1]: the caller clamps when it makes an
  image.
- `weights`: sha256 of the autoencoder's files, "" for a code without any.
"""

from lensmodel.latents.pixel import PixelLatents
from lensmodel.latents.vae import VaeLatents, fingerprint, load_vae

Latents = PixelLatents | VaeLatents

__all__ = ["Latents", "PixelLatents", "VaeLatents", "fingerprint", "load_vae"]
