"""Near-duplicates: found, never chained, kept in order of rank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import BadInput
from lensdata.dedup import near as near_module
from lensdata.dedup import near_duplicates


def turned(vector: np.ndarray, cosine: float, rng: np.random.Generator) -> np.ndarray:
    """A unit vector at a given cosine to a unit vector."""
    other = rng.normal(size=vector.shape)
    other -= other @ vector * vector
    other /= np.linalg.norm(other)
    return cosine * vector + np.sqrt(1 - cosine**2) * other


def unit(count: int, width: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_planted_pairs_are_found_and_others_left_alone(dtype) -> None:
    rng = np.random.default_rng(1)
    rows = unit(200, 128)
    near = np.stack([turned(rows[i], 0.99, rng) for i in range(50)])
    far = np.stack([turned(rows[i], 0.98, rng) for i in range(50, 100)])
    keeper, similarity = near_duplicates(np.concatenate([rows, near, far]).astype(dtype))
    assert keeper[:200].tolist() == list(range(200))
    assert keeper[200:250].tolist() == list(range(50))
    assert keeper[250:].tolist() == list(range(250, 300))
    assert np.allclose(similarity[200:250], 0.99, atol=1e-3)
    assert (similarity[:200] == 1).all()
    assert (keeper.dtype, similarity.dtype) == (np.int64, np.float32)


def test_a_chain_is_cut() -> None:
    def at(degrees: float) -> list[float]:
        return [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]

    keeper, _ = near_duplicates(np.array([at(0), at(9), at(18)]))  # neighbours at 0.9877, ends at 0.951
    assert keeper.tolist() == [0, 0, 2]


def test_a_member_goes_to_its_nearest_keeper() -> None:
    def at(degrees: float) -> list[float]:
        return [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]

    keeper, _ = near_duplicates(np.array([at(0), at(11), at(8)]))
    assert keeper.tolist() == [0, 1, 1]


def test_a_veto_is_heeded() -> None:
    rows = np.ones((3, 4))
    keeper, _ = near_duplicates(rows, agree=lambda i, j: j != 2)
    assert keeper.tolist() == [0, 0, 2]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.floats(0.8, 0.99))
def test_against_brute_force(seed: int, count: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    centres = unit(5, 8, seed)
    rows = np.stack(
        [turned(centres[rng.integers(5)], rng.uniform(0.9, 0.9999), rng) for _ in range(count)]
    ).astype(np.float32)
    keeper, similarity = near_duplicates(rows, threshold)
    normal = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    keepers: list[int] = []
    for j in range(count):
        cosines = [float(normal[i] @ normal[j]) for i in keepers]
        if any(abs(c - threshold) < 1e-5 for c in cosines):
            return  # rounding decides
        best = int(np.argmax(cosines)) if cosines else -1
        if cosines and cosines[best] > threshold:
            assert keeper[j] != j
            assert similarity[j] == pytest.approx(cosines[best], abs=1e-5)
        else:
            keepers.append(j)
            assert keeper[j] == j


def test_the_approximate_search_misses_little(monkeypatch) -> None:
    monkeypatch.setattr(near_module, "EXACT_ROWS", 100)
    rng = np.random.default_rng(2)
    rows = unit(3000, 64)
    near = np.stack([turned(rows[i], 0.99, rng) for i in range(300)])
    keeper, similarity = near_duplicates(np.concatenate([rows, near]))
    found = keeper[3000:] == np.arange(300)
    assert found.mean() > 0.97
    assert (similarity[keeper != np.arange(3300)] > 0.985).all()


@pytest.mark.parametrize(
    "rows",
    [np.zeros(3), np.array([[1.0, np.nan]]), np.array([[0.0, 0.0]]), np.array([[np.inf, 1.0]])],
    ids=["one dimension", "NaN", "zero", "infinite"],
)
def test_bad_vectors_are_refused(rows: np.ndarray) -> None:
    with pytest.raises(BadInput):
        near_duplicates(rows)


@pytest.mark.parametrize("threshold", [0, 1, 1.5, -1, float("nan")])
def test_bad_thresholds_are_refused(threshold: float) -> None:
    with pytest.raises(BadInput):
        near_duplicates(np.ones((2, 2)), threshold)


def test_no_rows_and_one_row() -> None:
    keeper, _ = near_duplicates(np.empty((0, 4), dtype=np.float32))
    assert len(keeper) == 0
    keeper, _ = near_duplicates(np.ones((1, 4), dtype=np.float32))
    assert keeper.tolist() == [0]
