"""One model on many ranks: a whole copy on each (DDP) or a shard on each (FSDP2), behind the same few operations.

Losses are divided by the weight of the whole step, summed over the ranks, before they are differentiated. Both
wrappers average gradients over the ranks, so losses are also multiplied by their number: the result is the gradient of
the step's mean, whatever bucket each rank drew.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from lensmodel import lora
from lensmodel.distributed import Ranks


class Parallel:
    """`model` and its moving average `ema` on `ranks`. `model` stays the module whose parameters an optimiser takes;
    `forward` is what a loss must call.

    With `sharded` (and more than one rank) both are FSDP2 modules of float32 shards; `bf16` gathers the blocks' weights
    as bfloat16 and reduces gradients as float32. Weights that do not train (LoRA) are neither averaged nor saved, and
    without shards both modules hold the same ones. `compiled` compiles each block, which are all alike, once.
    """

    def __init__(
        self, model: Any, ema: Any, ranks: Ranks, sharded: bool, bf16: bool, compiled: bool = False
    ) -> None:
        self.ranks, self.sharded = ranks, sharded and ranks.world > 1
        self.model, self.ema = model.train(), ema.eval()
        self.trained = [name for name, p in model.named_parameters() if p.requires_grad]
        ema.requires_grad_(False)
        if not self.sharded:  # FSDP2 moves block by block: a device need not hold the whole
            for module in (model, ema):
                torch.nn.Module.to(module, ranks.device)
        if compiled:
            for block in self.model.transformer_blocks:
                block.compile()
        self.forward: Any = self.model
        if self.sharded:
            _shard(self.model, self.ema, ranks, bf16)
        elif ranks.world > 1:
            ignored = self.model.unused_parameters()
            DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(self.model, ignored)
            on = [ranks.device.index] if ranks.device.type == "cuda" else None
            self.forward = DistributedDataParallel(self.model, device_ids=on, broadcast_buffers=False)
        mine, average = dict(self.model.named_parameters()), dict(self.ema.named_parameters())
        self._pairs = [(mine[name], average[name]) for name in self.trained]

    @contextmanager
    def micro_batch(self, last: bool) -> Iterator[None]:
        """Around forward and backward of one of a step's batches; gradients of copies meet after the last one.

        Shards reduce after each batch: gradients of the whole model would not fit beside it.
        """
        ddp = isinstance(self.forward, DistributedDataParallel)
        with self.forward.no_sync() if ddp and not last else nullcontext():
            yield

    def clip(self, most: float) -> float:
        """Scale all gradients to a norm of `most` at most; the norm they had, equal on every rank."""
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), most)
        return float(whole(norm).item())

    def average(self, decay: float) -> None:
        """ema <- decay * ema + (1 - decay) * model, shard by shard."""
        mine, average = zip(*((local(p), local(e)) for p, e in self._pairs), strict=True)
        torch._foreach_lerp_(average, mine, 1 - decay)

    def finite(self) -> bool:
        """Whether every weight is, on every rank."""
        bad = not all(bool(local(p).isfinite().all()) for p, _ in self._pairs)
        return self.ranks.sum([float(bad)])[0] == 0

    def snapshot(self) -> dict[str, Any]:
        """The whole model and average (or their adapters) as they are now: copies on the CPU with a
        `save_pretrained`, on rank 0; elsewhere nothing.

        Every rank must call it.
        """
        found = {}
        for name, module in (("model", self.model), ("ema", self.ema)):
            config, state = lora.configuration(module), module.state_dict()
            kept = state if config is None else self.trained
            state = {key: self._mine(state[key]) for key in kept}
            if self.ranks.main and config:
                found[name] = lora.taken(state, config)
            elif self.ranks.main:
                with torch.device("meta"):
                    plain = _plain_class(module)(**_config(module))
                plain.load_state_dict(state, assign=True)
                found[name] = plain
        return found

    def moments(self, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
        """The optimiser's state by "number.name", whole and on the CPU, on rank 0. Every rank must call it."""
        entries = {
            f"{number}.{name}": self._mine(value)
            for number, values in optimizer.state_dict()["state"].items()
            for name, value in values.items()
        }
        return {key: value for key, value in entries.items() if value is not None}

    def _mine(self, value: torch.Tensor) -> torch.Tensor | None:
        """A copy of the whole tensor on rank 0. Gathering is every rank's work."""
        full = whole(value.detach())
        if not self.ranks.main:
            return None
        return full.cpu().clone() if full.device.type == "cpu" else full.cpu()


def whole(value: torch.Tensor) -> torch.Tensor:
    """The tensor that `value` is a shard of, or itself."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def local(value: torch.Tensor) -> torch.Tensor:
    """This rank's shard of `value`, without gradient."""
    value = value.detach()
    return value.to_local() if isinstance(value, DTensor) else value


def shard_like(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """`value`, the same on every rank, sharded as `parameter` is."""
    value = value.to(parameter.device)
    if not isinstance(parameter, DTensor) or value.ndim == 0:
        return value
    return distribute_tensor(value, parameter.device_mesh, parameter.placements)


def _shard(model: Any, ema: Any, ranks: Ranks, bf16: bool) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(ranks.device.type, (ranks.world,))
    # Only blocks compute in bfloat16: the residual stream takes the dtype of the root's weights and stays float32. The
    # average computes in float32 throughout, as validation does without shards.
    full = MixedPrecisionPolicy(cast_forward_inputs=False)
    low = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if bf16 else None, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    # In turn, so that the device lets go of each block: with LoRA both hold the same weights until they are shards.
    for block, average in zip(model.transformer_blocks, ema.transformer_blocks, strict=True):
        fully_shard(block, mesh=mesh, mp_policy=low)
        fully_shard(average, mesh=mesh, mp_policy=full)
    # By default the root stays whole until a backward pass, which the average never sees.
    for module in (model, ema):
        fully_shard(module, mesh=mesh, mp_policy=full, reshard_after_forward=True)


def _plain_class(module: Any) -> Any:
    """The class of `module` before FSDP2 put its own in front."""
    from torch.distributed.fsdp import FSDPModule

    return next(c for c in type(module).__mro__ if not issubclass(c, FSDPModule))


def _config(module: Any) -> dict[str, Any]:
    return {key: value for key, value in module.config.items() if not key.startswith("_")}
