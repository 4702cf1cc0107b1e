"""Vectors on the disk."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

import numpy as np
import pytest

from lensdata.vectors import load_vectors, save_vectors

ROWS = [(np.arange(4.0), np.zeros((32, 32, 3), np.uint8))] * 3


def test_a_file_that_cannot_be_written_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
    try:
        with pytest.raises(OSError, match="large") as found:
            save_vectors(tmp_path, "p", ROWS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert found.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []
    save_vectors(tmp_path, "p", ROWS)
    vectors, thumbnails = load_vectors(tmp_path, "p", 2)
    assert (vectors.shape, thumbnails.shape) == ((3, 4), (3, 32, 32, 3))
