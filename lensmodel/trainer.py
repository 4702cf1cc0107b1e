"""One trainer for every method. A step reads: fetch, backward, clip, check finite, update, log."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from catalog.errors import LensError
from catalog.manifest import Manifest
from catalog.notices import say
from lensmodel import build, checkpoint, distributed, events, measure, origin, presets, resume
from lensmodel.cost import Shape
from lensmodel.data.loader import LoadedBatch, Loader
from lensmodel.data.plan import position_of
from lensmodel.methods.pretrain import Pretrain
from lensmodel.optim import set_rate
from lensmodel.parallel import Parallel
from lensmodel.preview import Preview
from lensmodel.rundata import RunData
from lensmodel.runfolder import RunFolder
from lensmodel.runlog import Meter, RunLog
from lensmodel.saver import Saver
from lensmodel.settings import Settings, from_plain, plain
from lensmodel.signals import StopOnSignal
from lensmodel.throughput import peak
from lensmodel.trackers import Trackers
from lensmodel.validation import HeldOut, validate

SKIPS_IN_A_ROW = 50


class Trainer:
    """One run. `Trainer(manifest, settings, out, may_resume).run()` trains to max_steps and returns a summary.

    Raises BadInput for a run folder in use, data or settings that differ from the checkpoint's, missing
    weights. A command that is refused changes nothing in `out`.
    """

    def __init__(self, manifest: Manifest, settings: Settings, out: Path, may_resume: bool) -> None:
        settings = presets.settled(settings, out)
        presets.require_parts(settings)
        self.manifest, self.settings, self.out = manifest, settings, out
        self.folder: RunFolder | None = None
        self.ranks = distributed.start(settings.device)
        self.log = RunLog(out / "log.jsonl", self.ranks.main)
        self.saver = Saver()
        self.given = settings.batch_sizes()  # which batches=balanced may change
        try:
            with self.ranks.main_first():
                self._prepare(may_resume)
            self._batch_sizes()
            with self.ranks.main_first():
                self.data.report()
                self.data.encode()
            self._model()
            with self.ranks.main_first():
                if self.folder:
                    self.folder.begin()
                    self.log.start(Trackers(settings.trackers, out, plain(settings)))
            if self.saved:
                self.data.bad.read()
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        self.log.close()
        if self.folder:
            self.folder.close()

    def _prepare(self, may_resume: bool) -> None:
        self.data = RunData(self.manifest, self.settings, self.out, self.ranks, self.log)
        if self.ranks.main:
            self.folder = RunFolder(self.out, may_resume)
        found = checkpoint.numbered(self.out)
        self.saved = found[-1][1] if found else None
        self.state: dict[str, Any] | None = None
        if self.saved:
            weights = self.data.encoder.weights, self.data.latents.weights
            self.state = resume.read(self.saved, self.manifest, self.settings, *weights)
            self.given, self.settings = resume.batch_sizes(self.settings, self.state)
            if self.ranks.main:
                checkpoint.verify(self.saved, self.state)
        self.origin = origin.find(self.settings, self.data.latents.channels, self.state, self.ranks.main)

    def _batch_sizes(self) -> None:
        """With batches=balanced, time the batches of a new run; one that resumes has the sizes it began with."""
        s, data, sizes = self.settings, self.data, None
        if s.batches == "balanced" and not self.saved:
            with self.ranks.main_first():
                if self.ranks.main:
                    samples, world = data.samples_of_bases(), self.ranks.world
                    found = measure.balance(s, data.latents, samples, world, self.ranks.device)
                    sizes = events.balanced(self.log, found)
            self.settings = resume.with_sizes(s, self.ranks.tell(sizes))
        if self.settings != data.settings:
            data.rebatch(self.settings)

    def _model(self) -> None:
        s, device = self.settings, self.ranks.device
        self.method = Pretrain(s)
        model, ema = build.models(s, self.data.latents.channels, self.origin, self.saved)
        if s.gradient_checkpointing:
            model.enable_gradient_checkpointing()
        count = sum(p.numel() for p in model.parameters())
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.parallel = Parallel(
            model, ema, self.ranks, s.sharding == "full", s.precision == "bf16", s.compile
        )
        self.preview = Preview(self.data, self.ranks, self.log, self.parallel.sharded)
        self.optimizer = self.method.optimizer(self.parallel.model)
        self.shape = Shape.of(s, self.data.latents.channels)
        self.peak = peak(device, s.precision == "bf16") if self.ranks.main else None
        self.flops = 0.0  # of the last step, over all ranks
        self.at = resume.Progress.of(self.state, self.ranks.world * s.accumulate)
        if self.saved and self.state:
            checkpoint.load_optimizer(self.saved, self.optimizer, self.state["moments"])
            events.stretched(self.log, s, from_plain(self.state["settings"]).max_steps, self.at.step)
        if self.origin and not self.saved:
            about = self.data.about()
            others = origin.contradictions(self.origin, about["encoder"], about["latents"])
            events.started_from(self.log, self.origin.path, self.origin.sha256, others)
        self.log.event(
            "resume" if self.saved else "start",
            f"model: {events.million(count, trained)} on {device} x {self.ranks.world}, {s.precision}; "
            + (f"resuming {self.saved}" if self.saved else f"steps 0 to {s.max_steps}"),
            step=self.at.step,
            parameters=count,
            trained=trained,
            world=self.ranks.world,
            settings=plain(s),
        )

    def train_step(self, batches: list[LoadedBatch]) -> tuple[float, float, bool, int, int]:
        """One optimiser step. Returns (loss, gradient norm, whether it was skipped, images, tokens), over all
        ranks.

        A step whose loss or gradient is not finite leaves weights, moments and EMA untouched.
        """
        s, device = self.settings, self.ranks.device
        position, width = position_of(self.at.segments, self.at.step)
        everyone = [self.data.plan.batch(position + i) for i in range(width)]
        images = sum(len(b.rows) for b in everyone)
        tokens = sum(len(b.rows) * self.data.tokens_of(b.bucket) for b in everyone)
        weight = images if s.averaging == "image" else tokens
        set_rate(self.optimizer, self.method.learning_rate(self.at.step))
        total = flops = 0.0
        for batch in batches:
            x0, grid = self.data.latents.encode(torch.from_numpy(batch.pixels).to(device))
            each = 1 if s.averaging == "image" else x0.shape[1]
            with self.parallel.micro_batch(last=batch is batches[-1]):
                with torch.autocast(device.type, torch.bfloat16, enabled=s.precision == "bf16"):
                    text = self.data.texts(batch.captions)
                    loss = self.method.loss(self.parallel.forward, x0, text, grid, batch.number).sum() * each
                (loss * (self.ranks.world / weight)).backward()
            total += loss.item()
            words = text[1].shape[1]  # as padded: what is computed
            # A frozen weight passes gradients on but has none of its own.
            flops += len(x0) * self.shape.forward(x0.shape[1], words) * (2 if s.lora_rank else 3)
        norm = self.parallel.clip(s.clip)
        total, self.flops = self.ranks.sum([total, flops])
        skip = not (math.isfinite(norm) and math.isfinite(total))
        if not skip:
            self.optimizer.step()
            decay = min(s.ema, (1 + self.at.step) / (10 + self.at.step))
            self.parallel.average(decay)
        self.optimizer.zero_grad(set_to_none=True)
        return total / weight, norm, skip, images, tokens

    def run(self) -> dict[str, Any]:
        """Train from where the run stands to max_steps (or max_minutes)."""
        at, most = self.at, self.settings.max_steps
        try:
            if at.step >= most:
                what = f"nothing to do: the run is at step {at.step} already and max_steps={most} is not above it"
                return events.finished(self.log, what, at, self.data, self.saved)
            asked = self._train()
            if not asked:
                return events.finished(self.log, f"done: step {at.step}", at, self.data, self.saved)
        finally:
            self.saver.finish()
            self._close()
        if self.ranks.main:
            say(f"stopped at step {self.at.step}")
        raise KeyboardInterrupt

    def _train(self) -> bool:
        """The loop; returns whether a signal asked for its end."""
        s, start, meter, skips, due = self.settings, time.monotonic(), Meter(), 0, False
        sets = self.data.held_out_sets()
        if self.at.first_loss is None:
            self.at.first_loss = self._validate(sets)
        with (
            StopOnSignal() as stop,
            Loader(
                self.data.plan, self.data.pictures, self.data.captions, position=self.at.position,
                rank=self.ranks.rank, world=self.ranks.world, workers=s.workers, prefetch=max(s.prefetch, s.accumulate),
            ) as loader,
        ):  # fmt: skip
            stream = iter(loader)
            meter.reset()
            clock = self.at.clock()
            while True:
                batches = [next(stream) for _ in range(s.accumulate)]
                value, norm, skip, images, tokens = self.train_step(batches)
                self.at.step += 1
                clock()
                meter.add(value, images, tokens, skip, self.flops)
                self.at.skipped += skip
                skips = skips + 1 if skip else 0
                if skips >= SKIPS_IN_A_ROW:
                    self._give_up(
                        f"{skips} steps in a row, up to {self.at.step}, had a loss or gradient not finite"
                    )
                late = 0 < s.max_minutes * 60 <= time.monotonic() - start
                votes = self.ranks.sum([float(stop.asked), float(late), float(self.saver.failed)])
                asked, out_of_time, unsaved = map(bool, votes)
                end = asked or out_of_time or self.at.step == s.max_steps
                if self.at.step % s.log_every == 0 or end:
                    self._log_step(meter, loader, norm)
                    meter.reset()
                with meter.paused():
                    if self.at.step % s.validate_every == 0 or (end and not asked):
                        self._validate(sets)
                    if s.sample_every and (self.at.step % s.sample_every == 0 or (end and not asked)):
                        self.preview.draw(self.parallel.ema, self.at.step)
                    due = due or end or unsaved or self.at.step % s.checkpoint_every == 0
                    if due and (end or not skips):
                        due = not self._save(skips, end)
                if end:
                    return asked

    def _log_step(self, meter: Meter, loader: Loader, norm: float) -> None:
        numbers = meter.numbers(loader.waited, self.settings.max_steps - self.at.step)
        if self.peak:
            numbers["mfu"] = numbers["flops_per_second"] / (self.peak * self.ranks.world)
        loader.waited = 0.0
        lr = self.method.learning_rate(self.at.step - 1)
        epoch = round(self.data.plan.epochs(self.at.position), 4)
        events.trained(self.log, self.settings, self.at, lr, norm, numbers, epoch=epoch)

    def _validate(self, sets: list[HeldOut]) -> float | None:
        if not sets:
            return None
        start = time.monotonic()
        encode, alike = self.data.latents.encode, self.parallel.sharded
        losses = validate(self.parallel.ema, sets, encode, self.settings, self.ranks, alike)
        events.validated(self.log, self.at.step, losses, self.at.first_loss, time.monotonic() - start)
        self.at.last_loss = losses.total
        return losses.total

    def _save(self, skips: int, end: bool) -> bool:
        """Save a checkpoint; returns whether it did.

        Weights that an update has just broken show as steps that are skipped from then on. Nothing is saved that is
        not finite, and what is saved after skipped steps (at the end of a run) pushes no earlier checkpoint out.
        """
        failed = self._written(again=True)
        if not self.parallel.finite():
            if end:
                self._give_up(f"the weights of step {self.at.step} are not finite and were not saved")
            return False
        start = time.monotonic()
        models, moments = self.parallel.snapshot(), self.parallel.moments(self.optimizer)
        step, state, keep = self.at.step, self._state(), None if skips else self.settings.keep_checkpoints
        copying = time.monotonic() - start

        def write() -> Path:
            saved = checkpoint.save_checkpoint(self.out, step, models, moments, state, keep)
            seconds = round(time.monotonic() - start, 3)
            self.log.event(
                "checkpoint", f"saved {saved}", step=step, seconds=seconds, stopped_for=round(copying, 3)
            )
            return saved

        if self.ranks.main:
            self.saver.start(write)
        if end or failed:
            self._written()
        return True

    def _written(self, again: bool = False) -> bool:
        """Wait until the checkpoint that is being written is there; if it failed, the run ends on every rank, or with
        `again` that is said, since the present state will be saved at once. Returns whether it failed."""
        failed = False
        with self.ranks.main_first():
            if self.ranks.main:
                try:
                    self.saver.wait()
                except LensError as error:
                    if not again:
                        raise
                    failed = True
                    say(f"warning: {error}; trying once more")
                self.saved = self.saver.newest or self.saved
        return self.ranks.sum([float(failed)])[0] > 0

    def _give_up(self, why: str) -> None:
        """End the run on every rank; the first says why, and what can be gone on from."""
        with self.ranks.main_first():
            if self.ranks.main:
                self.saver.finish()
                raise LensError(f"{why}; the newest checkpoint is {self.saver.newest or self.saved}")

    def _state(self) -> dict[str, Any]:
        return {
            **self.at.fields(),
            "settings": plain(self.settings),
            "given_batches": {str(base): size for base, size in self.given.items()},
            "origin": asdict(self.origin) if self.origin else None,
            **self.data.about(),
        }
