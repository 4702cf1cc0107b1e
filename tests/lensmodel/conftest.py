"""A small world for training tests: pictures, a virtual manifest over them, a tiny random language model."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from catalog import manifest as manifests
from catalog import metrics
from catalog.buckets import BY_NAME
from catalog.manifest.files import FORMAT

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220), "yellow": (240, 220, 40)}
SIZES = (("512x512", 24), ("608x448", 14), ("768x768", 7), ("384x672", 2))


def _picture(name: str, n: int) -> tuple[bytes, str, int, int]:
    bucket, rng = BY_NAME[name], np.random.default_rng(n)
    width, height = bucket.width // 8, bucket.height // 8
    colour = list(COLOURS)[n % len(COLOURS)]
    rgb = np.full((height, width, 3), 235, dtype=np.uint8)
    top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
    rgb[top : top + height // 2, left : left + width // 2] = COLOURS[colour]
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return file.getvalue(), f"a {colour} square, number {n}", width, height


@pytest.fixture(scope="session")
def make_manifest():
    """make_manifest(folder, sizes=SIZES, name="tiny") -> Manifest over pictures written below `folder`."""

    def make(folder: Path, sizes=SIZES, name: str = "tiny") -> manifests.Manifest:
        (folder / "images").mkdir(parents=True)
        rows = []
        for bucket, count in sizes:
            for _ in range(count):
                n = len(rows)
                data, caption, width, height = _picture(bucket, n)
                path = folder / "images" / f"{n:03d}.png"
                path.write_bytes(data)
                rows.append(
                    {
                        "image_id": n, "bucket": bucket, "shard": None, "uri": str(path), "offset": 0,
                        "length": len(data), "sha256": hashlib.sha256(data).hexdigest(), "format": "png",
                        "width": width, "height": height, "source": "test", "caption": caption,
                        "caption_style": "dense", "brief": f"square {n}" if n % 2 else None,
                        **dict.fromkeys(metrics.names(), 0.5),
                    }
                )  # fmt: skip
        samples = pl.DataFrame(rows, schema_overrides={"shard": pl.String, "brief": pl.String})
        text = json.dumps([(r["image_id"], r["sha256"], r["caption"]) for r in rows])
        info = {
            "format": FORMAT, "name": name, "virtual": True, "samples": len(rows), "shards": [],
            "buckets": manifests.bucket_counts(samples),
            "fingerprint": hashlib.sha256(text.encode()).hexdigest(),
        }  # fmt: skip
        manifests.write(folder / "manifest", info, samples)
        return manifests.load(folder / "manifest")

    return make


@pytest.fixture(scope="session")
def tiny(make_manifest, tmp_path_factory):
    """A manifest of 47 pictures in four buckets. Tests must not damage it."""
    return make_manifest(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory) -> Path:
    """A folder with a random 5-layer Llama of width 32 and a tokenizer trained on a few captions."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("llama")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([f"a {c} square, number" for c in COLOURS] * 4, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, additional_special_tokens=special)
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast), hidden_size=32, intermediate_size=48, num_hidden_layers=5,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
    )  # fmt: skip
    LlamaModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_overrides(tiny_llama, tmp_path_factory) -> list[str]:
    """Settings that make `mini` tiny: a run of a few steps takes a second."""
    return [
        f"encoder={tiny_llama}", "encoder_layers=1,3", "enc_hidden_dim=32", "max_length=24", "num_layers=2",
        "num_attention_heads=2", "attention_head_dim=16", "axes_dims_rope=4,6,6", "batch_512=4",
        "batch_768=3",
        "batch_1024=2", "holdout_least=6", "max_steps=8", "warmup_steps=2", "log_every=2", "validate_every=4",
        "checkpoint_every=3", "device=cpu", "sample_every=0", "precision=fp32",
    ]  # fmt: skip
