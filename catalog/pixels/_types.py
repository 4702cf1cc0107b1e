"""What is said of an image: its status, its header, its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

OK = "ok"
OK_WARNINGS = "ok-warnings"
TRUNCATED = "truncated"
CORRUPT = "corrupt"
UNSUPPORTED = "unsupported"
TOO_LARGE = "too-large"
TIMEOUT = "timeout"  # set by the worker that watches the clock
MISSING = "missing"  # set by the caller when the bytes cannot be read
FAILURES = (TRUNCATED, CORRUPT, UNSUPPORTED, TOO_LARGE, TIMEOUT, MISSING)


class Damaged(Exception):
    """Inside this package: the bytes give no pixels. `status` is one of FAILURES."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True, slots=True)
class Header:
    """What the header says. Sizes are in pixels after EXIF orientation, None where it gave none."""

    format: str | None
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    status: str = OK
    reason: str | None = None
    orientation: int = 1  # EXIF: 1 to 8


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image as sRGB pixels, or the reason there are none.

    `rgb` is uint8 [H, W, 3], None for a failure; it may be smaller than `width` x `height`, the oriented
    native size, when a scaled decode was asked for. `alpha` tells whether any pixel was see-through.
    """

    rgb: np.ndarray | None
    width: int | None
    height: int | None
    format: str | None
    frames: int | None
    alpha: bool
    status: str
    reason: str | None

    @property
    def ok(self) -> bool:
        return self.rgb is not None
