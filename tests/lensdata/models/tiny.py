"""Tiny random checkpoints of the paper's architectures, saved as the hub has them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

SIDE = 28
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
LEVELS = ["neutral", "low", "medium", "high"]


def eva(folder: Path, labels: Any = LEVELS, prefix: str = "timm_model.", **config: Any) -> Any:
    """An EVA-02 classifier in transformers' `timm_wrapper` form; returns timm's own module."""
    import timm

    torch.manual_seed(1)
    sizes = {"img_size": SIDE, "patch_size": 14, "embed_dim": 24, "depth": 2, "num_heads": 2}
    model = timm.create_model("eva02_base_patch14_448", num_classes=4, **sizes).eval()
    _shake(model)
    cfg = {"input_size": [3, SIDE, SIDE], "crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bicubic"}
    written = {
        "architecture": "eva02_base_patch14_448",
        "model_type": "timm_wrapper",
        "num_classes": 4,
        "model_args": sizes,
        "pretrained_cfg": {**cfg, "mean": MEAN, "std": STD},
        **({"label_names": labels} if labels else {}),
        **config,
    }
    _save(folder, "config.json", written, model, "model.safetensors", prefix)
    return model


def siglip(folder: Path, resample: int = 3, whole: bool = True) -> tuple[Any, Any]:
    """A SigLIP (both towers, or its vision tower alone) and the predictor's head at folder/head.pth."""
    from transformers import SiglipModel, SiglipVisionModel

    torch.manual_seed(2)
    config = _siglip_config()
    model = (SiglipModel(config) if whole else SiglipVisionModel(config.vision_config)).eval()
    _shake(model)
    written = (config if whole else config.vision_config).to_dict()
    _save(
        folder,
        "config.json",
        {**written, "architectures": [type(model).__name__]},
        model,
        "model.safetensors",
    )
    _processor(folder, resample)
    torch.manual_seed(3)
    layers: list[Any] = []
    widths = (config.vision_config.hidden_size, 1024, 128, 64, 16, 1)
    for n, (a, b) in enumerate(pairwise(widths)):
        layers += [torch.nn.Linear(a, b), *([torch.nn.Dropout(0.5)] if n < 4 else [])]
    head = torch.nn.ModuleDict({"scoring_head": torch.nn.Sequential(*layers)}).eval()
    torch.save(head.state_dict(), folder / "head.pth")
    return model, head["scoring_head"]


def watermark(
    folder: Path, labels: tuple[str, ...] = ("No Watermark", "Watermark"), resample: int = 2
) -> Any:
    """A SiglipForImageClassification."""
    from transformers import SiglipForImageClassification

    torch.manual_seed(4)
    config = _siglip_config()
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: n for n, label in enumerate(labels)}
    model = SiglipForImageClassification(config).eval()
    _shake(model)
    model.save_pretrained(folder)
    _processor(folder, resample)
    return model


def clip(folder: Path, mode: str = "shortest", **config: Any) -> Any:
    """An open_clip CLIP with QuickGELU, as OpenAI's; returns the whole model."""
    import open_clip

    torch.manual_seed(5)
    vision = {"image_size": SIDE, "layers": 2, "width": 32, "head_width": 16, "patch_size": 14}
    text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    cfg = {"embed_dim": 24, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text, **config}
    model = open_clip.CLIP(
        **{k: v for k, v in cfg.items() if k in ("embed_dim", "quick_gelu", "vision_cfg", "text_cfg")}
    ).eval()
    preprocess = {"size": SIDE, "mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": mode}
    written = {"model_cfg": cfg, "preprocess_cfg": preprocess}
    _save(folder, "open_clip_config.json", written, model, "open_clip_model.safetensors")
    return model


def all_four(folder: Path) -> Path:
    """The four, and the file that names them all."""
    for name, make in {"eva": eva, "siglip": siglip, "watermark": watermark, "clip": clip}.items():
        make(folder / name)
    path = folder / "models.toml"
    path.write_text(
        'device = "cpu"\ndtype = "float32"\nbatch = 3\n\n'
        'nsfw = "./eva"\nwatermark = "./watermark"\n\n'
        '[embedding]\nmodel = "./clip"\nbatch = 5\n\n'
        '[aesthetic]\nmodel = "./siglip"\nhead = "siglip/head.pth"\n'
    )
    return path


def edit(path: Path, change: Any) -> None:
    """Let `change` alter a safetensors file's tensors (a dict)."""
    state = load_file(path)
    change(state)
    save_file(state, path)


def _siglip_config() -> Any:
    from transformers import SiglipConfig

    common = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    return SiglipConfig(
        vision_config={**common, "image_size": SIDE, "patch_size": 14},
        text_config={**common, "vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2},
    )


def _processor(folder: Path, resample: int) -> None:
    half = [0.5, 0.5, 0.5]
    size = {"height": SIDE, "width": SIDE}
    written = {"image_processor_type": "SiglipImageProcessor", "size": size, "resample": resample}
    (folder / "preprocessor_config.json").write_text(
        json.dumps({**written, "image_mean": half, "image_std": half, "rescale_factor": 1 / 255})
    )


def _shake(model: torch.nn.Module) -> None:
    """Random weights everywhere: a fresh network starts with zeros that would hide a wrong order or a lost layer."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)


def _save(folder: Path, config: str, written: Any, model: Any, weights: str, prefix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / config).write_text(json.dumps(written, default=list))
    save_file({prefix + k: v.contiguous().clone() for k, v in model.state_dict().items()}, folder / weights)
