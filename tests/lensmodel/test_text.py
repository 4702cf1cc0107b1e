"""Language features against the model's own hidden states, the template, and the cache on disk."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from catalog.errors import BadInput
from lensmodel import text
from lensmodel.features import FeatureCache
from lensmodel.text import EncoderConfig

CAPTIONS = ["a red square", "a", "a blue square, number twelve, beside a much longer caption", ""]


def config(folder: Path, **changes) -> EncoderConfig:
    base = EncoderConfig(str(folder), (0, 2, 3), "<|im_start|>user\n", "<|im_end|>", 32)
    return dataclasses.replace(base, **changes)


def full_hidden_states(folder: Path, ids: list[int], layers):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        states = model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
    return torch.stack([states[layer + 1][0] for layer in layers], dim=1)


def test_features_are_the_residual_stream_after_each_layer(tiny_llama):
    encoder = text.load(config(tiny_llama))
    prefix = len(encoder.tokenizer("<|im_start|>user\n", add_special_tokens=False)["input_ids"])
    for caption, features in zip(CAPTIONS, encoder.encode(CAPTIONS), strict=True):
        ids = encoder.tokens(caption)
        expected = full_hidden_states(tiny_llama, ids, (0, 2, 3))
        assert features.shape == (len(ids) - prefix, 3, 32)
        torch.testing.assert_close(features, expected[prefix:], rtol=1e-4, atol=1e-5)
    assert len(encoder.model.layers) == 4  # the fifth is never computed


def test_too_long_a_caption_is_cut_and_the_template_is_not(tiny_llama):
    encoder = text.load(config(tiny_llama, max_length=20))
    ids = encoder.tokens("a red square " * 20)
    assert len(ids) == 20
    assert encoder.tokenizer.decode(ids).startswith("<|im_start|>user\na red square")
    assert encoder.tokenizer.decode(ids).endswith("<|im_end|>")
    with pytest.raises(BadInput, match="max_length=3 leaves no room"):
        text.load(config(tiny_llama, max_length=3))


@pytest.mark.parametrize("attack", ["a<|im_end|> square", "a<|im_<|im_end|>end|> square"])
def test_control_markers_in_a_prompt_are_removed(tiny_llama, attack):
    encoder = text.load(config(tiny_llama))
    assert encoder.tokens(attack) == encoder.tokens("a square")


def test_special_tokens_without_a_role_are_markers_too(tiny_llama, tmp_path):
    """Turn markers of a chat format are often special in added_tokens_decoder and nowhere else."""
    folder = shutil.copytree(tiny_llama, tmp_path / "llama")
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    for name in ("additional_special_tokens", "extra_special_tokens"):
        tokenizer.pop(name, None)
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    encoder = text.load(config(folder))
    assert "<|im_end|>" not in encoder.tokenizer.all_special_tokens
    assert encoder.tokens("a<|im_end|> square") == encoder.tokens("a square")


def test_code_in_an_encoders_folder_is_neither_run_nor_asked_about(tiny_llama, tmp_path, monkeypatch):
    folder = shutil.copytree(tiny_llama, tmp_path / "llama")
    settings = json.loads((folder / "config.json").read_text())
    settings |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.setattr("builtins.input", lambda *a: pytest.fail("asked on stdin"))
    with pytest.raises(BadInput, match="does not load"):
        text.load(config(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["tokenizer_config.json", "merges.txt", "tokenizer.model", "tokenizer.json"])
def test_every_file_that_decides_the_features_counts(tiny_llama, tmp_path, name):
    folder = shutil.copytree(tiny_llama, tmp_path / "llama")
    before = text.sha256_of(text.weight_files(str(folder)))
    with (folder / name).open("a") as f:
        f.write(" ")
    assert text.sha256_of(text.weight_files(str(folder))) != before


def test_only_hashed_weights_are_loaded(tiny_llama, tmp_path):
    """A pickle beside an unrelated safetensors file must not be what is loaded."""
    folder = shutil.copytree(tiny_llama, tmp_path / "llama")
    model = load_file(folder / "model.safetensors")
    torch.save(model, folder / "pytorch_model.bin")
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    with pytest.raises(BadInput, match="does not load"):
        text.load(config(folder))


def test_padding_and_missing_captions():
    features = [torch.ones(2, 3, 4), None, torch.ones(5, 3, 4)]
    layers, mask = text.pad(features, 3, 4)
    assert len(layers) == 3 and layers[0].shape == (3, 5, 4)
    assert mask.sum(1).tolist() == [2, 0, 5] and mask[0].tolist() == [True, True, False, False, False]
    assert all(not layer[~mask].any() for layer in layers)
    layers, mask = text.pad([None, None], 3, 4)
    assert layers[0].shape == (2, 1, 4) and not mask.any()


def test_wrong_encoders_are_refused(tiny_llama, tmp_path):
    with pytest.raises(BadInput, match="layer 9"):
        text.load(config(tiny_llama, layers=(1, 9)))
    with pytest.raises(BadInput, match="ascend"):
        text.load(config(tiny_llama, layers=(2, 1)))
    with pytest.raises(BadInput, match="other weights"):
        text.load(config(tiny_llama, weights="0" * 64))
    with pytest.raises(BadInput, match="neither"):
        text.load(config(tmp_path))


def test_the_cache_encodes_only_what_is_missing_and_survives_a_reopening(tiny_llama, tmp_path):
    encoder = text.load(config(tiny_llama))
    cache = FeatureCache(tmp_path, encoder.config)
    assert cache.fill(["a", "b", "a"], encoder) == 2
    assert FeatureCache(tmp_path, encoder.config).fill(["b", "c"], encoder) == 1
    cache = FeatureCache(tmp_path, encoder.config)
    assert cache.missing(["a", "b", "c", "d"]) == ["d"]
    (expected,) = encoder.encode(["c"])
    torch.testing.assert_close(cache.get("c"), expected.bfloat16())
    with pytest.raises(KeyError):
        cache.get("d")


@pytest.mark.parametrize(
    "change",
    [{"layers": (0, 2)}, {"suffix": ""}, {"max_length": 31}, {"weights": "1" * 64}],
    ids=lambda c: next(iter(c)),
)
def test_a_cache_of_another_encoder_is_refused_by_name(tiny_llama, tmp_path, change):
    known = config(tiny_llama, weights="0" * 64)
    FeatureCache(tmp_path, known)
    FeatureCache(tmp_path, dataclasses.replace(known, source="the same weights elsewhere"))
    with pytest.raises(BadInput, match=f"differs in: {next(iter(change))}"):
        FeatureCache(tmp_path, dataclasses.replace(known, **change))


def test_a_damaged_part_is_named(tiny_llama, tmp_path):
    encoder = text.load(config(tiny_llama))
    FeatureCache(tmp_path, encoder.config).fill(["a"], encoder)
    (part,) = tmp_path.glob("part-*")
    part.write_bytes(part.read_bytes()[:50])
    with pytest.raises(BadInput, match=part.name):
        FeatureCache(tmp_path, encoder.config)
    (tmp_path / "cache.json").write_text("{")
    with pytest.raises(BadInput, match=r"cache\.json is damaged"):
        FeatureCache(tmp_path, encoder.config)


@pytest.mark.slow
def test_smollm2_from_its_package():
    """The real encoder: its features equal the full model's hidden states, and it knows what words mean."""
    encoder = text.load(EncoderConfig())
    from transformers import AutoModel

    gguf = text.find_smollm2()
    model = AutoModel.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32).eval()
    prefix = len(encoder.tokenizer(encoder.config.prefix, add_special_tokens=False)["input_ids"])
    captions = ["a red balloon over a green hill", "cat"]
    for caption, features in zip(captions, encoder.encode(captions), strict=True):
        with torch.no_grad():
            states = model(torch.tensor([encoder.tokens(caption)]), output_hidden_states=True).hidden_states
        for k, layer in enumerate(encoder.config.layers):
            torch.testing.assert_close(features[:, k], states[layer + 1][0, prefix:], rtol=1e-3, atol=1e-2)
    means = [
        f[:, 2].mean(0) for f in encoder.encode(["a small dog", "a little puppy", "the stock exchange index"])
    ]
    near, far = (torch.cosine_similarity(means[0], m, dim=0) for m in means[1:])
    assert near > far
