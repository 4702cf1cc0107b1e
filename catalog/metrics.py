"""The registry of metrics: what is measured of an image, in which unit, and what a selection asks of it by default.

A metric is named here and nowhere else. Its columns in `scores` and `trainable`, its options (`score --only NAME`,
`build-shards --min-NAME`), its rule in `judged`, `funnel` and `why`, its section of the report and its entry in a
shard's JSON follow from its row. To add one, add a row (or call `register`), and for a formula the function it names.
"""

from __future__ import annotations

import math
import os
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from numbers import Real
from pathlib import Path
from typing import Any

from catalog.errors import BadInput, LensError, one_line

OWN = "LENS_METRICS"
LIGHT = "light"  # the tier of the small models that packages bring (lensdata.models)

OFF_BELOW, OFF_ABOVE = (
    -math.inf,
    math.inf,
)  # a default threshold that lets everything pass: an option, off unless given


@dataclass(frozen=True)
class Metric:
    """One measured value of an image.

    `least` and `most` are the default thresholds `min_NAME` and `max_NAME`; None: there is no such threshold.
    `light_least` and `light_most` are the defaults instead where the scorer in use is one of the light tier.
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
    light_least: float | None = None
    light_most: float | None = None

    @property
    def limits(self) -> dict[str, float | None]:
        """Its thresholds' names with their defaults; None is off."""
        return self.limits_of(None)

    def limits_of(self, tier: str | None) -> dict[str, float | None]:
        """As `limits`, where the scorer in use is of this tier."""
        found: dict[str, float | None] = {}
        for end, value, light in (("min", self.least, self.light_least), ("max", self.most, self.light_most)):
            if value is not None:
                default = light if tier == LIGHT and light is not None else value
                kept = default if math.isfinite(default) else None
                found[f"{end}_{self.name}"] = DEFAULTS.get(f"{end}_{self.name}", kept)
        return found


DEFAULTS: dict[str, float | None] = {}  # thresholds that `set_defaults` has given other defaults

# In the order of the paper's filters (section 2.1). least/most of `aesthetic` are the paper's; it gives none for the
# others, so those are ours: docs/thresholds.md says how they were chosen. The light tier's drop at most one clean
# photograph in fifty each, by the measurement in docs/light-models.md; its watermark detector cannot, and is off.
METRICS: tuple[Metric, ...] = (
    Metric("nsfw", "NSFW", "probability", most=0.5, low=0, high=1, learned=True),
    Metric("aesthetic", "Aesthetic", "about 1 to 10", least=3.0, light_least=2.5, learned=True),
    Metric("watermark", "Watermark", "probability", most=0.75, light_most=OFF_ABOVE, low=0, high=1, learned=True),
    Metric("clarity", "Clarity", "variance of the Laplacian", least=2.0, low=0, log=True,
           measure="lensdata.filters:clarity", scorer="laplacian-variance"),
    Metric("entropy", "Entropy", "bits", least=1.0, low=0, high=8,
           measure="lensdata.filters:entropy", scorer="grey-entropy"),
    Metric("luminance", "Luminance", "mean of HSV's V, 0 to 1", least=0.05, most=0.98, low=0, high=1,
           measure="lensdata.filters:luminance", scorer="mean-value"),
)  # fmt: skip

# Not scored but read from the header, by the macro NAME_of(width, height) of sql/views. The rule of AREA is called
# `resolution`. Beyond 2:1 the crop to a bucket keeps 2 / elongation of the picture: at the default half of it.
AREA = Metric("area", "Resolution", "area in pixels", least=384 * 384, low=0, log=True)
ELONGATION = Metric("elongation", "Elongation", "long side over short side", most=4.0, low=1, log=True)
HEADER = (AREA, ELONGATION)


@dataclass(frozen=True)
class Rule:
    """One rule of a selection: the column it judges, its thresholds, and the command that gives missing results."""

    name: str
    column: str
    remedy: str
    metric: Metric | None = None

    @property
    def limits(self) -> dict[str, float | None]:
        return self.limits_of(None)

    def limits_of(self, tier: str | None) -> dict[str, float | None]:
        return self.metric.limits_of(tier) if self.metric else {}


