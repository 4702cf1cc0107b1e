"""Which images to use: thresholds over scores, judged in SQL, and fixed by a manifest when the choice is made."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from catalog import extras, metrics, mixture
from catalog import scorers as whose
from catalog.buckets import BUCKETS
from catalog.errors import BadInput
from catalog.manifest import Manifest, files, load, names
from catalog.manifest import rows as tables
from catalog.notices import say
from catalog.store import parts, statements
from catalog.store.database import Database

CAPTION_STYLES = ("dense", "alt")
TEXTLESS = (
    "for {} of them the source gives no such text: put it into NAME.txt beside each NAME.jpg or into a table "
    "(docs/sources.md) and ingest again, or {}"
)
FROM_NAMES = (
    "take the words of the files' names with `lensdata caption --from-names` (or `lensdata run --from-names`)"
)
OTHER_STYLES = "take other captions, too, such as with --captions dense,alt"


class Selection:
    """The images that pass every rule of the view `judged`.

    Keyword arguments are thresholds by name (`min_aesthetic=3`, `max_nsfw=0.4`, ...; None switches a rule off),
    those not named keep their defaults, which are those of the tier of the scorer that counts; `where` is an SQL
    condition over the columns of the view `trainable`; `dedup=False` keeps near-duplicates; `captions` are the styles
    that may serve as the training caption, best first; `sources` are the kinds of source to select from (None: all),
    each with its repeats: how many times an epoch of training shows each of its images (see catalog.mixture). Of
    near-duplicates across kinds one of these is kept. `scorers` names whose scores count (metric -> tier, name or
    name@revision; see catalog.scorers); of the other metrics the scorer in use, the newest that is complete.

    Raises BadInput for an unknown threshold, source or scorer, or a number that is none.
    """

    def __init__(
        self,
        catalog: Database,
        *,
        where: str | None = None,
        dedup: bool = True,
        captions: tuple[str, ...] = CAPTION_STYLES,
        sources: Mapping[str, float] | None = None,
        scorers: Mapping[str, str] | None = None,
        **thresholds: float | None,
    ) -> None:
        known = metrics.thresholds()
        for name, value in thresholds.items():
            if name not in known:
                raise BadInput(f"there is no threshold {name}; there are {', '.join(known)}")
            if value is not None and not float(value) == float(value):
                raise BadInput(f"{name} must be a number or none, not {value}")
        unknown = [style for style in captions if style not in ("dense", "brief", "alt")]
        if unknown or not captions:
            raise BadInput(f"unknown caption style {', '.join(unknown)}; there are dense, brief and alt")
        if where is not None:
            _check_condition(where)
        self._scorers = whose.chosen(catalog, scorers or {})
        self.catalog = catalog.judged_by(self._scorers) if self._scorers else catalog
        self.where = where
        self.captions = captions
        defaults = self.catalog.named("select/thresholds").row(0, named=True)
        self.thresholds: dict[str, float | None] = {**defaults, **thresholds}
        self.dedup = dedup
        self.sources = None if sources is None else self._known(mixture.checked(sources))

    def _known(self, sources: dict[str, float]) -> dict[str, float]:
        """`sources`, having refused kinds that the catalog does not hold."""
        held = dict(self.catalog.named("select/source_counts").iter_rows())
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
        return statements.statement("select/images", where=self.where or "true")

    def frame(self) -> pl.DataFrame:
        """One row per selected image, in order of image_id, with what a manifest needs."""
        return self.catalog.sql(self.query, **self.parameters)

    def write(self, path: Path) -> None:
        """Write the table of a manifest, samples.parquet, to `path`. Memory never holds its rows, nor does Python."""
        text = statements.statement("manifest/rows", select=self.query)
        buckets = [bucket.name for bucket in BUCKETS]
        self.catalog.export(text, path, tables.ROWS, **self.parameters, buckets=buckets)

    def counts(self) -> pl.DataFrame:
        """How many images are selected: (bucket, source, images). Raises BadInput if there are none."""
        text = statements.statement("select/counts", select=self.query)
        found = self.catalog.sql(text, **self.parameters)
        if found.is_empty():
            raise BadInput(f"nothing is selected: {self.explain_empty()}")
        return found

    def funnel(self) -> pl.DataFrame:
        """What each rule keeps and drops at these thresholds (`where` not counted)."""
        return self.catalog.named("select/funnel", **self.parameters)

    def overlaps(self) -> pl.DataFrame:
        """How many images both the rule of the row and that of the column drop; `where` not counted."""
        return self.catalog.named("select/overlaps", **self.parameters)

    def unmeasured(self) -> dict[str, int]:
        """Readable images that a rule in use has no result for, and which it therefore drops: rule -> images."""
        rows = self.funnel().filter(pl.col("unmeasured") > 0).select("rule", "unmeasured")
        return dict(rows.iter_rows())

    def off(self) -> list[str]:
        """The rules that judge nothing, as every threshold of theirs is off."""
        return [
            rule.name
            for rule in metrics.rules()
            if rule.limits and all(self.thresholds[limit] is None for limit in rule.limits)
        ]

    def manifest(self, name: str | None = None) -> Manifest:
        """Fix the selection as CATALOG/manifests/NAME (default: named by its content).

        Raises BadInput if nothing is selected, or if NAME already names another choice.
        """
        with parts.scratch(self.catalog.root / names.FOLDER / "selected") as spool:
            return _fix(self, name, spool)

    def scorers(self) -> dict[str, str]:
        """Whose scores count: metric -> tier/name@revision."""
        rows = whose.known(self.catalog)
        ids = {row["metric"]: row["scorer_id"] for row in rows if row["in_use"]} | self._scorers
        return {row["metric"]: whose.shown(row) for row in rows if ids.get(row["metric"]) == row["scorer_id"]}

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
            what = "caption" if row["rule"] == "caption" else f"{row['rule']} result"
            return f"{row['unmeasured']} images have no {what} yet; {self.advice(row['rule'])}"
        return f"the rule {row['rule']} drops the last of {row['images']} images; see `lensdata funnel`"

    def advice(self, rule: str) -> str:
        """What to do about readable images that a rule has no result for."""
        known = next(found for found in metrics.rules() if found.name == rule)
        given = self.parameters
        if rule == "caption":
            textless = self.catalog.named(
                "select/textless", captions=given["captions"], sources=given["sources"]
            ).item()
            otherwise = FROM_NAMES if "alt" in self.captions else OTHER_STYLES
            return TEXTLESS.format(textless, otherwise) if textless else f"run {known.remedy} first"
        if known.metric is None or known.metric is metrics.AREA:
            return f"run {known.remedy} first"
        row = self.catalog.named("select/lacking", {"column": rule}, sources=given["sources"]).row(
            0, named=True
        )
        off = " ".join(f"--{limit.replace('_', '-')} none" for limit in known.limits)
        if row["failed"] and not row["missing"]:
            return (
                f"it failed ({row['reason']}); `lensdata score --only {rule} --retry-failed` tries again, and {off} "
                "selects without it"
            )
        if not row["scored"]:
            return f"run {known.remedy} first"
        needs = ""
        if known.metric.learned and not extras.present(*extras.MODULES["score"]):
            needs = f" (which needs {extras.install('score')})"
        return f"run `lensdata score --only {rule}` first{needs}, or select without it: {off}"


def _check_condition(where: str) -> None:
    """A condition must be one expression, so that it cannot close the parenthesis it stands in."""
    try:
        duckdb.SQLExpression(where)
    except duckdb.Error as error:
        raise BadInput(f"--where {where!r} is not one SQL condition: {str(error).splitlines()[0]}") from None


def remedy(rule: str) -> str:
    """The command that gives a rule its missing results."""
    return next(known.remedy for known in metrics.rules() if known.name == rule)


def _fix(selection: Selection, name: str | None, spool: Path) -> Manifest:
    """Write the manifest of a selection, its table to the file `spool` first."""
    catalog = selection.catalog
    with catalog.session():
        version = catalog.version
        selection.write(spool)
        unmeasured, scorers = selection.unmeasured(), selection.scorers()
    counts = pl.scan_parquet(spool, glob=False).group_by("bucket", "source").len().collect()
    total = int(counts["len"].sum())
    if not total:
        raise BadInput(f"nothing is selected: {selection.explain_empty()}")
    buckets, sources = (
        dict(counts.group_by(column).agg(pl.sum("len")).iter_rows()) for column in ("bucket", "source")
    )
    weights = mixture.in_force(selection.sources or {}, sources)
    fingerprint = files.fingerprint_of(tables.batches(spool), weights)
    name = fingerprint[:12] if name is None else name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise BadInput(f"{name!r} cannot name a manifest; use letters, digits, '-', '_' and '.'")
    record = {
        "manifest": name, "fingerprint": fingerprint, "query": selection.query, "catalog_version": version,
        "parameters": json.dumps(selection.parameters), "samples": total, "virtual": True,
    }  # fmt: skip
    info = {
        "format": files.MIXED if weights else files.FORMAT,
        "name": name,
        "fingerprint": fingerprint,
        "virtual": True,
        "samples": total,
        "catalog_version": version,
        "query": selection.query,
        "parameters": selection.parameters,
        "captions": list(selection.captions),
        "scorers": scorers,
        "unmeasured": unmeasured,
        "buckets": files.bucket_rows(buckets),
        "sources": dict.fromkeys(selection.sources or {}, 0) | dict(sorted(sources.items())),
        **({"mixture": weights} if weights else {}),
        "shards": [],
    }
    folder = catalog.root / names.FOLDER / name
    with names.naming(catalog):
        if names.given_to(catalog, name) not in (None, fingerprint):
            later = names.became(catalog, name, fingerprint)
            if later is None:
                raise names.taken(name)
            say(f"the manifest {name} has been {later.name} since a takedown, and selects just these images")
            return later
        if not (folder / "manifest.json").is_file():
            files.adopt(folder, info, spool)
        # Also for one that is there already: a kill may have come between its files and its row.
        names.enter(catalog, record)
    return load(folder)
