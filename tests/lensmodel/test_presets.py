"""Settings: typed overrides, and one line that helps for every mistake."""

import pytest

from catalog.errors import BadInput
from lensmodel import presets, settings


def test_overrides_have_types():
    s = presets.build(
        "mini", ["max_steps=2_000", "lr=3e-4", "encoder_layers=1,2", "mu=none", "absolute_positions=false"]
    )
    assert (s.max_steps, s.lr, s.encoder_layers, s.mu, s.absolute_positions) == (
        2000,
        3e-4,
        (1, 2),
        None,
        False,
    )
    assert presets.build("mini", ["mu=0.7"]).mu == 0.7
    assert settings.from_plain(settings.plain(s)) == s


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("max_step=5", "no setting 'max_step'; did you mean 'max_steps'"),
        ("learning_rate=5", "did you mean"),
        ("preset=mini", "no setting 'preset'"),
        ("max_steps", "write key=value"),
        ("max_steps=many", "max_steps takes a whole number"),
        ("max_steps=1.5", "max_steps takes a whole number"),
        ("max_steps=0", "must be above 0"),
        ("lr=nan", "lr takes a number"),
        ("lr=-1", "must be above 0"),
        ("caption_dropout=1.5", "at least 0 and below 1"),
        ("absolute_positions=perhaps", "true or false"),
        ("encoder_layers=a,b", "whole numbers like"),
        ("prediction=noise", "one of velocity, x0"),
        ("axes_dims_rope=4,4,4", "add up to attention_head_dim"),
        ("axes_dims_rope=-4,18,18", "three positive even"),
        ("axes_dims_rope=0,0,32", "three positive even"),
        ("axes_dims_rope=16,16", "three positive even"),
        ("seed=100000000000000000000000", "seed must be at most"),
        ("max_steps=100000000000000000000000", "max_steps must be at most"),
        ("seed=-1", "must not be below 0"),
        ("weight_decay=-5000", "must not be below 0"),
        ("holdout_least=-1", "must not be below 0"),
        ("cache_mb=-1", "must not be below 0"),
        ("max_minutes=-1", "must not be below 0"),
        ("warmup_steps=-5", "must not be below 0"),
        ("mu=1000", r"must lie within \+-10"),
        ("sample_mu=-11", r"must lie within \+-10"),
        ("encoder_layers=3,1", "encoder_layers must ascend from 0"),
        ("encoder_layers=-1,3", "encoder_layers must ascend from 0"),
        ("vae=somewhere", "means nothing with latents=pixel"),
    ],
)
def test_a_wrong_override_is_named(override, message):
    with pytest.raises(BadInput, match=message):
        presets.build("mini", [override])


def test_an_unknown_preset_lists_the_known_nearest_first():
    with pytest.raises(BadInput, match=r"no preset 'minni'; there are mini, "):
        presets.build("minni")


@pytest.mark.parametrize("name", ["lens-3.8b", "lens-toy-1.2b", "pretrain-512", "pretrain-mixed"])
def test_presets_that_need_weights_say_which(name):
    with pytest.raises(BadInput, match=r"vae=PATH .* encoder=PATH"):
        presets.require_parts(presets.build(name))


@pytest.mark.parametrize(("name", "billions"), [("lens-3.8b", 4.104), ("lens-toy-1.2b", 1.199)])
def test_the_paper_presets_have_the_papers_sizes(name, billions):
    import torch

    from lensmodel import build

    with torch.device("meta"):
        model = build.denoiser(presets.build(name), 128)
    assert sum(p.numel() for p in model.parameters()) / 1e9 == pytest.approx(billions, abs=5e-4)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sample_prompts=file"], "sample_prompts are drawn every sample_every= steps; set that, too"),
        (["optimizer=adamw"], "muon_times means nothing with optimizer=adamw; set muon_times=1"),
        (["latents=vae"], "pixel_keep means nothing with latents=vae; set pixel_keep=none"),
    ],
)
def test_what_a_preset_gave_is_told_how_to_unset(overrides, message):
    with pytest.raises(BadInput, match=message):
        presets.build("miniature", overrides)
    assert presets.build("miniature", ["sample_prompts=file", "sample_every=5"]).sample_prompts == "file"


def test_a_gpu_that_emulates_bfloat16_gets_float32(monkeypatch):
    import torch

    from lensmodel import distributed

    monkeypatch.setattr(distributed, "device", lambda name: torch.device("cuda"))
    for native, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, n=native: n)
        assert presets.settled(presets.build("mini")).precision == precision


def test_a_setting_that_an_older_checkpoint_does_not_know_had_its_default():
    mine = settings.plain(presets.build("mini"))
    older = {k: v for k, v in mine.items() if k != "accumulate"}
    assert settings.differences(mine, older) == []
    assert settings.differences({**mine, "accumulate": 2}, older) == ["accumulate was 1 and is 2"]


def test_what_is_measured_may_not_change_on_the_way():
    mine = settings.plain(presets.build("mini"))
    assert settings.differences(mine, {**mine, "validation_samples": 3}) == [
        "validation_samples was 3 and is 64"
    ]


def test_defaults_that_the_model_has_too_are_the_same():
    import inspect

    from lensmodel.nn import LensTransformer

    theirs = inspect.signature(LensTransformer.__init__).parameters
    ours = settings.Settings()
    for name in ("gate_init", "prediction", "absolute_positions", "num_layers", "num_attention_heads",
                 "attention_head_dim", "axes_dims_rope", "enc_hidden_dim"):  # fmt: skip
        assert getattr(ours, name) == theirs[name].default, name
