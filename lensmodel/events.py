"""The events of a run that take words: each says its line and writes its numbers."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from lensmodel.methods.pretrain import Pretrain
from lensmodel.runlog import RunLog, finite, short_time
from lensmodel.settings import Settings
from lensmodel.validation import Losses


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


def trained(
    log: RunLog, settings: Settings, step: int, skipped: int, lr: float, norm: float,
    numbers: dict[str, float], **more: Any,
) -> None:  # fmt: skip
    """A stretch of steps up to `step`; `numbers` are the meter's, `norm` is the last step's gradient norm."""
    used = "" if numbers.get("mfu") is None else f"  MFU {numbers['mfu']:.0%}"
    slow = "  (the loader is the bottleneck: raise workers=)" if numbers["data_wait"] > 0.3 else ""
    told = f"  skipped {skipped}" if skipped else ""
    log.event(
        "step",
        f"step {step}/{settings.max_steps}  loss {numbers['loss']:.4f}  grad {norm:.3f}  lr {lr:.2e}  "
        f"{numbers['images_per_second']:.0f} img/s  {numbers['tokens_per_second']:.0f} tok/s{used}  "
        f"data wait {numbers['data_wait']:.0%}  "
        f"ETA {short_time(numbers['eta_seconds'])}{told}{slow}",
        step=step,
        grad_norm=norm,
        lr=lr,
        skipped=skipped,
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


def finished(log: RunLog, what: str, summary: dict[str, Any]) -> dict[str, Any]:
    """The end of a run, which `what` begins to say. Returns the summary as JSON can hold it."""
    first, last, skipped = summary["held_out_first"], summary["held_out_last"], summary["skipped"]
    fell = "" if first is None or last is None else f"held-out flow loss {first:.4f} -> {last:.4f}; "
    log.event(
        "done",
        f"{what}; {short_time(summary['train_seconds'])} of training; {fell}"
        + (f"{skipped} steps skipped; " if skipped else "")
        + f"checkpoint {summary['checkpoint']}",
        step=summary["step"],
        first_validation=first,
        last_validation=last,
        train_seconds=summary["train_seconds"],
    )
    return finite(summary)
