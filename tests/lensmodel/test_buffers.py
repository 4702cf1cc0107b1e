"""Memory that is used again, but never while somebody can see it."""

import sys

import numpy as np
import torch

from lensmodel.data import buffers as module
from lensmodel.data.buffers import Buffers


def test_what_nobody_holds_is_used_again():
    buffers = Buffers(2)
    first = buffers.empty((4, 3, 8, 8))
    where = first.ctypes.data
    first[:] = 7
    del first
    again = buffers.empty((2, 3, 8, 16))
    assert again.ctypes.data == where and again.shape == (2, 3, 8, 16) and again.flags.c_contiguous


def test_views_and_tensors_keep_their_values():
    buffers, held = Buffers(3), []
    for n in range(12):
        array = buffers.empty((4, 3, 8, 8 + n % 3))
        array[:] = n
        held.append(
            (n, [array, array[1, 0, 2:], torch.from_numpy(array), torch.from_numpy(array)[0].view(-1)][n % 4])
        )
        del array
    assert all((part == n).all() for n, part in held)


def test_memory_does_not_grow_with_the_number_of_shapes():
    buffers = Buffers(2)
    owners = set()
    for side in (9, 8, 7, 9, 6, 5, 9) * 3:
        owners.add(buffers.empty((side, side)).ctypes.data)
    assert len(owners) == 1 and buffers.empty((9, 9)).dtype == np.float32


def test_a_python_that_counts_fewer_references_frees_nothing_that_is_held(monkeypatch):
    """Newer ones do not count what a loop holds; taken for free at a fixed count, a held buffer would be written to."""
    real = sys.getrefcount
    monkeypatch.setattr(sys, "getrefcount", lambda array: real(array) - 2)
    monkeypatch.setattr(module, "_UNUSED", module._references())
    test_views_and_tensors_keep_their_values()
    test_what_nobody_holds_is_used_again()
