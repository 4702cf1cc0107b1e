"""Clarity, entropy, luminance and a perceptual hash of an image; a `Picture` lets them share what they look at."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from catalog.bytes.place import printable
from catalog.errors import BadInput, one_line
from catalog.metrics import METRICS, Metric

# The short side, in pixels, at which sharpness is judged. 384 is the side of the smallest square the area
# filter keeps (384^2), so no kept square is judged below this scale; it also covers the inputs of most
# scoring models, and most photographs reach it by a scaled JPEG decode.
WORKING_SIDE = 384
PREPROCESSING = (
    f"box 1/2^k to short side >= {WORKING_SIDE}; BT.601 grey; clarity: box to short side {WORKING_SIDE}"
)

REASON = 300  # characters, of what a function that raised said
_HASH_SIDE, _HASH_BITS_SIDE = 32, 8


class Picture:
    """Pixels, uint8 [H, W, 3], with what several filters look at: the picture reduced by a power of two (`small`) and
    that in grey (`grey`, uint8 [h, w]), each made once. Raises ValueError for other arrays."""

    def __init__(self, rgb: np.ndarray) -> None:
        self.rgb = _checked(rgb)

    @cached_property
    def small(self) -> np.ndarray:
        return _reduced(self.rgb)

    @cached_property
    def grey(self) -> np.ndarray:
        return cv2.cvtColor(self.small, cv2.COLOR_RGB2GRAY)


Pixels = np.ndarray | Picture  # what every filter takes


def clarity(rgb: Pixels) -> float:
    """Variance of the Laplacian of the grey image at short side WORKING_SIDE: >= 0, higher is sharper.

    `rgb` is uint8 [H, W, 3]. Larger images are reduced, smaller ones taken as they are (enlarging blurs). The
    Laplacian is the 4-neighbour one with mirrored borders. Raises ValueError for other arrays.
    """
    grey = _picture(rgb).grey
    height, width = grey.shape
    short = min(height, width)
    if short > WORKING_SIDE:
        size = (max(1, round(width * WORKING_SIDE / short)), max(1, round(height * WORKING_SIDE / short)))
        # Pillow's box and not OpenCV's area filter: the latter shares pixels between neighbours by fractions,
        # which at ratios just above 1 blurs enough to halve the variance (117 -> 64 for a photograph of short
        # side 400); the box gives every pixel to exactly one output (117 -> 116).
        grey = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BOX))
    # 16-bit integers hold the Laplacian of 8-bit pixels exactly, and are half the work of floats
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    return float(deviation[0, 0]) ** 2


def entropy(rgb: Pixels) -> float:
    """Shannon entropy in bits, 0..8, of the 256-bin histogram of the grey image. `rgb` is uint8 [H, W, 3]."""
    counts = cv2.calcHist([_picture(rgb).grey], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    shares = counts[counts > 0] / counts.sum()
    return min(max(0.0, -float((shares * np.log2(shares)).sum())), 8.0)


def luminance(rgb: Pixels) -> float:
    """Mean of max(R, G, B) / 255, the V of HSV, in 0..1. `rgb` is uint8 [H, W, 3]."""
    red, green, blue = cv2.split(_picture(rgb).small)
    value = cv2.max(cv2.max(red, green), blue)
    return cv2.sumElems(value)[0] / (255 * value.size)  # exact up to one division, so white is 1 and no more


def perceptual_hash(rgb: Pixels) -> int:
    """A 64-bit DCT hash: near-identical pictures differ in few bits. `rgb` is uint8 [H, W, 3].

    The 8x8 lowest frequencies of the 32x32 grey image, each against the median of all but the mean, most
    significant bit first (pHash, Zauner 2010). Coefficients are rounded: a flat image has no noise bits.
    """
    grey = _picture(rgb).grey
    small = cv2.resize(grey, (_HASH_SIDE, _HASH_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    lowest = np.rint(cv2.dct(small)[:_HASH_BITS_SIDE, :_HASH_BITS_SIDE]).ravel()
    bits = lowest > np.median(lowest[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def measure(metric: Metric, picture: Picture) -> float:
    """The raw value of a metric of the registry that is a formula. Raises what its function raises."""
    return float(_function(metric.measure)(picture))


def measured(metric: Metric, picture: Picture) -> float | str:
    """As `measure`; where its function raises, the reason, since a metric of one's own may have faults that only some
    images meet. Raises BadInput for a function that cannot be imported."""
    function = _function(metric.measure)
    try:
        return float(function(picture))
    except MemoryError:
        raise  # the machine's fault and not the image's: it is not recorded
    except Exception as error:
        return failure(error, metric.measure)


def require(metrics: Iterable[Metric]) -> None:
    """Raise BadInput for the first metric whose function cannot be imported."""
    for metric in metrics:
        if not metric.learned:
            _function(metric.measure)


def failure(error: Exception, function: str) -> str:
    """What went wrong in `function` and in which line of which file, on one line that any column holds."""
    inner = traceback.extract_tb(error.__traceback__)[-1]
    text = printable(one_line(error))
    shown = text if len(text) <= REASON else f"{text[: REASON - 1]}…"
    return f"{function} raised {type(error).__name__}: {shown} ({Path(inner.filename).name}, line {inner.lineno})"


def cheap(rgb: Pixels) -> dict[str, Any]:
    """Every metric of the registry that is a formula, and `phash` (int), in one pass over the pixels."""
    picture = _picture(rgb)
    values = {metric.name: measure(metric, picture) for metric in METRICS if not metric.learned}
    return {**values, "phash": perceptual_hash(picture)}


@cache
def _function(path: str) -> Callable[[Picture], float]:
    """What "module:name" names. Raises BadInput."""
    module, _, name = path.partition(":")
    try:
        found: Callable[[Picture], float] = getattr(import_module(module), name)
    except Exception as error:  # the module is the user's
        raise BadInput(
            f"the registry of metrics names {path}, which cannot be imported: {one_line(error)}"
        ) from error
    if not callable(found):
        raise BadInput(f"the registry of metrics names {path}, which is no function")
    return found


def _picture(rgb: Pixels) -> Picture:
    return rgb if isinstance(rgb, Picture) else Picture(rgb)


def _checked(rgb: np.ndarray) -> np.ndarray:
    array = isinstance(rgb, np.ndarray)
    if not array or rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        what = f"{rgb.dtype} {list(rgb.shape)}" if array else type(rgb).__name__
        raise ValueError(f"a filter takes a non-empty uint8 array [H, W, 3], not {what}")
    return np.ascontiguousarray(rgb)


def _reduced(rgb: np.ndarray) -> np.ndarray:
    """Box-averaged by the largest 2^k with the short side still >= WORKING_SIDE; odd last rows are cut."""
    height, width = rgb.shape[:2]
    factor = 1
    while min(height, width) // (2 * factor) >= WORKING_SIDE:
        factor *= 2
    if factor == 1:
        return rgb
    height, width = height // factor, width // factor
    return cv2.resize(rgb[: height * factor, : width * factor], (width, height), interpolation=cv2.INTER_AREA)
