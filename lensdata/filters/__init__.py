"""The cheap filters: pixels to raw values (paper, section 2.1). Thresholds live in queries, never here.

All of them look at the image reduced by a power of two while its short side stays at least WORKING_SIDE. That
is what a JPEG decoder's scaled output is too, so `catalog.pixels.decode(data, side=WORKING_SIDE)` and a full
decode give nearly the same values (clarity to about 2 %, entropy to 0.1 bit).
"""

from lensdata.filters.metrics import (
    PREPROCESSING,
    WORKING_SIDE,
    Picture,
    cheap,
    clarity,
    entropy,
    luminance,
    measure,
    measured,
    perceptual_hash,
    require,
)

__all__ = [
    "PREPROCESSING", "WORKING_SIDE", "Picture", "cheap", "clarity", "entropy", "luminance", "measure",
    "measured", "perceptual_hash", "require",
]  # fmt: skip
