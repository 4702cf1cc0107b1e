"""The registry of metrics: what is measured of an image, in which unit, and what a selection asks of it by default.

A metric is named here and nowhere else. Its columns in `scores` and `trainable`, its options (`score --only NAME`,
`build-shards --min-NAME`), its rule in `judged`, `funnel` and `why`, its section of the report and its entry in a
shard's JSON follow from its row. To add one, add a row (or call `register`), and for a formula the function it names.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from catalog.errors import BadInput, LensError

OWN = "LENS_METRICS"

OFF_BELOW, OFF_ABOVE = (
    -math.inf,
    math.inf,
)  # a default threshold that lets everything pass: an option, off unless given


@dataclass(frozen=True)
class Metric:
    """One measured value of an image.

    `least` and `most` are the default thresholds `min_NAME` and `max_NAME`; None: there is no such threshold.
    `low` and `high` bound the values where a bound is known; `log` asks for a logarithmic axis. A `learned` metric is
    measured by a model that `--models` chooses; any other by the function `measure` ("module:name", from a
    `lensdata.filters.Picture` to a float), whose results carry the scorer id `scorer` at `revision`.
    """

    name: str
    title: str
    unit: str
    least: float | None = None
    most: float | None = None
    low: float | None = None
    high: float | None = None
    log: bool = False
    learned: bool = False
    measure: str = ""
    scorer: str = ""
    revision: str = "1"

    @property
    def limits(self) -> dict[str, float | None]:
        """Its thresholds' names with their defaults; None is off."""
        named = (("min", self.least), ("max", self.most))
        return {f"{end}_{self.name}": value if math.isfinite(value) else None
                for end, value in named if value is not None}  # fmt: skip


# In the order of the paper's filters (section 2.1). least/most of `aesthetic` are the paper's; it gives none for the
# others, so those are ours: docs/thresholds.md says how they were chosen.
METRICS: tuple[Metric, ...] = (
    Metric("nsfw", "NSFW", "probability", most=0.5, low=0, high=1, learned=True),
    Metric("aesthetic", "Aesthetic", "about 1 to 10", least=3.0, learned=True),
    Metric("watermark", "Watermark", "probability", most=0.75, low=0, high=1, learned=True),
    Metric("clarity", "Clarity", "variance of the Laplacian", least=20.0, low=0, log=True,
           measure="lensdata.filters:clarity", scorer="laplacian-variance"),
    Metric("entropy", "Entropy", "bits", least=1.0, low=0, high=8,
           measure="lensdata.filters:entropy", scorer="grey-entropy"),
    Metric("luminance", "Luminance", "mean of HSV's V, 0 to 1", least=0.05, most=0.98, low=0, high=1,
           measure="lensdata.filters:luminance", scorer="mean-value"),
)  # fmt: skip

# Not scored but read from the header; its rule is called `resolution`.
AREA = Metric("area", "Resolution", "area in pixels", least=384 * 384, low=0, log=True)


@dataclass(frozen=True)
class Rule:
    """One rule of a selection: the column it judges, its thresholds, and the command that gives missing results."""

    name: str
    column: str
    remedy: str
    metric: Metric | None = None

    @property
    def limits(self) -> dict[str, float | None]:
        return self.metric.limits if self.metric else {}


def rules() -> tuple[Rule, ...]:
    """All rules in the order in which a funnel shows them: the paper's filters, then deduplication, then what training
    needs besides."""
    score = "`lensdata score`"
    return (
        Rule("readable", "status", score),
        Rule("resolution", "area", score, AREA),
        *(Rule(metric.name, metric.name, score, metric) for metric in METRICS),
        Rule("dedup", "keeper_id", "`lensdata dedup`"),
        # An image whose source has no text is captioned only from its file's name.
        Rule("caption", "caption", "`lensdata caption` (with --from-names where the source has no text)"),
        Rule("bucket", "base", "`lensdata bucket`"),
    )


def thresholds() -> dict[str, float | None]:
    """Every threshold of a selection with its default; None is off."""
    return {name: value for rule in rules() for name, value in rule.limits.items()}


def names(learned: bool | None = None) -> list[str]:
    """The metrics' names; only the learned ones, or only those of formulas, if asked."""
    return [metric.name for metric in METRICS if learned in (None, metric.learned)]


def by_name(name: str) -> Metric:
    """The metric of that name. Raises KeyError."""
    return next((metric for metric in METRICS if metric.name == name), None) or _unknown(name)


def register(metric: Metric) -> None:
    """Add a metric in this process; its columns appear when a catalog is next opened for writing.

    Raises LensError if the name is taken or no plain word.
    """
    if not metric.name.isidentifier() or not metric.name.isascii() or metric.name != metric.name.lower():
        raise LensError(f"{metric.name!r} cannot name a metric; use lower-case letters, digits and _")
    if metric.name in {rule.name for rule in rules()} | {rule.column for rule in rules()}:
        raise LensError(f"there is a metric or rule {metric.name} already")
    if not metric.learned and not (metric.measure and metric.scorer):
        raise LensError(f"the metric {metric.name} needs the function that measures it and its scorer's name")
    set_registry((*METRICS, metric))


def load_own() -> None:
    """Import the modules that the environment variable LENS_METRICS names (separated by commas), which `register`
    metrics of one's own. Raises BadInput for one that cannot be imported."""
    for module in filter(None, (name.strip() for name in os.environ.get(OWN, "").split(","))):
        try:
            import_module(module)
        except ImportError as error:
            raise BadInput(f"{OWN} names {module}, which cannot be imported: {error}") from None


def set_registry(metrics: Sequence[Metric]) -> None:
    """Replace all metrics of this process."""
    global METRICS
    METRICS = tuple(metrics)


def _unknown(name: str) -> Metric:
    raise KeyError(f"there is no metric {name}; there are {', '.join(names())}")
