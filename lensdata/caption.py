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
    """A way to caption: `caption` takes rows of `images` (image_id, uri, byte_offset, byte_length, alt_text, and for
    its own style brief_text or dense_text) and yields one `Caption` for each, in any order. `model`, `prompt_hash` and
    `settings` are its identity."""

    style: str
    model: str
    caption: Callable[[list[dict[str, Any]]], Iterable[Caption]]
    prompt_hash: str | None = None
    settings: str | None = None


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


def from_source(names: bool = False, style: str = "alt") -> Captioner:
    """The source's own text of a style (alt, brief, dense), as it came with the image; with `names`, the words of the
    file's and its folder's name for the alt text where there is none. The two are different captioners, so asking for
    names later fills what is still missing."""
    missing = "the source gives no text" if style == "alt" else f"the source gives no {style} text"

    def copy(rows: list[dict[str, Any]]) -> Iterable[Caption]:
        for row in rows:
            text = row[f"{style}_text"] or (_words_of_name(row["uri"]) if names else None)
            reason = f"{missing} ({row['alt_error']})" if row["alt_error"] else missing
            yield Caption(row["image_id"], text, None if text else reason)

    return Captioner(style, "source+names" if names else "source", copy)


def copy_all(catalog: Catalog, names: bool = False, retry_failed: bool = False) -> Copied:
    """Caption from the sources: the alt text of every image, and of those that come with one the brief and the dense
    caption, unless the image has a caption of that style from elsewhere."""
    alt, without = caption(catalog, from_source(names), retry_failed)
    brief, _ = caption(catalog, from_source(style="brief"), offered=True)
    dense, _ = caption(catalog, from_source(style="dense"), offered=True)
    return Copied(alt, without, brief, dense)


def _words_of_name(uri: str) -> str | None:
    """`~/Pictures/Lake_Como/IMG-2041 boat.jpg` gives `Lake Como: IMG boat`."""
    path = PurePosixPath(uri)
    folder, name = (" ".join(re.findall(r"[^\W\d_]{2,}", part)) for part in (path.parent.name, path.stem))
    return ": ".join(part for part in (folder, name) if part) or None


def caption(
    catalog: Catalog, captioner: Captioner, retry_failed: bool = False, offered: bool = False
) -> tuple[int, int]:
    """Caption the readable images that lack a caption of this style by this model and prompt; with `offered`, those
    that lack one by any and whose source gives one.

    Returns (captioned, failed). Each part is committed as it finishes.
    """
    identity = {"style": captioner.style, "model": captioner.model, "prompt_hash": captioner.prompt_hash}
    done = failed = 0
    with catalog.job("caption", resumes=True):
        for part in parts.waiting(catalog.root, "caption"):
            catalog.commit_part("caption", part, ["caption_part"])
        pending = catalog.named("caption_pending", **identity, retry=retry_failed, offered=offered)
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
