"""One trainer for every method. A step reads: fetch, backward, clip, check finite, update, log."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from catalog.console import say
from catalog.errors import BadInput, LensError
from catalog.manifest import Manifest
from lensmodel import build, checkpoint, distributed, nn, presets
from lensmodel.data.loader import LoadedBatch, Loader
from lensmodel.data.plan import Segment, position_of, resume_segments
from lensmodel.methods.pretrain import Pretrain
from lensmodel.presets import Settings
from lensmodel.rundata import RunData
from lensmodel.runlog import Meter, RunLog, short_time
from lensmodel.signals import StopOnSignal
from lensmodel.validation import HeldOut, Losses, validate

SKIPS_IN_A_ROW = 50


class Trainer:
    """One run. `Trainer(manifest, settings, out, resume).run()` trains to max_steps and returns a summary.

    Raises BadInput for a run folder in use, data or settings that differ from the checkpoint's, missing
    weights.
    """

    def __init__(self, manifest: Manifest, settings: Settings, out: Path, resume: bool) -> None:
        presets.require_parts(settings)
        self.manifest, self.settings, self.out = manifest, settings, out
        found = checkpoint.numbered(out)
        self.state: dict[str, Any] | None = None
        if found and not resume:
            raise BadInput(
                f"{out} holds a run already (step {found[-1][0]}); go on with --resume or take another --out"
            )
        if found:
            self.state = checkpoint.read_state(found[-1][1])
            self._refuse_other_run(self.state, found[-1][1])
        self.ranks = distributed.start(settings.device)
        if self.ranks.main:
            try:
                out.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                raise BadInput(f"--out {out} is a file; name a folder") from None
            checkpoint.sweep(out)
            if not found:
                (out / "log.jsonl").unlink(missing_ok=True)
        self.ranks.barrier()
        self.log = RunLog(out / "log.jsonl", self.ranks.main)
        self.start_from = found[-1][1] if found else None
        self.data = RunData(manifest, settings, out, self.ranks, self.log)
        if self.state and self.state["encoder"]["weights"] != self.data.encoder.weights:
            raise BadInput(
                f"{self.start_from} was trained with another encoder than {settings.encoder}; give that one"
            )
        self.data.encode()
        self._model()

    def _refuse_other_run(self, state: dict[str, Any], where: Path) -> None:
        if state["manifest"]["fingerprint"] != self.manifest.fingerprint:
            raise BadInput(
                f"{where} was trained on the manifest {state['manifest']['name']} "
                f"({state['manifest']['fingerprint'][:12]}), not on {self.manifest.name} "
                f"({self.manifest.fingerprint[:12]}); resume with the same data or take another --out"
            )
        differs = presets.differences(presets.plain(self.settings), state["settings"])
        if differs:
            raise BadInput(f"{where} is of another configuration: {'; '.join(differs)}")

    def _model(self) -> None:
        s, device = self.settings, self.ranks.device
        self.method = Pretrain(s)
        if self.start_from is None:
            self.model = build.denoiser(s, self.data.latents.channels)
            self.ema = copy.deepcopy(self.model)
        else:
            self.model = nn.load(self.start_from / "model")
            self.ema = nn.load(self.start_from / "ema")
        torch.nn.Module.to(self.model, device).train()
        torch.nn.Module.to(self.ema, device).eval().requires_grad_(False)
        self.optimizer = self.method.optimizer(self.model)
        width = self.ranks.world * s.accumulate
        old = [Segment(**x) for x in self.state["segments"]] if self.state else []
        self.step = self.state["step"] if self.state else 0
        self.skipped = self.state["skipped"] if self.state else 0
        self.seconds = self.state["train_seconds"] if self.state else 0.0
        self.first_loss = self.state["first_validation"] if self.state else None
        self.segments = resume_segments(old, self.step, width)
        if self.start_from is not None:
            checkpoint.load_optimizer(self.start_from, self.optimizer)
        count = sum(p.numel() for p in self.model.parameters())
        self.log.event(
            "start" if self.start_from is None else "resume",
            f"model: {count / 1e6:.2f}M parameters on {device} x {self.ranks.world}, {s.precision}; "
            + (f"resuming {self.start_from}" if self.start_from else f"steps 0 to {s.max_steps}"),
            step=self.step,
            parameters=count,
            world=self.ranks.world,
            settings=presets.plain(s),
        )

    def train_step(self, batches: list[LoadedBatch]) -> tuple[float, float, bool, int, int]:
        """One optimiser step. Returns (loss, gradient norm, whether it was skipped, images, tokens), over all
        ranks.

        A step whose loss or gradient is not finite leaves weights, moments and EMA untouched.
        """
        s, device, (position, width) = self.settings, self.ranks.device, position_of(self.segments, self.step)
        everyone = [self.data.plan.batch(position + i) for i in range(width)]
        images = sum(len(b.rows) for b in everyone)
        tokens = sum(len(b.rows) * self.data.tokens_of(b.bucket) for b in everyone)
        for group in self.optimizer.param_groups:
            group["lr"] = self.method.learning_rate(self.step)
        total = 0.0
        for batch in batches:
            x0, grid = self.data.latents.encode(torch.from_numpy(batch.pixels).to(device))
            with torch.autocast(device.type, torch.bfloat16, enabled=s.precision == "bf16"):
                loss = self.method.loss(self.model, x0, self.data.texts(batch.captions), grid, batch.number)
            (loss / tokens).backward()
            total += loss.item()
        self.ranks.sum_gradients(self.model.parameters())
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), s.clip).item()
        (total,) = self.ranks.sum([total])
        skip = not (math.isfinite(norm) and math.isfinite(total))
        if not skip:
            self.optimizer.step()
            decay = min(s.ema, (1 + self.step) / (10 + self.step))
            mine = [p.detach() for p in self.model.parameters()]
            torch._foreach_lerp_(list(self.ema.parameters()), mine, 1 - decay)
        self.optimizer.zero_grad(set_to_none=True)
        return total / tokens, norm, skip, images, tokens

    def run(self) -> dict[str, Any]:
        """Train from where the run stands to max_steps (or max_minutes)."""
        s, start, meter, skips = self.settings, time.monotonic(), Meter(), 0
        sets = self.data.held_out_sets()
        loss = self._validate(sets) if self.first_loss is None else None
        self.first_loss = self.first_loss if loss is None else loss.total
        stopped = StopOnSignal()
        position, _ = position_of(self.segments, self.step)
        with (
            stopped,
            Loader(
                self.data.plan, self.data.pictures, self.data.captions, position=position,
                rank=self.ranks.rank, world=self.ranks.world, workers=s.workers, prefetch=max(s.prefetch, s.accumulate),
            ) as loader,
        ):  # fmt: skip
            stream = iter(loader)
            meter.reset()
            began, before = time.monotonic(), self.seconds
            while self.step < s.max_steps:
                batches = [next(stream) for _ in range(s.accumulate)]
                value, norm, skip, images, tokens = self.train_step(batches)
                self.step += 1
                self.seconds = before + time.monotonic() - began
                meter.add(value, images, tokens, skip)
                self.skipped += skip
                skips = skips + 1 if skip else 0
                if skips >= SKIPS_IN_A_ROW:
                    raise LensError(
                        f"{skips} steps in a row, up to {self.step}, had a loss or gradient not finite"
                    )
                out_of_time = 0 < s.max_minutes * 60 <= time.monotonic() - start
                end = any(self.ranks.sum([float(stopped.asked or out_of_time)])) or self.step == s.max_steps
                if self.step % s.log_every == 0 or end:
                    self._log_step(meter, loader, norm)
                    meter.reset()
                if self.step % s.validate_every == 0 or (end and not stopped.asked):
                    loss = self._validate(sets)
                if self.step % s.checkpoint_every == 0 or end:
                    self._save()
                if end:
                    break
        if stopped.asked:
            say(f"stopped at step {self.step}; go on with --resume")
            raise KeyboardInterrupt
        return self._finish(loss)

    def _log_step(self, meter: Meter, loader: Loader, norm: float) -> None:
        numbers = meter.numbers(loader.waited, int(self.settings.max_steps - self.step))
        loader.waited = 0.0
        lr = self.method.learning_rate(self.step - 1)
        slow = "  (the loader is the bottleneck: raise workers=)" if numbers["data_wait"] > 0.3 else ""
        skipped = f"  skipped {self.skipped}" if self.skipped else ""
        self.log.event(
            "step",
            f"step {self.step}/{self.settings.max_steps}  loss {numbers['loss']:.4f}  "
            f"grad {norm:.3f}  lr {lr:.2e}  "
            f"{numbers['images_per_second']:.0f} img/s  data wait {numbers['data_wait']:.0%}  "
            f"ETA {short_time(numbers['eta_seconds'])}{skipped}{slow}",
            step=self.step,
            grad_norm=norm,
            lr=lr,
            epoch=round(self.data.plan.epochs(position_of(self.segments, self.step)[0]), 4),
            skipped=self.skipped,
            seconds=round(self.seconds, 3),
            **numbers,
        )

    def _validate(self, sets: list[HeldOut]) -> Losses | None:
        if not sets:
            return None
        start = time.monotonic()
        losses = validate(self.ema, sets, self.data.latents.encode, self.settings, self.ranks.device)
        first = "" if self.first_loss is None else f" (at the start {self.first_loss:.4f})"
        parts = "  ".join(f"{base}: {value:.4f}" for base, value in losses.by_base.items())
        self.log.event(
            "validation",
            f"step {self.step}  held-out flow loss {losses.total:.4f}{first}  {parts}",
            step=self.step,
            loss=losses.total,
            by_base=losses.by_base,
            by_bucket=losses.by_bucket,
            by_time=losses.by_time,
            seconds=round(time.monotonic() - start, 3),
        )
        return losses

    def _save(self) -> None:
        if self.ranks.main:
            buckets = Counter(
                {
                    name: count * self.data.plan.batch_size[name]
                    for name, count in self.data.plan.batches_of.items()
                }
            )
            state = {
                "position": position_of(self.segments, self.step)[0],
                "segments": [dataclasses.asdict(s) for s in self.segments],
                "skipped": self.skipped,
                "train_seconds": self.seconds,
                "first_validation": self.first_loss,
                "settings": presets.plain(self.settings),
                "encoder": dataclasses.asdict(self.data.encoder),
                "latents": {"kind": self.settings.latents, "keep": self.settings.pixel_keep},
                "main_bucket": buckets.most_common(1)[0][0],
                "manifest": {
                    "name": self.manifest.name,
                    "fingerprint": self.manifest.fingerprint,
                    "samples": len(self.manifest.samples),
                },
            }
            models = {"model": self.model, "ema": self.ema}
            start = time.monotonic()
            path = checkpoint.save_checkpoint(
                self.out, self.step, models, self.optimizer, state, self.settings.keep_checkpoints
            )
            self.log.event(
                "checkpoint", f"saved {path}", step=self.step, seconds=round(time.monotonic() - start, 3)
            )
        self.ranks.barrier()

    def _finish(self, loss: Losses | None) -> dict[str, Any]:
        last = checkpoint.numbered(self.out)[-1][1]
        fell = (
            ""
            if loss is None or self.first_loss is None
            else f"held-out flow loss {self.first_loss:.4f} -> {loss.total:.4f}; "
        )
        self.log.event(
            "done",
            f"done: step {self.step}, {short_time(self.seconds)} of training; {fell}"
            + (f"{self.skipped} steps skipped; " if self.skipped else "")
            + f"checkpoint {last}",
            step=self.step,
            first_validation=self.first_loss,
            last_validation=loss.total if loss else None,
            train_seconds=round(self.seconds, 2),
        )
        return {
            "checkpoint": str(last),
            "step": self.step,
            "train_seconds": round(self.seconds, 2),
            "encode_seconds": round(self.data.encode_seconds, 2),
            "held_out_first": self.first_loss,
            "held_out_last": loss.total if loss else None,
            "skipped": self.skipped,
            "bad_samples": len(self.data.bad.reasons),
        }
