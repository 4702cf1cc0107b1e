"""The held-out loss: in chunks no larger than a training batch, whatever their size."""

import dataclasses

import pytest

from lensmodel import presets
from lensmodel.distributed import Ranks
from lensmodel.trainer import Trainer
from lensmodel.validation import validate


def test_chunks_change_nothing_but_the_size_of_a_forward_pass(tiny, tiny_overrides, tmp_path):
    trainer = Trainer(tiny, presets.build("mini", tiny_overrides), tmp_path / "run", False)
    sets, sizes, losses = trainer.data.held_out_sets(), [], []
    trainer.parallel.ema.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    for size in (1, 99):
        settings = dataclasses.replace(trainer.settings, batch_512=size, batch_768=size)
        losses.append(
            validate(trainer.parallel.ema, sets, trainer.data.latents.encode, settings, trainer.ranks)
        )
        assert (max(sizes) == 1) == (size == 1)
    assert losses[0].total == pytest.approx(losses[1].total, rel=1e-5)
    assert losses[0].by_bucket == pytest.approx(losses[1].by_bucket, rel=1e-5)


@pytest.mark.parametrize("alike", [False, True])
def test_ranks_share_the_batches_and_find_the_loss_of_one(tiny, tiny_overrides, tmp_path, alike, monkeypatch):
    """Each of three ranks by itself: what they would sum is bit for bit what one rank has."""
    trainer = Trainer(
        tiny, presets.build("mini", [*tiny_overrides, "batch_512=2", "batch_768=2"]), tmp_path / "run", False
    )
    sets, passes, sums = trainer.data.held_out_sets(), [], []
    trainer.parallel.ema.register_forward_pre_hook(lambda module, args: passes.append(len(args[0])))
    monkeypatch.setattr(Ranks, "sum", lambda self, values: sums.append(values) or sums[0])
    encode, counts = trainer.data.latents.encode, []
    for rank, world in ((0, 1), (0, 3), (1, 3), (2, 3)):
        validate(
            trainer.parallel.ema,
            sets,
            encode,
            trainer.settings,
            Ranks(rank, world, trainer.ranks.device),
            alike,
        )
        counts.append(len(passes))
        passes.clear()
    assert [sum(parts) for parts in zip(*sums[1:], strict=True)] == sums[0]
    assert len(set(counts[1:])) == 1 if alike else sum(counts[1:]) == counts[0]


def test_the_optimiser_is_the_fused_one(tiny, tiny_overrides, tmp_path):
    trainer = Trainer(tiny, presets.build("mini", tiny_overrides), tmp_path / "run", False)
    assert trainer.optimizer.defaults["fused"] is True
