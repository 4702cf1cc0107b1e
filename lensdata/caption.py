"""Captions: a captioner turns images into text; every caption is a versioned row, and a failed one keeps its reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import polars as pl

from catalog import parts
from catalog.console import Progress
from catalog.store import Catalog

PART_IMAGES = 4_096
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


@dataclass(frozen=True)
class Captioner:
    """A way to caption: `caption` takes rows of `images` (image_id, uri, byte_offset, byte_length, alt_text) and
    yields one `Caption` for each, in any order. `model`, `prompt_hash` and `settings` are its identity."""

    style: str
    model: str
    caption: Callable[[list[dict[str, Any]]], Iterable[Caption]]
    prompt_hash: str | None = None
    settings: str | None = None


def from_source(names: bool = False) -> Captioner:
    """The source's own text, as it came with the image; with `names`, the words of the file's and its folder's name
    where there is none. The two are different captioners, so asking for names later fills what is still missing."""

    def copy(rows: list[dict[str, Any]]) -> Iterable[Caption]:
        for row in rows:
            text = row["alt_text"] or (_words_of_name(row["uri"]) if names else None)
            yield Caption(
                row["image_id"], text, None if text else row["alt_error"] or "the source gives no text"
            )

    return Captioner("alt", "source+names" if names else "source", copy)


def _words_of_name(uri: str) -> str | None:
    """`~/Pictures/Lake_Como/IMG-2041 boat.jpg` gives `Lake Como: IMG boat`."""
    path = PurePosixPath(uri)
    folder, name = (" ".join(re.findall(r"[^\W\d_]{2,}", part)) for part in (path.parent.name, path.stem))
    return ": ".join(part for part in (folder, name) if part) or None


def caption(catalog: Catalog, captioner: Captioner, retry_failed: bool = False) -> tuple[int, int]:
    """Caption the readable images that lack a caption of this style by this model and prompt.

    Returns (captioned, failed). Each part is committed as it finishes.
    """
    identity = {"style": captioner.style, "model": captioner.model, "prompt_hash": captioner.prompt_hash}
    done = failed = 0
    with catalog.job("caption", resumes=True):
        for part in parts.waiting(catalog.root, "caption"):
            catalog.commit_part("caption", part, ["caption_part"])
        pending = catalog.named("caption_pending", **identity, retry=retry_failed)
        version = catalog.version
        with Progress(len(pending), f"caption {captioner.style}", "images") as bar:
            for chunk in pending.iter_slices(PART_IMAGES):
                rows = [
                    _row(found, captioner) for found in captioner.caption(list(chunk.iter_rows(named=True)))
                ]
                frame = pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("image_id")
                name = f"caption-{version:08d}-{chunk['image_id'][0]:012d}"
                catalog.commit_part(
                    "caption", parts.write(catalog.root, "caption", name, frame), ["caption_part"]
                )
                done += frame["text"].count()
                failed += frame["text"].null_count()
                bar.advance(len(chunk))
    return done, failed


def _row(found: Caption, captioner: Captioner) -> dict[str, Any]:
    return {
        "image_id": found.image_id, "style": captioner.style, "text": found.text, "model": captioner.model,
        "prompt_hash": captioner.prompt_hash, "settings": captioner.settings, "tokens": found.tokens,
        "cost": found.cost, "error": found.error,
    }  # fmt: skip
