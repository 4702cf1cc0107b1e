"""The cost model against a count of the real operations, the paper's figures and simulated steps."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from catalog.errors import BadInput
from lensmodel import build, cost, measure, presets
from lensmodel.cli_plan import plan


def counted(settings, channels, image, text):
    with torch.device("meta"):
        model = build.denoiser(settings, channels).eval()
        features = [torch.empty(1, text, settings.enc_hidden_dim) for _ in settings.encoder_layers]
        inputs = torch.empty(1, image, channels), features, None, torch.empty(1), (1, image)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(*inputs)
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("preset", "channels", "more", "image", "text"),
    [("lens-3.8b", 128, [], 1024, 160), ("lens-toy-1.2b", 128, [], 400, 77),
     ("mini", 192, ["absolute_positions=false"], 16, 33)],
)  # fmt: skip
def test_forward_flops_are_those_that_are_run(preset, channels, more, image, text):
    settings = presets.build(preset, more)
    shape = cost.Shape.of(settings, channels)
    assert shape.forward(image, text) == pytest.approx(counted(settings, channels, image, text), rel=1e-3)


def test_the_papers_figures():
    shape = cost.Shape.of(presets.build("pretrain-mixed"), 128)
    each = {base: shape.training(cost.tokens_of_base(base)) / 1e12 for base in (512, 768, 1024)}
    assert each == pytest.approx({512: 10.9, 768: 25.5, 1024: 50.7}, abs=0.05)
    assert shape.sampling(4096) / 1e12 == pytest.approx(676, abs=1)
    found = json.loads(CliRunner().invoke(plan, ["--json"]).stdout)
    assert found["parameters"] == 4_104_225_152
    assert found["recipe"]["total"] == pytest.approx(24_400, rel=0.005)
    assert found["recipe"]["paper_utilisation"] == pytest.approx(0.13, abs=0.005)
    assert [round(row["batch_flops"] / 1e12) for row in found["bases"].values()] == pytest.approx(
        [261, 255, 304], abs=1
    )
    assert 0.14 < found["waiting"]["768"] < 0.20 and found["waiting"]["1024"] == 0
    assert found["feature_bytes"] == pytest.approx(3.7e6, rel=0.01)
    assert found["balanced_batches"] == {"512": 24, "768": 10, "1024": 5}
    assert found["lost_when_balanced"] < 0.02 < 0.1 < found["lost_to_stragglers"]
    roomier = json.loads(CliRunner().invoke(plan, ["--json", "batch_512=28", "batch_768=12"]).stdout)
    assert roomier["balanced_batches"] == {"512": 28, "768": 12, "1024": 6}
    assert roomier["lost_when_balanced"] < 0.005


@given(
    st.lists(
        st.tuples(st.floats(1e-3, 1e3), st.integers(1, 200), st.integers(1, 5000)), min_size=1, max_size=3
    )
)
def test_balanced_batches_hold_no_more_tokens_and_last_no_longer(bases):
    seconds, batch, tokens = ({n: base[k] for n, base in enumerate(bases)} for k in range(3))
    sizes = cost.balanced(seconds, batch, tokens)
    most = max(batch[n] * tokens[n] for n in batch)
    longest = max(batch[n] * seconds[n] for n in batch)
    for n, size in sizes.items():
        assert size >= 1 and size * tokens[n] <= most
        assert size == 1 or (size - 0.5) * seconds[n] <= longest * 1.001
    if len(bases) == 1:
        assert sizes == batch


def test_waiting_for_the_slowest_as_a_simulation_finds_it():
    seconds, shares = {512: 1.0, 768: 2.0, 1024: 4.0}, {512: 0.5, 768: 0.3, 1024: 0.2}
    drawn = np.random.default_rng(0).choice(
        list(seconds.values()), p=list(shares.values()), size=(200_000, 5)
    )
    expected = 1 - drawn.mean() / drawn.max(axis=1).mean()
    assert cost.loss_to_stragglers(seconds, 5, shares) == pytest.approx(expected, abs=2e-3)
    assert cost.loss_to_stragglers(seconds, 1, shares) == pytest.approx(0)


def test_sharding_and_checkpointing_shrink_what_they_should():
    shape = cost.Shape.of(presets.build("lens-3.8b"), 128)
    alone = cost.memory(shape, 4_104_225_152, 4096, 6, 1, recompute=False)
    both = cost.memory(shape, 4_104_225_152, 4096, 6, 64, recompute=True)
    assert alone.optimiser == 8 * 4_104_225_152 == 64 * both.optimiser
    assert both.activations < alone.activations / 8 and both.total < 40e9 < alone.total


@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # torch says it when oneDNN is switched off
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("recompute", [False, True])
def test_activations_are_what_autograd_keeps(precision, recompute):
    """At width 256: what each block more and each sample more adds to what a forward pass keeps, off the CPU's code."""

    def kept(layers, batch, own=False):
        small = [
            "num_attention_heads=4",
            "enc_hidden_dim=32",
            f"num_layers={layers}",
            f"precision={precision}",
        ]
        settings = presets.build("lens-3.8b", [*small, f"gradient_checkpointing={recompute}"])
        with torch.backends.mkldnn.flags(enabled=own):
            return settings, measure.kept_for_backward(settings, 128, batch, (8, 8), 16)

    each = ((kept(4, 3)[1] - kept(4, 1)[1]) - (kept(2, 3)[1] - kept(2, 1)[1])) / 4  # of a block and sample
    two, four = (
        cost.memory(
            cost.Shape.of(kept(n, 1)[0], 128), 1, 64, 1, 1, recompute, 16, precision == "bf16"
        ).activations
        for n in (2, 4)
    )
    print(f"{precision}, recompute={recompute}: {each / 80 / 256:.1f} bytes a token, block and unit of width")
    assert each == pytest.approx((four - two) / 2, rel=0.25)
    assert recompute or kept(2, 1, own=True)[1] < kept(2, 1)[1]


