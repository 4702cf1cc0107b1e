"""Muon beside AdamW: each part does what torch's own does, and the state survives being saved."""

from __future__ import annotations

import copy

import pytest
import torch

from lensmodel import presets
from lensmodel.methods.pretrain import Pretrain
from lensmodel.nn import LensTransformer
from lensmodel.optim import MuonAdamW, hidden_matrices, moments_of, set_rate


def tiny() -> LensTransformer:
    torch.manual_seed(0)
    return LensTransformer(
        patch_size=1, in_channels=12, out_channels=12, num_layers=2, num_attention_heads=2, attention_head_dim=16,
        axes_dims_rope=(4, 6, 6), enc_hidden_dim=24, multi_layer_encoder_feature=False, selected_layer_index=(0,),
    )  # fmt: skip


def with_gradients(model: LensTransformer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=generator)


def method(*overrides: str) -> Pretrain:
    return Pretrain(presets.build("mini", ["optimizer=muon", "lr=0.01", *overrides]))


def test_only_attention_and_mlp_matrices_inside_the_blocks_are_muons():
    model = tiny()
    chosen = {id(p) for p in hidden_matrices(model)}
    names = {name for name, p in model.named_parameters() if id(p) in chosen}
    kinds = {name.split(".", 2)[2] for name in names}
    streams = {f"{s}_mlp.{w}.weight" for s in ("img", "txt") for w in ("w1", "w2", "w3")}
    attention = {f"attn.{n}.weight" for n in ("img_qkv", "txt_qkv", "to_out.0", "to_add_out")}
    assert kinds == streams | attention
    assert len(names) == 2 * len(kinds)


def test_each_part_steps_as_torchs_own_optimiser_does():
    model, steps = tiny(), 3
    twin = copy.deepcopy(model)
    optimizer = method("muon_times=5", "weight_decay=0.1").optimizer(model)
    hidden = hidden_matrices(twin)
    mine = {id(p) for p in hidden}
    rest = [p for p in twin.parameters() if id(p) not in mine]
    muon = torch.optim.Muon(hidden, lr=0.05, weight_decay=0.02, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(
        [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": 0.1},
            {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=0.01, betas=(0.9, 0.99),
    )  # fmt: skip
    for step in range(steps):
        with_gradients(model, step)
        with_gradients(twin, step)
        set_rate(optimizer, 0.01)
        optimizer.step()
        muon.step()
        adamw.step()
    for (name, ours), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7, msg=name)


def test_a_saved_state_goes_on_to_the_same_weights():
    whole, first = tiny(), tiny()
    one, two = method().optimizer(whole), method().optimizer(first)
    for step in range(2):
        for model, optimizer in ((whole, one), (first, two)):
            with_gradients(model, step)
            optimizer.step()
    again = method().optimizer(first)
    again.load_state_dict(copy.deepcopy(two.state_dict()))
    with_gradients(whole, 9)
    one.step()
    with_gradients(first, 9)
    again.step()
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), first.parameters(), strict=True))


def test_moments_are_named_as_they_are_kept():
    model = tiny()
    optimizer = method().optimizer(model)
    with_gradients(model, 0)
    optimizer.step()
    kept = optimizer.state_dict()["state"]
    assert [tuple(sorted(kept[n])) for n in sorted(kept)] == [
        tuple(sorted(names)) for names in moments_of(optimizer)
    ]


def test_a_closure_is_refused():
    model = tiny()
    optimizer = method().optimizer(model)
    assert isinstance(optimizer, MuonAdamW)
    with pytest.raises(ValueError, match="closure"):
        optimizer.step(lambda: 0.0)
