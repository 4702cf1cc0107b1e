"""Which images to use: thresholds over scores, judged in SQL, and fixed by a manifest when the choice is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl

import sql
from catalog import mixture
from catalog.buckets import BUCKETS
from catalog.errors import BadInput

if TYPE_CHECKING:
    from catalog.manifest import Manifest
    from catalog.store import Catalog

# What gives a rule its missing results. An image whose source has no text is captioned only from its file's name.
REMEDIES = dict.fromkeys(
    ("nsfw", "aesthetic", "watermark", "clarity", "entropy", "luminance", "resolution", "readable"),
    "`lensdata score`",
) | {
    "dedup": "`lensdata dedup`",
    "caption": "`lensdata caption` (with --from-names where the source has no text)",
    "bucket": "`lensdata bucket`",
}
CAPTION_STYLES = ("dense", "alt")


@cache
def default_thresholds() -> dict[str, float]:
    """The defaults of sql/views/10_thresholds.sql: name -> value."""
    with duckdb.connect() as connection:
        connection.execute(next(text for text in sql.views() if "VIEW thresholds" in text))
        row = connection.sql(sql.statement("thresholds")).pl()
    return {name: row[name].item() for name in row.columns}


class Selection:
    """The images that pass every rule of the view `judged`.

    Keyword arguments are thresholds by name (`min_aesthetic=3`, `max_nsfw=0.4`, ...; None switches a rule off),
    those not named keep their defaults; `where` is an SQL condition over the columns of the view `trainable`;
    `dedup=False` keeps near-duplicates; `captions` are the styles that may serve as the training caption, best first;
    `sources` are the kinds of source to select from (None: all), each with its repeats: how many times an epoch of
    training shows each of its images (see catalog.mixture). Of near-duplicates across kinds one of these is kept.

    Raises BadInput for an unknown threshold or source, or a number that is none.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        where: str | None = None,
        dedup: bool = True,
        captions: tuple[str, ...] = CAPTION_STYLES,
        sources: Mapping[str, float] | None = None,
        **thresholds: float | None,
    ) -> None:
        defaults = default_thresholds()
        for name, value in thresholds.items():
            if name not in defaults:
                raise BadInput(f"there is no threshold {name}; there are {', '.join(defaults)}")
            if value is not None and not float(value) == float(value):
                raise BadInput(f"{name} must be a number or none, not {value}")
        unknown = [style for style in captions if style not in ("dense", "brief", "alt")]
        if unknown or not captions:
            raise BadInput(f"unknown caption style {', '.join(unknown)}; there are dense, brief and alt")
        if where is not None:
            _check_condition(where)
        self.catalog = catalog
        self.where = where
        self.captions = captions
        self.thresholds: dict[str, float | None] = {**defaults, **thresholds}
        self.dedup = dedup
        self.sources = None if sources is None else self._known(mixture.checked(sources))

    def _known(self, sources: dict[str, float]) -> dict[str, float]:
        """`sources`, having refused kinds that the catalog does not hold."""
        held = dict(self.catalog.named("source_counts").iter_rows())
        unknown = [kind for kind in sources if kind not in held]
        if unknown or not sources:
            there = ", ".join(f"{kind} ({images} images)" for kind, images in held.items())
            wrong = f"the catalog has no source {unknown[0]}" if unknown else "sources names no source"
            raise BadInput(f"{wrong}; there are {there}" if held else f"{wrong}; run `lensdata ingest` first")
        return sources

    @property
    def parameters(self) -> dict[str, Any]:
        """What the SQL's `$names` stand for."""
        kinds = None if self.sources is None else sorted(self.sources)
        return {**self.thresholds, "dedup": self.dedup, "captions": list(self.captions), "sources": kinds}

    @property
    def query(self) -> str:
        """The SQL that selects, with `$name` parameters."""
        return sql.statement("select_images").replace("{where}", self.where or "true")

    def frame(self) -> pl.DataFrame:
        """One row per selected image, in order of image_id, with what a manifest needs."""
        return self.catalog.sql(self.query, **self.parameters)

    def in_order(self, rows: int) -> Iterator[pl.DataFrame]:
        """What `frame` gives, in the order of a manifest, at most `rows` at a time."""
        text = sql.statement("select_in_order").replace("{select}", self.query)
        return self.catalog.stream(text, rows, **self.parameters, buckets=[bucket.name for bucket in BUCKETS])

    def funnel(self) -> pl.DataFrame:
        """What each rule keeps and drops at these thresholds (`where` not counted)."""
        return self.catalog.named("funnel_at", **self.parameters)

    def overlaps(self) -> pl.DataFrame:
        """How many images both the rule of the row and that of the column drop; `where` not counted."""
        return self.catalog.named("overlaps_at", **self.parameters)

    def unmeasured(self) -> dict[str, int]:
        """Readable images that a rule in use has no result for, and which it therefore drops: rule -> images."""
        rows = self.funnel().filter(pl.col("unmeasured") > 0).select("rule", "unmeasured")
        return dict(rows.iter_rows())

    def mixed_scorers(self) -> dict[str, list[int]]:
        """Metrics in use whose column mixes scorers: metric -> scorer ids."""
        used = {name.split("_", 1)[1] for name, value in self.thresholds.items() if value is not None}
        rows = self.catalog.named("mixed_scorers").iter_rows()
        return {
            metric: list(ids) for metric, ids in rows if metric in used and ids is not None and len(ids) > 1
        }

    def manifest(self, name: str | None = None) -> Manifest:
        """Fix the selection as CATALOG/manifests/NAME (default: named by its content).

        Raises BadInput if nothing is selected, if scores of two scorers would be mixed, or if NAME already names
        another choice.
        """
        from catalog.manifest import create

        return create(self, name)

    def explain_empty(self) -> str:
        """Why nothing was selected, in one line."""
        steps = self.funnel()
        if steps["images"].max() == 0:
            return "the catalog holds no image; run `lensdata ingest` first"
        left = steps["left_over"].to_list()
        if left[-1] > 0:
            return f"{left[-1]} images pass every rule, but none of them meets the condition"
        row = steps.row(next(i for i, n in enumerate(left) if n == 0), named=True)
        if row["unmeasured"]:
            return f"{row['unmeasured']} images have no {row['rule']} result yet; run {REMEDIES[row['rule']]} first"
        return f"the rule {row['rule']} drops the last of {row['images']} images; see `lensdata funnel`"


def _check_condition(where: str) -> None:
    """A condition must be one expression, so that it cannot close the parenthesis it stands in."""
    try:
        duckdb.SQLExpression(where)
    except duckdb.Error as error:
        raise BadInput(f"--where {where!r} is not one SQL condition: {str(error).splitlines()[0]}") from None
