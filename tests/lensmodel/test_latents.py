"""Pixels to tokens and back, for the small world and for the FLUX.2 autoencoder."""

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLFlux2
from safetensors.torch import load_file, save_file

from catalog.buckets import BUCKETS
from catalog.errors import BadInput
from lensmodel.latents import PixelLatents, VaeLatents, load_vae


@pytest.mark.parametrize(("bucket", "pixels"), [((512, 512), (32, 32)), ((1024, 1024), (64, 64))])
def test_pixel_size(bucket, pixels):
    assert PixelLatents().pixel_size(*bucket) == pixels


def test_every_bucket_gives_whole_patches():
    for bucket in BUCKETS:
        width, height = PixelLatents().pixel_size(bucket.width, bucket.height)
        assert width % 8 == height % 8 == 0
        assert min(width, height) >= 8
        _, grid = PixelLatents().encode(torch.zeros(1, 3, height, width))
        assert grid == (height // 8, width // 8)


@pytest.mark.parametrize("keep", [None, 64])
def test_exact_inverse(keep):
    code = PixelLatents(keep=keep)
    rgb = torch.rand(2, 3, 16, 24, dtype=torch.float64) * 2 - 1
    tokens, grid = code.encode(rgb)
    assert tokens.shape == (2, 6, 192) and grid == (2, 3)
    assert code.channels == 192
    torch.testing.assert_close(code.decode(tokens, grid), rgb, atol=1e-12, rtol=0)
    torch.testing.assert_close(tokens.norm(), rgb.norm())  # orthonormal


def test_plain_pixels_index():
    rgb = torch.rand(1, 3, 16, 24)
    tokens, _ = PixelLatents().encode(rgb)
    assert tokens[0, 1 * 3 + 2, 2 * 64 + 5 * 8 + 3] == rgb[0, 2, 8 + 5, 16 + 3]


def test_few_components_keep_what_is_smooth():
    code = PixelLatents(keep=6)
    ramp = torch.linspace(-1, 1, 32)
    smooth = (ramp[:, None] * 0.5 + ramp * 0.5).expand(1, 3, 32, 32)
    noise = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for rgb, low, high in ((smooth, 0.0, 0.02), (noise, 0.4, 0.7)):
        tokens, grid = code.encode(rgb)
        assert tokens.shape == (1, 16, 18) and code.channels == 18
        error = (code.decode(tokens, grid) - rgb).square().mean().sqrt()
        assert low <= error <= high
    flat = torch.full((1, 3, 8, 8), 0.25)
    assert code.encode(flat)[0][0, 0, ::6].tolist() == pytest.approx([2.0] * 3)  # the mean, times patch


@pytest.mark.parametrize("bad", [{"keep": 0}, {"keep": 65}, {"patch": 0}, {"scale": 0}])
def test_impossible_codes(bad):
    with pytest.raises(BadInput):
        PixelLatents(**bad)


@pytest.mark.parametrize(
    "rgb", [torch.zeros(1, 3, 8, 12), torch.zeros(1, 4, 8, 8), torch.zeros(1, 3, 8, 8).byte()]
)
def test_images_that_cannot_be_encoded(rgb):
    with pytest.raises(BadInput):
        PixelLatents().encode(rgb)


@pytest.fixture
def vae():
    """A tiny autoencoder of the FLUX.2 kind, as if training left statistics in its batch norm and the layer
    in training mode.
    """
    torch.manual_seed(0)
    vae = AutoencoderKLFlux2(
        block_out_channels=(4, 4),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=3,
        norm_num_groups=2,
        mid_block_add_attention=False,
    )
    vae.bn.running_mean.copy_(torch.randn(12))
    vae.bn.running_var.copy_(torch.rand(12) * 1e-3)  # small enough for eps to matter
    return vae.train()


def test_flux2_tokens_by_hand(vae):
    code = VaeLatents(vae)
    rgb = torch.rand(2, 3, 16, 24) * 2 - 1
    tokens, grid = code.encode(rgb)
    with torch.no_grad():
        latent = vae.encode(rgb).latent_dist.mean
    assert grid == (4, 6) and tokens.shape == (2, 24, 12) and code.channels == 12
    assert tokens.dtype == torch.float32 and not tokens.requires_grad
    for b, row, col, c, p1, p2 in ((0, 0, 0, 0, 0, 0), (1, 3, 5, 2, 1, 0), (0, 2, 1, 1, 0, 1)):
        k = c * 4 + p1 * 2 + p2
        raw = latent[b, c, 2 * row + p1, 2 * col + p2].double()
        want = (raw - vae.bn.running_mean[k].double()) / (vae.bn.running_var[k].double() + 1e-4).sqrt()
        assert tokens[b, row * 6 + col, k].item() == pytest.approx(want.item(), rel=1e-4, abs=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(code.decode(tokens, grid), vae.decode(latent).sample, atol=1e-5, rtol=1e-4)


def test_flux2_never_moves_the_statistics(vae):
    before = vae.bn.running_mean.clone(), vae.bn.running_var.clone()
    code = VaeLatents(vae)
    tokens, grid = code.encode(torch.rand(1, 3, 16, 16))
    again, _ = code.encode(torch.rand(1, 3, 16, 16))
    assert not torch.equal(tokens, again)
    code.decode(tokens, grid)
    assert torch.equal(before[0], vae.bn.running_mean) and torch.equal(before[1], vae.bn.running_var)
    assert not vae.training and not any(p.requires_grad for p in vae.parameters())


def test_flux2_bfloat16_vae_gives_float32_tokens(vae):
    code = VaeLatents(vae.bfloat16())
    tokens, grid = code.encode(torch.rand(1, 3, 16, 16))
    assert tokens.dtype == code.decode(tokens, grid).dtype == torch.float32


def test_flux2_sizes(vae):
    code = VaeLatents(vae)
    assert code.pixel_size(24, 16) == (24, 16)
    with pytest.raises(BadInput, match="divisible by 4"):
        code.encode(torch.zeros(1, 3, 16, 18))


def kl_vae(**config):
    """A tiny autoencoder of the FLUX.1 and Stable Diffusion kind."""
    torch.manual_seed(1)
    return AutoencoderKL(
        block_out_channels=(4, 4), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=2, mid_block_add_attention=False,
        **config,
    )  # fmt: skip


@pytest.mark.parametrize(
    "config",
    [
        {
            "scaling_factor": 0.3611,
            "shift_factor": 0.1159,
            "use_quant_conv": False,
            "use_post_quant_conv": False,
        },
        {
            "scaling_factor": 1.5305,
            "shift_factor": 0.0609,
            "use_quant_conv": False,
            "use_post_quant_conv": False,
        },
        {"scaling_factor": 0.13025},  # SDXL has no shift
    ],
    ids=["flux1", "sd3", "sdxl"],
)
def test_scaled_and_shifted_latents(config):
    vae = kl_vae(**config)
    code = VaeLatents(vae)
    rgb = torch.rand(2, 3, 16, 24) * 2 - 1
    tokens, grid = code.encode(rgb)
    assert grid == (4, 6) == code.grid(24, 16) and tokens.shape == (2, 24, 16) and code.channels == 16
    with torch.no_grad():
        latent = vae.encode(rgb).latent_dist.mean
        want = (latent - config.get("shift_factor", 0.0)) * config["scaling_factor"]
        assert tokens[1, 6 + 2, 3 * 4 + 2].item() == pytest.approx(want[1, 3, 2 + 1, 4].item(), abs=1e-5)
        torch.testing.assert_close(code.decode(tokens, grid), vae.decode(latent).sample, atol=1e-4, rtol=1e-4)


def test_a_mean_and_deviation_for_each_channel():
    mean, std = [0.1, -0.2, 0.3, 0.0], [1.0, 2.0, 0.5, 1.5]
    vae = kl_vae(latents_mean=mean, latents_std=std)
    rgb = torch.rand(1, 3, 16, 16)
    tokens, _ = VaeLatents(vae).encode(rgb)
    latent = vae.encode(rgb).latent_dist.mean
    assert tokens[0, 0, 2 * 4].item() == pytest.approx((latent[0, 2, 0, 0].item() - 0.3) / 0.5, abs=1e-5)


def test_a_folder_loads_back_to_the_same_tokens(vae, tmp_path):
    for name, made in (("flux2", vae), ("kl", kl_vae(scaling_factor=0.36, shift_factor=0.1))):
        made.save_pretrained(tmp_path / name / "vae")
        code = load_vae(tmp_path / name)  # a pipeline's folder, too
        rgb = torch.rand(1, 3, 16, 16)
        assert torch.equal(code.encode(rgb)[0], VaeLatents(made).encode(rgb)[0])
        assert load_vae(tmp_path / name / "vae", weights=code.weights).weights == code.weights
        with pytest.raises(BadInput, match="other weights"):
            load_vae(tmp_path / name, weights="0" * 64)


def test_partial_wrong_and_damaged_folders_are_refused(vae, tmp_path):
    with pytest.raises(BadInput, match=r"no folder with config\.json"):
        load_vae(tmp_path)
    vae.save_pretrained(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    whole = load_file(file)
    save_file({k: v for k, v in whole.items() if k != "bn.running_mean"}, file)
    with pytest.raises(BadInput, match=r"lacks 1 tensors, such as bn\.running_mean"):
        load_vae(tmp_path)
    save_file({**whole, "more": torch.zeros(1)}, file)
    with pytest.raises(BadInput, match="adds 1 tensors, such as more"):
        load_vae(tmp_path)
    save_file({**whole, "bn.running_mean": torch.zeros(3)}, file)
    with pytest.raises(BadInput, match="does not load"):
        load_vae(tmp_path)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(BadInput, match="does not load"):
        load_vae(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "VQModel"}')
    with pytest.raises(BadInput, match="VQModel"):
        load_vae(tmp_path)
