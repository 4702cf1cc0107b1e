"""Captions: a captioner turns images into text; every caption is a versioned row, and a failed one keeps its reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

import polars as pl

from catalog import Catalog
from lensdata import engine
from lensdata.stage import Row, Stage, chunks, commit_waiting, pages, run_stage

SCHEMA = {
    "image_id": pl.Int64, "style": pl.String, "text": pl.String, "model": pl.String, "prompt_hash": pl.String,
    "settings": pl.String, "tokens": pl.Int64, "cost": pl.Float64, "error": pl.String,
}  # fmt: skip


@dataclass(frozen=True)
class Caption:
    """A caption, or why there is none."""

    image_id: int
    text: str | None
    error: str | None = None
    tokens: int | None = None
    cost: float | None = None  # US dollars


class Captioner(Protocol):
    """A way to caption. `model`, `prompt_hash` and `settings` are its identity; it travels to the workers."""

    @property
    def style(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def prompt_hash(self) -> str | None: ...
    @property
    def settings(self) -> str | None: ...

    def __call__(self, rows: list[Row]) -> Iterable[Caption]:
        """One `Caption` for each of the rows of `images` (image_id, uri, byte_offset, byte_length, alt_text, and for
        its own style brief_text or dense_text), in any order."""


@dataclass(frozen=True)
class Copied:
    """How many captions came from the sources: alt texts, readable images `without` one, brief and dense captions."""

    alt: int
    without: int
    brief: int
    dense: int

    def __str__(self) -> str:
        counts = {"alt": self.alt, "brief": self.brief, "dense": self.dense}
        copied = ", ".join(f"{n} {style}" for style, n in counts.items() if n or style == "alt")
        return f"{copied} captions from the sources; {self.without} images without alt text"


@dataclass(frozen=True)
class FromSource:
    """The source's own text of a style (alt, brief, dense), as it came with the image; with `names`, the words of the
    file's and its folder's name for the alt text where there is none. The two are different captioners, so asking for
    names later fills what is still missing."""

    style: str = "alt"
    names: bool = False
    prompt_hash: str | None = None
    settings: str | None = None

    @property
    def model(self) -> str:
        return "source+names" if self.names else "source"

    def __call__(self, rows: list[Row]) -> Iterator[Caption]:
        missing = f"the source gives no {'' if self.style == 'alt' else f'{self.style} '}text"
        for row in rows:
            text = row[f"{self.style}_text"] or (_words_of_name(row["uri"]) if self.names else None)
            reason = f"{missing} ({row['alt_error']})" if row["alt_error"] else missing
            yield Caption(row["image_id"], text, None if text else reason)


def copy_all(
    catalog: Catalog,
    names: bool = False,
    retry_failed: bool = False,
    workers: int | None = None,
    on: engine.On = "local",
) -> Copied:
    """Caption from the sources: the alt text of every image, and of those that come with one the brief and the dense
    caption, unless the image has a caption of that style from elsewhere."""
    alt, without = caption(catalog, FromSource(names=names), retry_failed, workers=workers, on=on)
    brief, _ = caption(catalog, FromSource("brief"), offered=True, workers=workers, on=on)
    dense, _ = caption(catalog, FromSource("dense"), offered=True, workers=workers, on=on)
    return Copied(alt, without, brief, dense)


def caption(
    catalog: Catalog,
    captioner: Captioner,
    retry_failed: bool = False,
    offered: bool = False,
    workers: int | None = None,
    on: engine.On = "local",
) -> tuple[int, int]:
    """Caption the readable images that lack a caption of this style by this model and prompt; with `offered`, those
    that lack one by any and whose source gives one.

    Returns (captioned, failed). Each part is committed as it finishes.
    """
    identity: Row = {
        "style": captioner.style,
        "model": captioner.model,
        "prompt_hash": captioner.prompt_hash,
    }
    with catalog.job(STAGE.name, resumes=True):
        commit_waiting(catalog, STAGE)
        pending = pages(catalog, STAGE.pending, **identity, retry=retry_failed, offered=offered)
        tasks = chunks(catalog, STAGE, pending, {"captioner": captioner})
        label = f"caption {captioner.style}"
        tally = run_stage(catalog, STAGE, tasks, None, workers, on, label=label)
    return tally["captioned"], tally["failed"]


def _words_of_name(uri: str) -> str | None:
    """`~/Pictures/Lake_Como/IMG-2041 boat.jpg` gives `Lake Como: IMG boat`."""
    path = PurePosixPath(uri)
    folder, name = (" ".join(re.findall(r"[^\W\d_]{2,}", part)) for part in (path.parent.name, path.stem))
    return ": ".join(part for part in (folder, name) if part) or None


def _caption(task: engine.Task, watch: engine.Watch) -> list[Row]:
    """Worker: the captions of one part, in order of their images."""
    captioner: Captioner = task.settings["captioner"]
    rows = [_row(found, captioner) for found in captioner(task.items)]
    return sorted(rows, key=lambda row: row["image_id"])


def _row(found: Caption, captioner: Captioner) -> Row:
    return {
        "image_id": found.image_id, "style": captioner.style, "text": found.text, "model": captioner.model,
        "prompt_hash": captioner.prompt_hash, "settings": captioner.settings, "tokens": found.tokens,
        "cost": found.cost, "error": found.error,
    }  # fmt: skip


def _refuse(row: Row, faults: dict[str, str]) -> Row:
    """A caption with a value that no column holds has failed."""
    return row | {"text": None, "error": "; ".join(faults.values())}


def _count(frame: pl.DataFrame) -> dict[str, int]:
    return {"captioned": frame["text"].count(), "failed": frame["text"].null_count()}


STAGE = Stage(
    name="caption",
    work=_caption,
    schema=SCHEMA,
    commit=("caption/forget_failed", "caption/part"),
    pending="caption/pending",
    tally=_count,
    light=True,
    refuse=_refuse,
)
