"""The Lens denoiser: a dual-stream transformer over image and text tokens, 3.8B by default."""

from collections.abc import Sequence

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from catalog.errors import BadInput
from lensmodel.nn.block import LensBlock
from lensmodel.nn.init import init_weights
from lensmodel.nn.layers import AbsolutePosition, OutputNorm, RMSNorm, TimeEmbedding
from lensmodel.nn.linear import Linear
from lensmodel.nn.rope import rotation


class LensTransformer(ModelMixin, ConfigMixin, PeftAdapterMixin):  # type: ignore[misc]
    """Predicts the velocity eps - x0 of image tokens from text features and time.

    Defaults are the released 3.8B configuration. `selected_layer_index` records which language-model layers
    feed the model; its length is the number of feature layers when `multi_layer_encoder_feature`. Without it
    there is one layer, and its norm is named `txt_norm.weight` instead of `txt_norm.N.weight`: a lone norm is
    not a list of norms.

    Ours, and off by default:
    - `absolute_positions`: adds `pos_embed`, an embedding of the token's place between the image's edges.
    - `prediction="x0"`: the network predicts the clean tokens; forward still returns a velocity, (x_t - x0) /
      max(t, x0_min_t). The floor bounds the weight of small-t errors in a velocity loss; below it the
      returned velocity is too small by t / x0_min_t, so sample with steps that jump from above it to 0.
    - `gate_init`: starting value of the residual gates (see `lensmodel.nn.init`); no effect on loaded
      weights.

    Raises BadInput for a configuration that cannot be built.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["LensBlock"]  # type: ignore[assignment]  # noqa: RUF012
    _repeated_blocks = ["LensBlock"]  # noqa: RUF012
    _skip_layerwise_casting_patterns = ["norm", "img_in", "txt_in", "proj_out", "time_text_embed"]  # type: ignore[assignment]  # noqa: RUF012

    @register_to_config
    def __init__(
        self,
        patch_size: int = 2,
        in_channels: int = 128,
        out_channels: int = 32,
        num_layers: int = 48,
        attention_head_dim: int = 64,
        num_attention_heads: int = 24,
        inner_dim: int | None = None,
        enc_hidden_dim: int = 2880,
        axes_dims_rope: Sequence[int] = (8, 28, 28),
        gate_mlp: bool = True,
        rms_norm: bool = True,
        multi_layer_encoder_feature: bool = True,
        selected_layer_index: Sequence[int] = (5, 11, 17, 23),
        absolute_positions: bool = False,
        prediction: str = "velocity",
        x0_min_t: float = 0.05,
        gate_init: float = 0.3,
    ) -> None:
        super().__init__()
        dim = num_attention_heads * attention_head_dim
        out_dim = patch_size**2 * out_channels
        layers = len(selected_layer_index) if multi_layer_encoder_feature else 1
        _check_config(dict(self.config), dim, out_dim, layers)
        self.text_layers = layers
        self.time_text_embed = TimeEmbedding(dim)
        if multi_layer_encoder_feature:
            self.txt_norm: nn.Module = nn.ModuleList(RMSNorm(enc_hidden_dim, 1e-5) for _ in range(layers))
        else:
            self.txt_norm = RMSNorm(enc_hidden_dim, 1e-5)
        self.txt_in = Linear(layers * enc_hidden_dim, dim)
        self.img_in = Linear(in_channels, dim)
        if absolute_positions:
            self.pos_embed = AbsolutePosition(dim)
        hidden = int(dim / 3 * 8)
        self.transformer_blocks = nn.ModuleList(
            LensBlock(dim, num_attention_heads, hidden, last=n == num_layers - 1) for n in range(num_layers)
        )
        self.norm_out = OutputNorm(dim)
        self.proj_out = Linear(dim, out_dim)
        self.gradient_checkpointing = False
        self.init_weights()

    def init_weights(self, generator: torch.Generator | None = None) -> None:
        """Draws all weights anew from the CPU generator given, or from torch's global one."""
        init_weights(self, self.config["gate_init"], generator)

    def unused_parameters(self) -> list[str]:
        """Names that never receive a gradient: the last block's text branch after its keys and values.

        Data-parallel wrappers and optimizers need to know. With no text at all, every `txt_*` parameter joins
        them.
        """
        last = f"transformer_blocks.{len(self.transformer_blocks) - 1}."
        parts = ("attn.to_add_out.", "attn.norm_added_q.", "txt_norm2.", "txt_mlp.")
        return [n for n, _ in self.named_parameters() if n.startswith(tuple(last + part for part in parts))]

    def forward(
        self,
        image_tokens: torch.Tensor,
        text_features: Sequence[torch.Tensor],
        text_mask: torch.Tensor | None,
        t: torch.Tensor,
        grid: tuple[int, int],
    ) -> torch.Tensor:
        """The velocity, [B, S, patch^2 * out_channels], in the wider of the tokens' and the weights' dtypes.

        image_tokens [B, S, C], S = rows*cols of `grid`, row by row. text_features: one [B, T, D] a layer, raw
        residual stream; padded positions are False in text_mask [B, T] (None: no padding). t [B] in [0, 1], 1
        is noise. No text is an empty list, T = 0 or an all-False mask, with equal results; samples with and
        without text may share a batch.

        Reading the mask waits for the device once a call (not on the meta device): that buys shorter text and
        attention without a mask. In training one masked column is kept when no sample has text, so that text
        parameters get zero gradients rather than none and data-parallel ranks agree on what to reduce.

        Under FSDP mixed precision wrap the root with cast_forward_inputs=False: bfloat16 rounds t by up to
        0.002, two radians of the fastest time feature.

        Raises BadInput when the shapes contradict one another or the configuration.
        """
        self._check_inputs(image_tokens, text_features, text_mask, t, grid)
        dtype = self.img_in.weight.dtype
        if not dtype.is_floating_point:  # a quantised layer: its compute dtype is the input's
            dtype = image_tokens.dtype

        temb = self.time_text_embed(t, dtype)
        # Under autocast linear layers answer in bfloat16; the residual streams stay in the weights' dtype.
        img = self.img_in(image_tokens.to(dtype)).to(dtype)
        if self.config["absolute_positions"]:
            img = img + self.pos_embed(grid, img.device, dtype)
        features, mask = self._visible_text(text_features, text_mask)
        txt = None
        if features:
            norms = self.txt_norm if isinstance(self.txt_norm, nn.ModuleList) else [self.txt_norm]
            normed = [norm(f).to(dtype) for norm, f in zip(norms, features, strict=True)]
            txt = self.txt_in(torch.cat(normed, -1)).to(dtype)

        text_tokens = 0 if txt is None else txt.shape[1]
        table = rotation(self.config["axes_dims_rope"], grid, text_tokens, img.device, dtype)
        if mask is not None:  # image keys are never masked
            mask = torch.cat((mask.new_ones(mask.shape[0], img.shape[1]), mask), 1)[:, None, None]
        for block in self.transformer_blocks:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                img, txt = self._gradient_checkpointing_func(  # type: ignore[misc]
                    block, img, txt, temb, table, mask
                )
            else:
                img, txt = block(img, txt, temb, table, mask)
        out = self.proj_out(self.norm_out(img, temb))
        out = out.to(torch.promote_types(image_tokens.dtype, dtype))
        if self.config["prediction"] == "x0":
            span = t.to(out.dtype).clamp(min=self.config["x0_min_t"])[:, None, None]
            out = (image_tokens - out) / span
        return out

    def _visible_text(
        self, features: Sequence[torch.Tensor], mask: torch.Tensor | None
    ) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        """The columns some sample uses, and the mask over them, or None where it would hide nothing."""
        if not features or features[0].shape[1] == 0:
            return [], None
        if mask is not None:
            mask = mask.to(features[0].device).bool()
        if mask is None or mask.is_meta:
            return list(features), mask
        columns = torch.arange(1, mask.shape[1] + 1, device=mask.device)
        longest = int((mask * columns).max())
        if longest == 0 and not (self.training and torch.is_grad_enabled()):
            return [], None
        keep = max(longest, 1)
        hides = not bool(mask[:, :keep].all())
        return [f[:, :keep] for f in features], mask[:, :keep] if hides else None

    def _check_inputs(
        self,
        image_tokens: torch.Tensor,
        text_features: Sequence[torch.Tensor],
        text_mask: torch.Tensor | None,
        t: torch.Tensor,
        grid: tuple[int, int],
    ) -> None:
        batch, tokens, channels = image_tokens.shape
        if grid[0] * grid[1] != tokens:
            raise BadInput(f"{tokens} image tokens do not fill a grid of {grid[0]} x {grid[1]}")
        if channels != self.config["in_channels"]:
            raise BadInput(
                f"image tokens have {channels} channels, the model takes {self.config['in_channels']}"
            )
        if t.shape != (batch,):
            raise BadInput(f"t has shape {tuple(t.shape)}, expected one value for each of {batch} samples")
        if not text_features:
            return
        if len(text_features) != self.text_layers:
            raise BadInput(
                f"{len(text_features)} text feature layers given, the model takes {self.text_layers}"
            )
        want = (batch, text_features[0].shape[1], self.config["enc_hidden_dim"])
        for layer, feature in enumerate(text_features):
            if feature.shape != want:
                raise BadInput(f"text features of layer {layer} are {tuple(feature.shape)}, expected {want}")
        if text_mask is not None and text_mask.shape != want[:2]:
            raise BadInput(f"text mask is {tuple(text_mask.shape)}, expected {want[:2]}")


