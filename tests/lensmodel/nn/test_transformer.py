"""What the model promises beyond its numbers: precision, options, saving, loading, refusing."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from catalog.errors import BadInput
from lensmodel.nn import LensTransformer, load
from lensmodel.nn.block import LensBlock
from lensmodel.nn.rope import rotate, rotation

TINY = {
    "in_channels": 12,
    "out_channels": 3,
    "num_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "enc_hidden_dim": 10,
    "axes_dims_rope": (4, 6, 6),
    "selected_layer_index": (3, 7),
}
WEIGHTS = "diffusion_pytorch_model.safetensors"


def batch(grid=(3, 4), text_tokens=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    tokens = torch.randn(2, grid[0] * grid[1], 12, generator=g)
    features = [100 * torch.randn(2, text_tokens, 10, generator=g) for _ in range(2)]
    mask = torch.arange(text_tokens) < torch.tensor([[text_tokens], [2]])
    return tokens, features, mask, torch.tensor([0.2, 0.9]), grid


def test_padding_is_never_seen():
    model = LensTransformer(**TINY).eval()
    tokens, features, mask, t, grid = batch()
    poisoned = [f.masked_fill(~mask[..., None], 1e4) for f in features]
    longer = [torch.cat((f, torch.full_like(f, 7.0)), 1) for f in features]
    with torch.no_grad():
        want = model(tokens, features, mask, t, grid)
        torch.testing.assert_close(model(tokens, poisoned, mask, t, grid), want, atol=1e-6, rtol=0)
        wide = torch.cat((mask, mask & False), 1)
        assert torch.equal(model(tokens, longer, wide, t, grid), want)


def test_autocast_keeps_a_float32_stream_and_stays_close():
    model = LensTransformer(**TINY).eval()
    seen = []
    for block in model.transformer_blocks:
        block.register_forward_hook(lambda m, a, out: seen.extend(x.dtype for x in out if x is not None))
    with torch.no_grad():
        want = model(*batch())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = model(*batch())
    assert set(seen) == {torch.float32}
    assert got.dtype == torch.float32
    assert 0 < (got - want).abs().max() < 0.02 * want.abs().max()


def test_bfloat16_model_answers_in_the_wider_dtype():
    model = LensTransformer(**TINY).bfloat16().eval()
    tokens, features, mask, t, grid = batch()
    with torch.no_grad():
        assert model(tokens, features, mask, t, grid).dtype == torch.float32
        half = model(tokens.bfloat16(), [f.bfloat16() for f in features], mask, t, grid)
    assert half.dtype == torch.bfloat16
    assert half.isfinite().all()


def test_float16_text_features_do_not_overflow():
    model = LensTransformer(**TINY).eval()
    tokens, features, mask, t, grid = batch()
    big = [(f / f.abs().max() * 10_700).half() for f in features]
    with torch.no_grad():
        want = model(tokens, [f.float() for f in big], mask, t, grid)
        torch.testing.assert_close(model(tokens, big, mask, t, grid), want, atol=5e-3, rtol=1e-2)


def test_rotation_table_survives_inference_mode():
    """A table first made while sampling must still serve a backward pass."""
    model, (tokens, features, mask, t, _) = LensTransformer(**TINY), batch((2, 6))
    with torch.inference_mode():
        model(tokens, features, mask, t, (2, 6))
    model(tokens, features, mask, t, (2, 6)).sum().backward()
    assert rotation((4, 6, 6), (2, 6), 5, torch.device("cpu"), torch.float64).dtype == torch.complex128
    assert rotation((4, 6, 6), (2, 6), 5, torch.device("meta"), torch.float32).is_meta


def test_block_compiles_whole():
    """One graph, no break; compiled RoPE uses real arithmetic where eager RoPE uses complex numbers."""
    torch.manual_seed(0)
    for last in (False, True):
        block = LensBlock(32, 2, 64, last)
        table = rotation((4, 6, 6), (3, 4), 5, torch.device("cpu"), torch.float32)
        mask = torch.ones(2, 1, 1, 17, dtype=torch.bool)
        args = (torch.randn(2, 12, 32), torch.randn(2, 5, 32), torch.randn(2, 32), table, mask)
        compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
        for got, want in zip(compiled(*args), block(*args), strict=True):
            if want is not None:
                torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


def test_rotate_turns_pairs_by_the_angle():
    x = torch.zeros(1, 1, 1, 4)
    x[..., 0] = x[..., 3] = 1
    angle = torch.tensor([0.3, 1.1])
    out = rotate(x, torch.polar(torch.ones(2), angle)[None])
    want = torch.tensor([angle[0].cos(), angle[0].sin(), -angle[1].sin(), angle[1].cos()])
    torch.testing.assert_close(out.flatten(), want)


def test_seeded_initialisation():
    model = LensTransformer(**TINY, gate_init=0.25)
    draws = []
    for seed in (5, 5, 6):
        model.init_weights(torch.Generator().manual_seed(seed))
        draws.append({n: p.detach().clone() for n, p in model.named_parameters()})
    assert all(torch.equal(draws[0][n], draws[1][n]) for n in draws[0])
    assert not torch.equal(draws[0]["img_in.weight"], draws[2]["img_in.weight"])
    gates = model.transformer_blocks[0].img_mod[1].bias.view(6, -1)
    assert gates[:, 0].tolist() == [0, 0, 0.25, 0, 0, 0.25]
    with torch.no_grad():
        out = model(*batch())
    assert 0.03 < out.std() < 0.3  # close to predicting zero, and not dead


def test_prediction_x0_returns_a_velocity():
    tokens, features, mask, _, grid = batch()
    model = LensTransformer(**TINY, prediction="x0").eval()
    direct = LensTransformer(**TINY).eval()
    direct.load_state_dict(model.state_dict())
    for t in (1.0, 0.4, 0.01, 0.0):
        time = torch.full((2,), t)
        with torch.no_grad():
            x0 = direct(tokens, features, mask, time, grid)
            v = model(tokens, features, mask, time, grid)
        torch.testing.assert_close(v, (tokens - x0) / max(t, 0.05))


def test_absolute_positions_know_the_edges():
    """The embedding acts, and with its weights at zero it is the released model."""
    tokens, features, mask, t, _ = batch()
    model = LensTransformer(**TINY, absolute_positions=True).eval()
    plain = LensTransformer(**TINY).eval()
    plain.load_state_dict({n: w for n, w in model.state_dict().items() if "pos_embed" not in n})
    with torch.no_grad():
        with_places = model(tokens, features, mask, t, (3, 4))
        assert (with_places - plain(tokens, features, mask, t, (3, 4))).abs().max() > 1e-3
        model.pos_embed.linear.weight.zero_()
        torch.testing.assert_close(
            model(tokens, features, mask, t, (3, 4)), plain(tokens, features, mask, t, (3, 4))
        )
        assert model(tokens[:, :1], [], None, t, (1, 1)).isfinite().all()


def test_single_text_layer():
    model = LensTransformer(**TINY | {"multi_layer_encoder_feature": False})
    tokens, features, mask, t, grid = batch()
    assert model(tokens, features[:1], mask, t, grid).shape == tokens.shape
    with pytest.raises(BadInput, match="2 text feature layers given, the model takes 1"):
        model(tokens, features, mask, t, grid)


def test_lora_adapter_attaches_to_the_attention():
    peft = pytest.importorskip("peft")
    model = LensTransformer(**TINY).eval()
    with torch.no_grad():
        want = model(*batch())
    targets = ["img_qkv", "txt_qkv", "to_out.0", "to_add_out"]
    model.add_adapter(peft.LoraConfig(r=2, lora_alpha=4, target_modules=targets))
    assert torch.allclose(model(*batch()), want)
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    assert len(names) == 2 * 4 * 2
    assert all("lora_" in n for n in names)


@pytest.mark.parametrize("shard_size", ["10GB", "40KB"])
def test_save_and_load(tmp_path, shard_size):
    model = LensTransformer(**TINY, absolute_positions=True).eval()
    model.save_pretrained(tmp_path / "transformer", max_shard_size=shard_size)
    files = len(list((tmp_path / "transformer").glob("*.safetensors")))
    assert files == 1 if shard_size == "10GB" else files > 1
    with torch.no_grad():
        want = model(*batch())
        for other in (
            LensTransformer.from_pretrained(tmp_path / "transformer"),
            load(tmp_path / "transformer"),
            load(tmp_path),
        ):
            assert not other.training
            assert torch.equal(other(*batch()), want)
    assert load(tmp_path, dtype=torch.bfloat16).dtype == torch.bfloat16


def damage_missing(state):
    del state["txt_in.bias"]


def damage_extra(state):
    state["txt_out.bias"] = torch.zeros(2)


def damage_shape(state):
    state["img_in.weight"] = torch.zeros(3, 4)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_missing, "tensor txt_in.bias is missing"),
        (damage_extra, "tensor txt_out.bias is not part of the model"),
        (damage_shape, r"tensor img_in.weight has shape \(3, 4\), expected \(32, 12\)"),
    ],
)
def test_strict_loading_names_the_tensor(tmp_path, damage, message):
    LensTransformer(**TINY).save_pretrained(tmp_path)
    state = load_file(tmp_path / WEIGHTS)
    damage(state)
    save_file(state, tmp_path / WEIGHTS)
    with pytest.raises(BadInput, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_damaged_folders_are_bad_input(tmp_path):
    with pytest.raises(BadInput, match=r"config\.json does not exist"):
        load(tmp_path / "nowhere")
    LensTransformer(**TINY).save_pretrained(tmp_path)
    content = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInput, match="cannot be read"):
        load(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(BadInput, match=r"holds no \.safetensors"):
        load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(BadInput, match="not valid JSON"):
        load(tmp_path)


def test_config_survives_a_round_trip(tmp_path):
    LensTransformer(**TINY, prediction="x0", gate_init=0.0).save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["_class_name"] == "LensTransformer"
    assert load(tmp_path).config["prediction"] == "x0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axes_dims_rope": (4, 6, 8)}, "axes_dims_rope"),
        ({"axes_dims_rope": (5, 5, 6)}, "axes_dims_rope"),
        ({"inner_dim": 33}, "inner_dim 33"),
        ({"gate_mlp": False}, "gate_mlp"),
        ({"prediction": "noise"}, "choose velocity or x0"),
        ({"prediction": "x0", "in_channels": 16}, "prediction x0 needs"),
        ({"num_layers": 0}, "at least 1"),
    ],
)
def test_impossible_configurations(change, message):
    with pytest.raises(BadInput, match=message):
        LensTransformer(**TINY | change)


@pytest.mark.parametrize(
    ("index", "value", "message"),
    [
        (0, torch.zeros(2, 12, 11), "11 channels, the model takes 12"),
        (1, [torch.zeros(2, 5, 10)], "1 text feature layers given, the model takes 2"),
        (1, [torch.zeros(2, 5, 10), torch.zeros(2, 6, 10)], "text features of layer 1"),
        (2, torch.ones(2, 4, dtype=torch.bool), "text mask"),
        (3, torch.tensor(0.5), "t has shape"),
        (4, (3, 5), "12 image tokens do not fill a grid of 3 x 5"),
    ],
)
def test_contradicting_shapes(index, value, message):
    args = list(batch())
    args[index] = value
    with pytest.raises(BadInput, match=message):
        LensTransformer(**TINY)(*args)
