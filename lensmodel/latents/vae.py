"""The latents of pretrained autoencoders: FLUX.2's, and those of FLUX.1 and Stable Diffusion (paper, VAE ablation)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from catalog.errors import BadInput
from lensmodel import flow
from lensmodel.latents.pixel import Grid, checked_rgb
from lensmodel.text import sha256_of

KINDS = ("AutoencoderKLFlux2", "AutoencoderKL")


class VaeLatents:
    """A frozen autoencoder's latents: mode of the posterior, 2x2 patches, normalised. Tokens are float32.

    `vae` is diffusers' AutoencoderKLFlux2, whose batch-norm buffers normalise the patches (its layer is never called,
    so nothing moves them), or an AutoencoderKL, which says scaling and shift or a mean and deviation a channel.
    `weights` is the sha256 of its files. Raises BadInput if the statistics do not fit the latents.
    """

    def __init__(self, vae: Any, weights: str = "") -> None:  # diffusers' lazy import hides the type
        self.vae = vae.eval().requires_grad_(False)
        self.weights = weights
        self.channels = 4 * vae.config["latent_channels"]
        self.multiple = 2 * 2 ** (len(vae.config["block_out_channels"]) - 1)
        self._mean, self._std = (value.to(vae.device) for value in _statistics(vae))
        for value in (self._mean, self._std):
            if value.numel() not in (1, self.channels):
                raise BadInput(
                    f"the VAE normalises {value.numel()} channels, its 2x2 patches have {self.channels}"
                )

    def pixel_size(self, bucket_width: int, bucket_height: int) -> tuple[int, int]:
        """The bucket's own size. Raises BadInput when a side is not divisible by the patch's pixel size."""
        if bucket_width % self.multiple or bucket_height % self.multiple:
            raise BadInput(
                f"bucket {bucket_width} x {bucket_height}: sides must be divisible by {self.multiple}"
            )
        return bucket_width, bucket_height

    def grid(self, width: int, height: int) -> Grid:
        return height // self.multiple, width // self.multiple

    @torch.no_grad()
    def encode(self, rgb: torch.Tensor) -> tuple[torch.Tensor, Grid]:
        height, width = checked_rgb(rgb).shape[2:]
        self.pixel_size(width, height)
        latent = self.vae.encode(rgb.to(self.vae.device, self.vae.dtype)).latent_dist.mode()
        tokens = (flow.pack(latent.float()) - self._mean) / self._std
        return tokens, (latent.shape[2] // 2, latent.shape[3] // 2)

    def decode(self, tokens: torch.Tensor, grid: Grid) -> torch.Tensor:
        latent = flow.unpack(tokens.to(self._mean) * self._std + self._mean, grid)
        return self.vae.decode(latent.to(self.vae.dtype)).sample.float()


def _statistics(vae: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of the patched latents, float32 [1] or [channels]."""
    if hasattr(vae, "bn"):
        return vae.bn.running_mean.float(), (vae.bn.running_var.float() + vae.bn.eps).sqrt()
    config = vae.config
    if config.get("latents_mean") is not None and config.get("latents_std") is not None:
        mean, std = (torch.tensor(config[f"latents_{name}"]).float() for name in ("mean", "std"))
        return mean.repeat_interleave(4), std.repeat_interleave(4)  # channel c of a patch starts at 4c
    scale, shift = config["scaling_factor"], config.get("shift_factor") or 0.0
    return torch.tensor([float(shift)]), torch.tensor([1 / scale])


def vae_files(folder: str | Path) -> list[Path]:
    """config.json and the weights of an autoencoder's folder, in a fixed order. Raises BadInput for another folder."""
    root = Path(folder)
    if not (root / "config.json").is_file() and (root / "vae" / "config.json").is_file():
        root = root / "vae"  # of a whole pipeline
    files = [root / "config.json", *sorted(root.glob("*.safetensors"))]
    if not files[0].is_file() or len(files) < 2:
        raise BadInput(f"vae={folder} is no folder with config.json and *.safetensors")
    return files


def fingerprint(folder: str | Path) -> str:
    """sha256 of an autoencoder's files."""
    return sha256_of(vae_files(folder))


def load_vae(folder: str | Path, device: torch.device | str = "cpu", weights: str = "") -> VaeLatents:
    """The autoencoder in a diffusers folder (or a pipeline's `vae`), float32 on a CPU and bfloat16 elsewhere.

    Raises BadInput for one of another kind, one that lacks or adds a tensor, and, if `weights` is given, for files of
    another sha256.
    """
    import diffusers

    files = vae_files(folder)
    found = sha256_of(files)
    if weights and found != weights:
        raise BadInput(
            f"vae={folder} holds other weights ({found[:12]}) than this run was trained with ({weights[:12]})"
        )
    try:
        kind = json.loads(files[0].read_text(encoding="utf-8")).get("_class_name")
    except (ValueError, AttributeError, OSError) as error:
        raise BadInput(f"{files[0]} is not an autoencoder's config.json ({error})") from None
    if kind not in KINDS:
        raise BadInput(f"{files[0]} is of a {kind}; Lens reads {' and '.join(KINDS)}")
    dtype = torch.float32 if str(device) == "cpu" else torch.bfloat16
    try:
        vae, info = getattr(diffusers, kind).from_pretrained(
            files[0].parent, torch_dtype=dtype, use_safetensors=True, local_files_only=True,
            output_loading_info=True, low_cpu_mem_usage=False,
        )  # fmt: skip
    except Exception as error:  # a damaged folder raises whatever it trips over
        raise BadInput(f"vae={folder} does not load: {' '.join(str(error).split())[:300]}") from None
    for what, names in (("lacks", info["missing_keys"]), ("adds", info["unexpected_keys"])):
        if names:
            raise BadInput(f"vae={folder} {what} {len(names)} tensors, such as {sorted(names)[0]}")
    return VaeLatents(vae.to(device), found)