def _check_config(config: dict, dim: int, out_dim: int, layers: int) -> None:
    head, axes = config["attention_head_dim"], config["axes_dims_rope"]
    if config["inner_dim"] not in (None, dim):
        raise BadInput(
            f"inner_dim {config['inner_dim']} is not num_attention_heads * attention_head_dim = {dim}"
        )
    if len(axes) != 3 or sum(axes) != head or any(a % 2 or a <= 0 for a in axes):
        raise BadInput(
            f"axes_dims_rope {tuple(axes)} must be three positive even numbers with the sum attention_head_dim {head}"
        )
    if not (config["gate_mlp"] and config["rms_norm"]):
        raise BadInput("gate_mlp and rms_norm must be true: Lens has no other MLP or norm")
    if layers < 1 or config["num_layers"] < 1:
        raise BadInput("num_layers and the length of selected_layer_index must be at least 1")
    if config["prediction"] not in ("velocity", "x0"):
        raise BadInput(f"prediction {config['prediction']!r} is unknown; choose velocity or x0")
    if config["prediction"] == "x0" and (config["in_channels"] != out_dim or not 0 < config["x0_min_t"] < 1):
        raise BadInput(
            f"prediction x0 needs in_channels ({config['in_channels']}) to be patch_size^2 * out_channels"
            f" ({out_dim}) and x0_min_t ({config['x0_min_t']}) between 0 and 1"
        )
