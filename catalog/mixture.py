"""Mixtures: how often training sees the images of each kind of source.

One number a kind is enough, its repeats: how many times an epoch shows each of its images, on average over the
epochs. 1 is once, 2 is twice, 0.5 is one half of them in one epoch and the other half in the next. It is a rule
about each image alone, so it means the same when the data set grows; shares of the stream follow from it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from fractions import Fraction

from catalog.errors import BadInput

MOST = 1000.0


def checked(mixture: Mapping[str, float]) -> dict[str, float]:
    """`mixture`, source -> repeats, as floats. Raises BadInput unless each is above 0 and at most 1000."""
    for source, repeats in mixture.items():
        number = repeats if isinstance(repeats, int | float) and not isinstance(repeats, bool) else math.nan
        if not 0 < number <= MOST:
            raise BadInput(
                f"the weight of source {source} must be a number above 0 and at most {MOST:g}, not {repeats}; "
                "leave a source out by not naming it"
            )
    return {source: float(repeats) for source, repeats in mixture.items()}


def in_force(mixture: Mapping[str, float], sources: Collection[str]) -> dict[str, float]:
    """The repeats of each of `sources`; {} if all are seen once an epoch, which is what no mixture means."""
    found = {source: float(mixture.get(source, 1)) for source in sorted(sources)}
    return {} if all(repeats == 1 for repeats in found.values()) else found


def taken(images: int, repeats: float, epochs: int) -> int:
    """How many samples the first `epochs` epochs take from the `images` of one bucket and source.

    Exact for the decimal that `repeats` was written as, so 0.29 of 100 is 29. One epoch takes at least
    `taken(images, repeats, 1)`, and at most one more.
    """
    return int(Fraction(str(repeats)) * images * epochs)
