"""LoRA: small matrices beside frozen linear layers, W + alpha / rank * B A, in the files of both peft and diffusers.

    adapter_config.json, adapter_model.safetensors   peft: `PeftModel.from_pretrained(model, folder)`
    pytorch_lora_weights.safetensors                 diffusers: `model.load_lora_adapter(folder, use_safetensors=True)`

Neither library (peft 0.21, diffusers 0.42) refuses a file with tensors too few or too many; `read` does. B starts at
zero, so that a new adapter changes nothing.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from catalog.errors import BadInput
from lensmodel.nn import LensTransformer
from lensmodel.nn.load import compare, json_object

if TYPE_CHECKING:
    from peft import LoraConfig

    from lensmodel.settings import Settings

NAME = "default"  # of the adapter within the model; no file holds it
CONFIG, PEFT, DIFFUSERS = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "pytorch_lora_weights.safetensors",
)
_METADATA = "lora_adapter_metadata"  # where diffusers keeps the configuration in its file
# What a configuration may say beside plain LoRA, because it changes nothing that is computed.
_IDLE = {
    "auto_mapping", "base_model_name_or_path", "revision", "peft_version", "task_type", "inference_mode",
    "lora_dropout", "r", "lora_alpha", "target_modules", "exclude_modules",
}  # fmt: skip


@dataclass(frozen=True)
class Adapter:
    """The tensors of an adapter by "LAYER.lora_A.weight" and "LAYER.lora_B.weight", and peft's configuration."""

    tensors: dict[str, torch.Tensor]
    config: LoraConfig

    def save_pretrained(self, folder: Path) -> None:
        """Write the files of both libraries."""
        folder.mkdir(parents=True, exist_ok=True)
        fields = {
            key: sorted(value) if isinstance(value, set) else value
            for key, value in self.config.to_dict().items()
        }
        (folder / CONFIG).write_text(json.dumps(fields, indent=2, sort_keys=True))
        save_file(
            {f"base_model.model.{key}": value for key, value in self.tensors.items()},
            folder / PEFT,
            {"format": "pt"},
        )
        prefixed = json.dumps({f"transformer.{key}": value for key, value in fields.items()}, sort_keys=True)
        save_file(
            {f"transformer.{key}": value for key, value in self.tensors.items()},
            folder / DIFFUSERS,
            {"format": "pt", _METADATA: prefixed},
        )


def configure(model: LensTransformer, settings: Settings) -> LoraConfig:
    """The configuration that `lora_rank`, `lora_alpha` and `lora_targets` ask for.

    Layers that never get a gradient get no adapter. Raises BadInput for a target that no other linear layer's name ends
    with and for a rank above a side of a layer.
    """
    from peft import LoraConfig

    s, wanted = settings, [name.strip() for name in settings.lora_targets.split(",")]
    idle = {name.rpartition(".")[0] for name in model.unused_parameters()}
    for target in wanted:
        if not target or not set(_layers(model, [target])) - idle:
            ends = sorted({".".join(n.split(".")[3:] or n.split(".")[-1:]) for n in _linear(model)})
            raise BadInput(
                f"lora_targets={s.lora_targets}: no linear layer that trains is called {target!r}; "
                f"names end with {', '.join(ends)}"
            )
    chosen = _layers(model, wanted)
    for name, layer in chosen.items():
        if s.lora_rank > min(layer.in_features, layer.out_features):
            raise BadInput(
                f"lora_rank={s.lora_rank} is above a side of {name} "
                f"({layer.out_features} x {layer.in_features}); take a lower rank"
            )
    alpha: Any = 2 * s.lora_rank if s.lora_alpha is None else s.lora_alpha
    # Every name in full: an exception would make peft warn each time that diffusers loads the adapter.
    return LoraConfig(r=s.lora_rank, lora_alpha=alpha, target_modules=sorted(set(chosen) - idle))


def attach(model: LensTransformer, config: LoraConfig, seed: int) -> LensTransformer:
    """`model` itself, frozen, with a new adapter that trains: the same for the same seed, on the CPU."""
    model.requires_grad_(False)
    torch.manual_seed(seed)
    model.add_adapter(copy.deepcopy(config), NAME)
    return model