def rules() -> tuple[Rule, ...]:
    """All rules in the order in which a funnel shows them: the paper's filters, then deduplication, then what training
    needs besides."""
    score = "`lensdata score`"
    return (
        Rule("readable", "status", score),
        Rule("resolution", "area", score, AREA),
        Rule("elongation", "elongation", score, ELONGATION),
        *(Rule(metric.name, metric.name, score, metric) for metric in METRICS),
        Rule("dedup", "keeper_id", "`lensdata dedup`"),
        # An image whose source has no text is captioned only from its file's name.
        Rule("caption", "caption", "`lensdata caption` (with --from-names where the source has no text)"),
        Rule("bucket", "base", "`lensdata bucket`"),
    )


def thresholds() -> dict[str, float | None]:
    """Every threshold of a selection with its default; None is off. A catalog's own, by the tiers of its scorers, stand
    in its view `thresholds`."""
    return {name: value for rule in rules() for name, value in rule.limits.items()}


def names(learned: bool | None = None) -> list[str]:
    """The metrics' names; only the learned ones, or only those of formulas, if asked."""
    return [metric.name for metric in METRICS if learned in (None, metric.learned)]


def by_name(name: str) -> Metric:
    """The metric of that name. Raises KeyError."""
    return next((metric for metric in METRICS if metric.name == name), None) or _unknown(name)


def register(metric: Metric) -> None:
    """Add a metric in this process; its columns appear when a catalog is next opened for writing.

    Raises LensError if the name is taken or no plain word, or a threshold is no number.
    """
    if not isinstance(metric, Metric):
        raise LensError(f"a metric is registered as Metric(...), not as {metric!r}")
    for what in ("name", "title", "unit", "measure", "scorer", "revision"):
        if not isinstance(getattr(metric, what), str):
            raise LensError(f"the {what} of a metric is a text, not {getattr(metric, what)!r}")
    for what in ("least", "most", "low", "high", "light_least", "light_most"):
        _check_number(f"{what} of the metric {metric.name}", getattr(metric, what), endless=True)
    if not metric.name.isidentifier() or not metric.name.isascii() or metric.name != metric.name.lower():
        raise LensError(f"{metric.name!r} cannot name a metric; use lower-case letters, digits and _")
    if metric.name in {rule.name for rule in rules()} | {rule.column for rule in rules()}:
        raise LensError(f"there is a metric or rule {metric.name} already")
    if not metric.learned and not (metric.measure and metric.scorer):
        raise LensError(f"the metric {metric.name} needs the function that measures it and its scorer's name")
    set_registry((*METRICS, metric))


def set_defaults(**limits: float | None) -> None:
    """Give thresholds other defaults in this process, whatever the tier of the scorers; None is off. Raises LensError
    for a threshold that there is not, and for what is no number."""
    unknown = limits.keys() - thresholds().keys()
    if unknown:
        raise LensError(f"there is no threshold {min(unknown)}; there are {', '.join(thresholds())}")
    for name, value in limits.items():
        _check_number(f"the threshold {name}", value)
    DEFAULTS.update(limits)


def _check_number(what: str, value: Any, endless: bool = False) -> None:
    if value is None:
        return
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or math.isnan(value) or (math.isinf(value) and not endless):
        raise LensError(f"{what} is a number or None, not {value!r}")


def load_own() -> None:
    """Import the modules that the environment variable LENS_METRICS names (separated by commas), which `register`
    metrics of one's own or `set_defaults`. Raises BadInput for one that cannot be imported, whatever it raises."""
    for module in filter(None, (name.strip() for name in os.environ.get(OWN, "").split(","))):
        try:
            import_module(module)
        except Exception as error:  # the module is the user's
            raise BadInput(f"{OWN} names {module}, which cannot be imported: {_mistake(error)}") from error


def _mistake(error: Exception) -> str:
    """What is wrong in a module, and in which line of which file."""
    if isinstance(error, SyntaxError):
        return f"{error.msg} ({error.filename}, line {error.lineno})"
    told = isinstance(error, ImportError | LensError)
    text = one_line(error) if told else f"{type(error).__name__}: {one_line(error)}"
    ours = (__file__, "<frozen importlib")  # what stands between the module and the mistake
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(ours) and Path(frame.filename).parent.name != "importlib"
    ]
    return f"{text} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else text


def set_registry(metrics: Sequence[Metric]) -> None:
    """Replace all metrics of this process."""
    global METRICS
    METRICS = tuple(metrics)


def _unknown(name: str) -> Metric:
    raise KeyError(f"there is no metric {name}; there are {', '.join(names())}")
