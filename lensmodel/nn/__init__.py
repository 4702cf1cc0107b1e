"""The Lens denoiser: `LensTransformer(**config)` and a strict loader, `load(path)`."""

from lensmodel.nn.load import load
from lensmodel.nn.transformer import LensTransformer

__all__ = ["LensTransformer", "load"]
