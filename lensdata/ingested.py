"""What an ingest did, in numbers that add up, and as the line that tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from catalog import pixels
from lensdata.sources import Survey, counted
from lensdata.sources.texts.values import ROW

READABLE = (pixels.OK, pixels.OK_WARNINGS)
SHOWN = 6  # reasons told on the line
REMOVED = "removed"  # the status of what was taken down, and in a tally its number
STATE, UNUSED, MENDED = "state:", "unused:", "mended:"  # prefixes in a tally


@dataclass(frozen=True)
class Ingested:
    """What an ingest did: images added; updated, because bytes, text or readability had changed; found as they were;
    gone from folders and from tars that had been rewritten; and moved: found elsewhere, their ids kept.

    `taken_down` of them were taken down before, under whatever name, and stay removed. `states` counts the added by
    status, `not_downloaded` those of the added and updated that are URLs which could not be had, `not_read` others that
    are not readable; `texts_unused` and `texts_mended` their texts, by reason. `rows_unused` counts rows of tables and
    lists that could not be read, by reason, `tables_unused` tables whose texts, or some of them, could not be had.
    """

    added: int
    updated: int
    unchanged: int
    gone: int
    moved: int = 0
    taken_down: int = 0
    states: dict[str, int] = field(default_factory=dict)
    not_downloaded: int = 0
    not_read: int = 0
    texts_unused: dict[str, int] = field(default_factory=dict)
    texts_mended: dict[str, int] = field(default_factory=dict)
    rows_unused: dict[str, int] = field(default_factory=dict)
    tables_unused: int = 0

    def __str__(self) -> str:
        return self.line()

    def line(self, catalog: object = None) -> str:
        """All of it on one line, with the place of the catalog if it is given."""
        of = self.added + self.updated
        told = [f"{self.added} images added, {self.updated} updated, {self.unchanged} unchanged"]
        if self.gone:
            told[0] += f", {self.gone} gone from folders and tars"
        if self.moved:
            told[0] += f", {self.moved} moved"
        if self.taken_down:
            told[0] += f", {self.taken_down} of them taken down before and removed"
        if catalog is not None:
            told[0] += f" in {catalog}"
        if self.not_downloaded:
            told.append(f"{self.not_downloaded} of {of} could not be downloaded")
        if self.not_read:
            told.append(f"{self.not_read} of {of} could not be read")
        if self.texts_unused:
            told.append(f"{sum(self.texts_unused.values())} texts not used ({_reasons(self.texts_unused)})")
        if self.texts_mended:
            told.append(f"{sum(self.texts_mended.values())} texts mended ({_reasons(self.texts_mended)})")
        if self.rows_unused:
            told.append(
                f"{sum(self.rows_unused.values())} rows of tables not used ({_reasons(self.rows_unused)})"
            )
        if self.tables_unused:
            told.append(f"{self.tables_unused} tables of texts not used")
        return "; ".join(told)


def count(frame: pl.DataFrame) -> dict[str, int]:
    """The tally of a part's rows, of which `ingested` makes the numbers of all."""
    new = (frame["change"] == "new") | frame["image_id"].is_null()
    changed = ~new & ((frame["change"] != "file") | frame["text_changed"])
    told = frame.filter(new | changed)
    failed = told.filter(~pl.col("status").is_in(READABLE))
    unused, mended = counted(told["alt_error"].drop_nulls())
    unused = Counter(
        {why: n for why, n in unused.items() if not why.startswith(ROW)}
    )  # those the survey counts
    tally = {"added": int(new.sum()), "updated": int(changed.sum())}
    tally |= {"failed": failed.height, "not downloaded": failed.filter(pl.col("uri") == pl.col("url")).height}
    states = Counter(frame.filter(new)["status"].to_list())
    for prefix, counts in ((STATE, states), (UNUSED, unused), (MENDED, mended)):
        tally |= {f"{prefix}{name}": n for name, n in counts.items()}
    return tally


def ingested(tally: Mapping[str, int], listed: int, gone: int, moved: int, survey: Survey) -> Ingested:
    """What an ingest did that listed so many images, by the sum of its parts' tallies, without those that had moved,
    and by what the listing met."""
    added, updated = tally.get("added", 0), tally.get("updated", 0)
    failed, downloads = tally.get("failed", 0), tally.get("not downloaded", 0)
    unchanged = listed - added - updated - moved
    return Ingested(
        added, updated, unchanged, gone, moved, tally.get(REMOVED, 0), _under(tally, STATE), downloads,
        failed - downloads, _under(tally, UNUSED), _under(tally, MENDED), dict(survey.rows_unused),
        survey.tables_unused,
    )  # fmt: skip


def _under(tally: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {
        name.removeprefix(prefix): n for name, n in sorted(tally.items()) if name.startswith(prefix) and n
    }


def _reasons(counts: Mapping[str, int]) -> str:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{n} {reason}" for reason, n in ranked[:SHOWN]]
    if rest := sum(n for _, n in ranked[SHOWN:]):
        told.append(f"{rest} for other reasons")
    return ", ".join(told)
