"""The held-out loss: in chunks no larger than a training batch, whatever their size."""

import dataclasses

import pytest

from lensmodel import presets
from lensmodel.trainer import Trainer
from lensmodel.validation import validate


def test_chunks_change_nothing_but_the_size_of_a_forward_pass(tiny, tiny_overrides, tmp_path):
    trainer = Trainer(tiny, presets.build("mini", tiny_overrides), tmp_path / "run", False)
    sets, sizes, losses = trainer.data.held_out_sets(), [], []
    trainer.parallel.ema.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    for size in (1, 99):
        settings = dataclasses.replace(trainer.settings, batch_512=size, batch_768=size)
        losses.append(
            validate(trainer.parallel.ema, sets, trainer.data.latents.encode, settings, trainer.ranks.device)
        )
        assert (max(sizes) == 1) == (size == 1)
    assert losses[0].total == pytest.approx(losses[1].total, rel=1e-5)
    assert losses[0].by_bucket == pytest.approx(losses[1].by_bucket, rel=1e-5)


def test_the_optimiser_is_the_fused_one(tiny, tiny_overrides, tmp_path):
    trainer = Trainer(tiny, presets.build("mini", tiny_overrides), tmp_path / "run", False)
    assert trainer.optimizer.defaults["fused"] is True