def test_the_command_prints_a_table_and_refuses_what_it_does_not_know():
    told = CliRunner().invoke(plan, ["--gpu", "h100", "--gpus", "8", "batch_1024=12"])
    assert told.exit_code == 0 and "4,104,225,152 parameters" in told.stdout and "8 x h100" in told.stdout
    with pytest.raises(BadInput, match="there is no GPU 'h101'; there are a100"):
        CliRunner().invoke(plan, ["--gpu", "h101"], catch_exceptions=False)


def test_batches_are_timed_on_this_device():
    small = ["num_layers=1", "num_attention_heads=2", "attention_head_dim=16", "axes_dims_rope=4,6,6"]
    run = ["--preset", "mini", "--measure", "--json", "--text-tokens", "8", "batch_1024=2", *small]
    found = json.loads(CliRunner().invoke(plan, run).stdout)
    assert all(row["measured_seconds"] > 0 for row in found["bases"].values()) and found["measured"]


def test_a_small_model_has_numbers_above_zero_and_nothing_of_the_papers():
    told = CliRunner().invoke(plan, ["--preset", "miniature"]).stdout
    assert "64 text tokens a caption" in told and "GPT-OSS" not in told and "192K" not in told
    assert " 0.00 " not in told and " 0 hours" not in told and "0 TFLOP" not in told
    asked = json.loads(
        CliRunner().invoke(plan, ["--preset", "miniature", "--json", "--text-tokens", "7"]).stdout
    )
    assert asked["text_tokens"] == 7 and asked["bases"]["512"]["forward_flops"] < 3e8
    with pytest.raises(BadInput, match="--mfu nan"):
        CliRunner().invoke(plan, ["--mfu", "nan"], catch_exceptions=False)


def test_the_hidden_matrices_are_those_that_muon_takes():
    from lensmodel import build, presets
    from lensmodel.optim import hidden_matrices

    settings = presets.build("miniature")
    model = build.denoiser(settings, channels=48)
    shape = cost.Shape.of(settings, 48)
    assert shape.hidden_matrices == sum(p.numel() for p in hidden_matrices(model))
