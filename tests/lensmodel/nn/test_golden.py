"""The denoiser against numbers of the released implementation, and its size against its checkpoint."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from lensmodel import flow
from lensmodel.nn import LensTransformer
from lensmodel.nn.rope import rotation

GOLDEN = Path(__file__).parents[2] / "golden" / "lens_transformer_tiny.safetensors"


@pytest.fixture(scope="module")
def golden():
    with safe_open(GOLDEN, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()} | {"meta": file.metadata()}  # noqa: SIM118


def golden_weights(shapes):
    """Weights that are a function of the tensor's place in the sorted names."""
    weights = {}
    for i, name in enumerate(sorted(shapes)):
        shape = shapes[name]
        w = (torch.arange(shape.numel(), dtype=torch.float64) * 0.37 + i).sin().reshape(shape) * 0.2
        weights[name] = (1 + 0.1 * w if name.endswith(".weight") and w.ndim == 1 else w).float()
    return weights


@pytest.fixture(scope="module")
def model(golden):
    model = LensTransformer(**json.loads(golden["meta"]["config"]))
    model.load_state_dict(golden_weights({n: t.shape for n, t in model.state_dict().items()}))
    return model


def inputs(golden, dtype):
    return (
        golden["in.hidden_states"].to(dtype),
        [golden[f"in.text_feat.{layer}"].to(dtype) for layer in range(4)],
        golden["in.encoder_mask"].bool(),
        golden["in.timestep"].to(dtype),
        (4, 6),
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-5), (torch.float64, 5e-6)])
def test_output(model, golden, dtype, tolerance):
    model.to(dtype)
    with torch.no_grad():
        out = model(*inputs(golden, dtype))
        temb = model.time_text_embed(golden["in.timestep"], dtype)
    assert out.dtype == temb.dtype == dtype
    assert (out - golden["out.float64_pure"]).abs().max() < tolerance
    assert (temb - golden["mid.temb"]).abs().max() < 5e-5


def test_float64_is_float64_throughout(model, golden):
    """A float32 detour anywhere would leave an error near 1e-6."""
    with torch.no_grad():
        out = model.double()(*inputs(golden, torch.float64))
    assert (out - golden["out.float64_pure"]).abs().max() < 1e-12


def test_size_and_golden_names(model):
    assert len(model.state_dict()) == 94
    assert model.num_parameters() == 483_760
    with torch.device("meta"):
        released = LensTransformer()
        toy = LensTransformer(num_layers=14, enc_hidden_dim=1024, multi_layer_encoder_feature=False)
    assert released.num_parameters() == 4_104_225_152
    state = released.state_dict()
    assert len(state) == 1264
    assert state["transformer_blocks.47.attn.to_out.0.weight"].shape == (1536, 1536)
    assert state["transformer_blocks.0.txt_mod.1.bias"].shape == (9216,)
    assert state["txt_norm.3.weight"].shape == (2880,)
    assert toy.num_parameters() == 1_199_052_416
    assert "txt_norm.weight" in toy.state_dict()


def test_meta_forward():
    """Shapes and memory can be planned without weights."""
    with torch.device("meta"):
        model = LensTransformer(num_layers=2)
        features = [torch.empty(2, 9, 2880) for _ in range(4)]
        mask = torch.empty(2, 9, dtype=torch.bool)
        out = model(torch.empty(2, 64, 128), features, mask, torch.empty(2), (8, 8))
    assert out.is_meta
    assert out.shape == (2, 64, 128)


def test_rope(golden):
    table = rotation((4, 6, 6), (4, 6), 7, torch.device("cpu"), torch.float32)
    image, text = table[:24], table[24:]
    for part, name in ((image, "img"), (text, "txt")):
        torch.testing.assert_close(part.real, golden[f"rope.tiny.4x6.{name}_cos"], atol=1e-6, rtol=0)
        torch.testing.assert_close(part.imag, golden[f"rope.tiny.4x6.{name}_sin"], atol=1e-6, rtol=0)


def test_pack(golden):
    latent, tokens = golden["pack.latent"], golden["pack.tokens"]
    assert torch.equal(flow.pack(latent), tokens)
    assert torch.equal(flow.unpack(tokens, (4, 6)), latent)
    patchified = golden["pack.patchified"]
    assert torch.equal(flow.pack(latent), patchified.flatten(2).transpose(1, 2))


@pytest.mark.parametrize("steps", [4, 20, 50])
def test_sigmas(golden, steps):
    sigmas = flow.inference_sigmas(4096, steps)
    assert sigmas.dtype == torch.float32
    torch.testing.assert_close(sigmas, golden[f"sched.4096.{steps}.sigmas"], atol=2e-7, rtol=0)
    torch.testing.assert_close(sigmas[:-1] * 1000, golden[f"sched.4096.{steps}.timesteps"], atol=2e-4, rtol=0)


def test_mu(golden):
    for key, mu in json.loads(golden["meta"]["mu"]).items():
        tokens, steps = map(int, key.split(","))
        assert flow.inference_mu(tokens, steps) == pytest.approx(mu, abs=1e-9)