def twin(model: LensTransformer) -> LensTransformer:
    """A copy of a model and its adapter that shares the frozen weights, so that it costs an adapter's memory."""
    return copy.deepcopy(model, {id(p): p for p in model.parameters() if not p.requires_grad})


def configuration(model: Any) -> LoraConfig | None:
    """That of the adapter which `attach` added; None for a model without one."""
    return getattr(model, "peft_config", {}).get(NAME)


def taken(state: dict[str, torch.Tensor], config: LoraConfig) -> Adapter:
    """The adapter among the tensors that a model with one names in its state."""
    return Adapter(
        {key.replace(f".{NAME}.", "."): value for key, value in state.items() if ".lora_" in key}, config
    )


def put(adapter: Adapter, model: LensTransformer) -> None:
    """Give the adapter that `attach` added to `model` the values of `adapter`, which has the same layers."""
    state = {key.replace(".weight", f".{NAME}.weight"): value for key, value in adapter.tensors.items()}
    model.load_state_dict(state, strict=False)


def read(folder: Path, model: LensTransformer) -> Adapter:
    """The adapter in `folder` (peft's files), which must be one for `model`, a model without an adapter.

    Raises BadInput, one line, for a missing or damaged file, for anything but plain LoRA, and for a missing, extra or
    misshapen tensor.
    """
    config = _config(folder / CONFIG)
    file = folder / PEFT
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{file} cannot be read: {error}") from None
    found = {key.removeprefix("base_model.model."): value for key, value in tensors.items()}
    want: dict[str, tuple[int, ...]] = {}
    for name, layer in _layers(model, _names(config.target_modules), _names(config.exclude_modules)).items():
        want[f"{name}.lora_A.weight"] = (config.r, layer.in_features)
        want[f"{name}.lora_B.weight"] = (layer.out_features, config.r)
    compare(file, want, {key: tuple(value.shape) for key, value in found.items()})
    return Adapter(found, config)


@torch.no_grad()
def merge(base: LensTransformer, adapter: Adapter) -> LensTransformer:
    """`base` itself with the adapter (of `read(folder, base)`) folded into its weights, summed in float32."""
    scale = adapter.config.lora_alpha / adapter.config.r
    for key, down in adapter.tensors.items():
        name, end, _ = key.partition(".lora_A.")
        if not end:
            continue
        up, weight = adapter.tensors[f"{name}.lora_B.weight"], base.get_submodule(name).weight
        assert isinstance(weight, torch.Tensor)
        change = (up.float() @ down.float()).to(weight.device)
        weight.copy_(weight.float() + scale * change)
    return base


def _linear(model: LensTransformer) -> dict[str, torch.nn.Linear]:
    return {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}


def _layers(
    model: LensTransformer, targets: Sequence[str], without: Sequence[str] = ()
) -> dict[str, torch.nn.Linear]:
    """The linear layers whose names are targets or end with one, as peft chooses them."""

    def fits(name: str, ends: Sequence[str]) -> bool:
        return any(name == end or name.endswith(f".{end}") for end in ends)

    return {
        name: layer
        for name, layer in _linear(model).items()
        if fits(name, targets) and not fits(name, without)
    }


def _names(modules: Collection[str] | None) -> list[str]:
    assert not isinstance(modules, str)  # a pattern: `_config` refuses it
    return sorted(modules or ())


def _config(file: Path) -> LoraConfig:
    from peft import LoraConfig

    fields = json_object(file)
    rank: Any = fields.get("r")
    alpha: Any = fields.get("lora_alpha")
    targets, without = fields.get("target_modules"), fields.get("exclude_modules") or []
    good = type(rank) is int and rank > 0 and type(alpha) in (int, float) and math.isfinite(alpha)
    if not good or any(
        not isinstance(names, list) or not all(isinstance(n, str) for n in names)
        for names in (targets, without)
    ):
        raise BadInput(
            f"{file} is no configuration of LoRA: it needs r, lora_alpha and a list target_modules"
        )
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, exclude_modules=without or None)
    plain = config.to_dict()
    for key, value in fields.items():
        if key not in _IDLE and value != plain.get(key) and (value or key in plain):
            raise BadInput(f"{file}: {key} is {value!r}; Lens reads plain LoRA, without it")
    return config
