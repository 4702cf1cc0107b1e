"""The paper's language encoders, tiny and random, against the hidden states that transformers gives."""

import shutil

import pytest
import torch

from catalog.errors import BadInput
from lensmodel import presets, text
from lensmodel.features import FeatureCache
from lensmodel.text import EncoderConfig

CAPTIONS = [
    "a red square",
    "a",
    "a blue square, number twelve, beside a much longer caption than the window",
    "",
]
HARMONY = "<|im_start|>system: draw<|im_end|><|im_start|>user\n", "<|im_end|><|im_start|>assistant\n"


def gpt_oss(folder):
    """As GPT-OSS-20B: sliding and full attention in turn, YaRN, attention sinks, a mixture of experts."""
    from transformers import GptOssConfig, GptOssModel

    config = GptOssConfig(
        vocab_size=500, hidden_size=32, intermediate_size=32, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, num_local_experts=4, num_experts_per_tok=2, sliding_window=8,
    )  # fmt: skip
    torch.manual_seed(3)
    GptOssModel(config).save_pretrained(folder)


def qwen3(folder):
    from transformers import Qwen3Config, Qwen3Model

    config = Qwen3Config(
        vocab_size=500, hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8,
    )  # fmt: skip
    torch.manual_seed(4)
    Qwen3Model(config).save_pretrained(folder)


@pytest.fixture(
    scope="module",
    params=[(gpt_oss, (1, 3, 5)), (gpt_oss, (0, 2)), (qwen3, (3,))],
    ids=lambda one: f"{one[0].__name__}-{one[1]}",
)
def encoder(request, tiny_llama, tmp_path_factory):
    """(folder, layers) of a checkpoint with the tokenizer of the tests' tiny Llama."""
    make, layers = request.param
    folder = tmp_path_factory.mktemp(make.__name__)
    make(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_llama / name, folder)
    return folder, layers


def streams(folder, ids):
    """The residual stream after each layer: hidden states, but without the norm that ends the last."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    model.norm = torch.nn.Identity()
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[1:]


def test_raw_streams_of_the_selected_layers(encoder):
    folder, layers = encoder
    loaded = text.load(EncoderConfig(str(folder), layers, *HARMONY, 64))
    assert len(loaded.model.layers) == layers[-1] + 1  # nothing above the last one is computed
    prefix = len(loaded.tokenizer(HARMONY[0], add_special_tokens=False)["input_ids"])
    for caption, features in zip(CAPTIONS, loaded.encode(CAPTIONS), strict=True):
        ids = loaded.tokens(caption)
        after = streams(folder, ids)
        expected = torch.stack([after[layer][0] for layer in layers], dim=1)[prefix:]
        torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


def test_the_offset_of_a_released_template(encoder):
    folder, layers = encoder
    whole = text.load(EncoderConfig(str(folder), layers, *HARMONY, 64, offset=0)).encode(CAPTIONS)
    cut = text.load(EncoderConfig(str(folder), layers, *HARMONY, 64, offset=5)).encode(CAPTIONS)
    assert all(torch.equal(a[5:], b) for a, b in zip(whole, cut, strict=True))
    with pytest.raises(BadInput, match="template_offset=4000"):
        text.load(EncoderConfig(str(folder), layers, *HARMONY, 64, offset=4000))


def test_a_cache_of_another_offset_is_refused_and_old_caches_stay_good(encoder, tmp_path):
    folder, layers = encoder
    config = EncoderConfig(str(folder), layers, *HARMONY, 64, weights="0" * 64)
    FeatureCache(tmp_path, config)
    assert "offset" not in {**config.__dict__} or config.offset is None
    with pytest.raises(BadInput, match="differs in: offset"):
        FeatureCache(tmp_path, EncoderConfig(**{**config.__dict__, "offset": 3}))


def test_the_papers_template_is_frozen_and_keeps_its_suffix():
    settings = presets.build("pretrain-mixed")
    assert "Current date: 2025-" in settings.template_prefix and settings.template_prefix.endswith(
        "<|message|>"
    )
    assert settings.template_suffix.startswith("<|end|>") and "assistant" in settings.template_suffix
    assert presets.build("lens-3.8b").template_prefix == settings.template_prefix


def test_captions_encoded_online_train_the_same_weights(tiny, tiny_overrides, tmp_path):
    from safetensors.torch import load_file

    from lensmodel import checkpoint
    from lensmodel.trainer import Trainer

    found = []
    for encode in ("ahead", "online"):
        run = tmp_path / encode
        Trainer(
            tiny, presets.build("mini", [*tiny_overrides, f"encode={encode}", "max_steps=3"]), run, False
        ).run()
        found.append(load_file(checkpoint.find(run) / "model" / "diffusion_pytorch_model.safetensors"))
    assert not (tmp_path / "online" / "text-features").exists()
    for name, tensor in found[0].items():
        torch.testing.assert_close(found[1][name], tensor, rtol=1e-3, atol=1e-4)
