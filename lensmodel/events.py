"""The events of a run that take words: each says its line and writes its numbers."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lensmodel.methods.pretrain import Pretrain
from lensmodel.runlog import RunLog, finite, short_time
from lensmodel.settings import Settings
from lensmodel.validation import Losses

if TYPE_CHECKING:
    from lensmodel.measure import Balance
    from lensmodel.resume import Progress
    from lensmodel.rundata import RunData


def million(parameters: int, trained: int) -> str:
    """How many parameters a model has, and how many of them train if not all do."""
    part = "" if trained == parameters else f", of which {trained / 1e6:.2f}M train (LoRA)"
    return f"{parameters / 1e6:.2f}M parameters{part}"


def started_from(log: RunLog, path: str, sha256: str, others: list[str]) -> None:
    """Say whose weights a new run takes, and what it has otherwise than they were trained with."""
    log.event("origin", f"starting from {path} (sha256 {sha256[:12]})", path=path, sha256=sha256)
    if others:
        text = (
            f"warning: the weights were trained with another {', '.join(others)}; they have to get used to it"
        )
        log.event("warning", text, others=others)


def balanced(log: RunLog, found: Balance) -> dict[int, int]:
    """The batch sizes of a run with batches=balanced, which are returned."""
    was, now = ("/".join(map(str, sizes.values())) for sizes in (found.given, found.sizes))
    took = "/".join(f"{seconds:.3g}" for seconds in found.seconds.values())
    bases, lost = "/".join(map(str, found.sizes)), f"waiting for the slowest of {found.ranks} ranks costs"
    if found.sizes == found.given:
        text = f"batches: {was} of bases {bases} stay, none were found better; {lost} {found.lost:.1%}"
    else:
        text = (
            f"batches: {now} of bases {bases} instead of {was}; {lost} {found.lost:.1%} instead of "
            f"{found.lost_given:.1%} ({took} s a batch, timed with {found.layers} blocks)"
        )
    log.event("batches", text, **asdict(found))
    return found.sizes


def trained(
    log: RunLog, settings: Settings, at: Progress, lr: float, norm: float, numbers: dict[str, float], **more: Any
) -> None:  # fmt: skip
    """A stretch of steps up to where the run is; `numbers` are the meter's, `norm` is the last step's gradient norm."""
    used = "" if numbers.get("mfu") is None else f"  MFU {numbers['mfu']:.0%}"
    slow = "  (the loader is the bottleneck: raise workers=)" if numbers["data_wait"] > 0.3 else ""
    told = f"  skipped {at.skipped}" if at.skipped else ""
    log.event(
        "step",
        f"step {at.step}/{settings.max_steps}  loss {numbers['loss']:.4f}  grad {norm:.3f}  lr {lr:.2e}  "
        f"{numbers['images_per_second']:.0f} img/s  {numbers['tokens_per_second']:.0f} tok/s{used}  "
        f"data wait {numbers['data_wait']:.0%}  "
        f"ETA {short_time(numbers['eta_seconds'])}{told}{slow}",
        step=at.step,
        grad_norm=norm,
        lr=lr,
        skipped=at.skipped,
        seconds=round(at.seconds, 3),
        cpu_seconds=round(at.cpu_seconds, 3),
        **more,
        **numbers,
    )


def validated(log: RunLog, step: int, losses: Losses, first: float | None, seconds: float) -> None:
    at_start = "" if first is None else f" (at the start {first:.4f})"
    parts = "  ".join(f"{base}: {value:.4f}" for base, value in losses.by_base.items())
    fields = asdict(losses)
    log.event(
        "validation",
        f"step {step}  held-out flow loss {losses.total:.4f}{at_start}  {parts}",
        step=step,
        loss=fields.pop("total"),
        seconds=round(seconds, 3),
        **fields,
    )


def stretched(log: RunLog, settings: Settings, before: int, step: int) -> None:
    """Say what a resume with another max_steps means for a schedule that ends there; nothing if it means nothing."""
    s = settings
    if s.schedule != "linear" or before == s.max_steps or step >= s.max_steps:
        return
    was, now = Pretrain(replace(s, max_steps=before)), Pretrain(s)
    log.event(
        "warning",
        f"warning: max_steps was {before} and is {s.max_steps}: the linear schedule now ends there, so the "
        f"learning rate goes on at {now.learning_rate(step):.2e} instead of {was.learning_rate(step):.2e}, and "
        f"this is not the run that max_steps={s.max_steps} from the start would have been",
        step=step,
        max_steps_before=before,
    )


def finished(log: RunLog, what: str, at: Progress, data: RunData, checkpoint: Path | None) -> dict[str, Any]:
    """The end of a run, which `what` begins to say. Returns a summary as JSON can hold it."""
    first, last = at.first_loss, at.last_loss
    fell = "" if first is None or last is None else f"held-out flow loss {first:.4f} -> {last:.4f}; "
    summary = {
        "checkpoint": str(checkpoint),
        "step": at.step,
        "train_seconds": round(at.seconds, 2),
        "cpu_seconds": round(at.cpu_seconds, 2),
        "encode_seconds": round(data.encode_seconds, 2),
        "held_out_first": first,
        "held_out_last": last,
        "skipped": at.skipped,
        "bad_samples": len(data.bad.reasons),
    }
    log.event(
        "done",
        f"{what}; {short_time(at.seconds)} of training; {fell}"
        + (f"{at.skipped} steps skipped; " if at.skipped else "")
        + f"checkpoint {checkpoint}",
        step=at.step,
        first_validation=first,
        last_validation=last,
        train_seconds=summary["train_seconds"],
        cpu_seconds=summary["cpu_seconds"],
    )
    return finite(summary)
