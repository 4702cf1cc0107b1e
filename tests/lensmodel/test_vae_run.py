"""A run on an autoencoder's latents, from pictures to a resumed run and a drawn picture."""

import pytest
import torch
from diffusers import AutoencoderKLFlux2
from PIL import Image

from catalog.console import run_command
from catalog.errors import BadInput
from lensmodel import checkpoint, generate, presets, sheet
from lensmodel.cli import cli
from lensmodel.trainer import Trainer


def tiny_vae(folder, seed):
    """One of the FLUX.2 kind: a 16th of the picture's sides."""
    torch.manual_seed(seed)
    vae = AutoencoderKLFlux2(
        block_out_channels=(4, 4, 4, 4), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=1, latent_channels=2, norm_num_groups=2,
        mid_block_add_attention=False,
    )  # fmt: skip
    vae.save_pretrained(folder)
    return folder


def test_training_resuming_and_drawing_on_a_vae(make_manifest, tiny_overrides, tmp_path):
    manifest = make_manifest(tmp_path / "data", sizes=(("352x704", 6), ("512x512", 6)))
    vae, other = tiny_vae(tmp_path / "vae", 0), tiny_vae(tmp_path / "other", 1)
    more = [*tiny_overrides, "latents=vae", "prediction=velocity", "batch_512=2", "holdout_least=2", "mu=none",
            "sample_mu=none", "schedule=constant"]  # fmt: skip
    run = tmp_path / "run"
    Trainer(manifest, presets.build("mini", [*more, f"vae={vae}", "max_steps=2"]), run, False).run()
    state = checkpoint.read_state(checkpoint.find(run))
    assert state["latents"]["kind"] == "vae" and len(state["latents"]["weights"]) == 64
    with pytest.raises(BadInput, match="latents of another autoencoder"):
        Trainer(manifest, presets.build("mini", [*more, f"vae={other}", "max_steps=3"]), run, True)
    vae.rename(tmp_path / "moved")
    moved = presets.build("mini", [*more, f"vae={tmp_path / 'moved'}", "max_steps=3"])
    assert Trainer(manifest, moved, run, True).run()["step"] == 3

    exam = [
        "evaluate",
        "shapes",
        "--checkpoint",
        str(run),
        "-n",
        "1",
        "--steps",
        "1",
        "--sheet",
        str(run / "a.png"),
    ]
    where = ["--vae", str(tmp_path / "moved"), "--width", "512", "--height", "512"]
    assert run_command(cli, "lensmodel", [*exam, *where]) == 0
    drawn = Image.open(run / "a.png")  # a row a task, one picture in each
    assert drawn.width == sheet.GAP + sheet.MARGIN + sheet.CELL + sheet.GAP and drawn.height > 6 * sheet.CELL

    options = generate.Options(512, 512, steps=2, guidance=1.0)
    (tmp_path / "moved").rename(vae)
    assert run_command(cli, "lensmodel", exam) == 2  # of a run that has it elsewhere
    with pytest.raises(BadInput, match=r"vae=.*moved is no folder"):
        generate.Generator(run, device="cpu")
    with pytest.raises(BadInput, match="other weights"):
        generate.Generator(run, device="cpu", vae=str(other))
    (picture,) = generate.Generator(run, device="cpu", vae=str(vae)).draw(["a red square"], options)
    assert picture.shape == (512, 512, 3) and picture.std() > 0
