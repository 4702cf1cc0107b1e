"""Near-duplicates: found, never chained, kept in order of rank."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import BadInput
from lensdata.dedup import cells, leaders, near, near_duplicates
from lensdata.dedup.leaders import Agree
from lensdata.dedup.rows import Rows
from lensdata.dedup.tree import Cells


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


def by_all_pairs(
    rows: np.ndarray, threshold: float, agree: Agree | None = None
) -> tuple[np.ndarray, np.ndarray, bool]:
    """The rule, pair by pair: keepers, similarities, and whether rounding may decide a verdict."""
    normal = rows.astype(np.float64)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    keeper, similarity, close = np.arange(len(rows)), np.ones(len(rows)), False
    for j in range(1, len(rows)):
        before = np.flatnonzero(keeper[:j] == np.arange(j))
        cosine = normal[before] @ normal[j]
        close |= bool((abs(cosine - threshold) < 1e-6).any())
        near = cosine > threshold
        if agree is not None:
            near &= agree(before, np.full(len(before), j))
        if near.any():
            best = np.argmax(np.where(near, cosine, -1))
            keeper[j], similarity[j] = before[best], cosine[best]
    return keeper, similarity, close


def clustered(rng: np.random.Generator, count: int, width: int) -> np.ndarray:
    """Loose and tight clusters, chains among them, and exact copies, in random order of rank."""
    centres = unit(max(2, count // 12), width, int(rng.integers(2**31)))
    tightness = rng.choice([0.9, 0.97, 0.99, 0.9999], len(centres))
    of = np.minimum(rng.geometric(0.15, count) - 1, len(centres) - 1)
    rows = np.stack([turned(centres[c], rng.uniform(tightness[c], 1), rng) for c in of])
    copies = rng.random(count) < 0.2
    rows[copies] = rows[rng.integers(0, count, copies.sum())]
    return rows.astype(np.float32)


@pytest.mark.parametrize("scattered", [False, True], ids=["one cell", "many cells"])
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 250), st.floats(0.8, 0.99), st.sampled_from([None, 3, 5]))
def test_against_all_pairs(
    scattered: bool, seed: int, count: int, threshold: float, kinds: int | None
) -> None:
    rng = np.random.default_rng(seed)
    rows = clustered(rng, count, 8)
    kind = rng.integers(0, kinds or 1, count)

    def agree(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        assert (i < j).all()
        return abs(kind[i] - kind[j]) < 2  # no equivalence, as real vetoes are not

    expected, cosine, close = by_all_pairs(rows, threshold, agree if kinds else None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaders, "BLOCK_ROWS", 16)
        patch.setattr(leaders, "LEADER_ROWS", 5)
        patch.setattr(leaders, "AGREE_PAIRS", 7)
        if scattered:
            patch.setattr(near, "EXACT_ROWS", 0)
            patch.setattr(
                near, "divide", lambda rows, *_, **__: (Cells.of(covering(rng, len(rows))), None, None)
            )
        keeper, similarity = near_duplicates(rows, threshold, agree if kinds else None)
    if not close:
        assert (keeper == np.arange(count)).tolist() == (expected == np.arange(count)).tolist()
        assert np.allclose(similarity, cosine, atol=1e-5)


def covering(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Random cells in which every pair of rows meets at least once: all pairs of a few groups."""
    groups = np.array_split(rng.permutation(count), 5)
    return [np.sort(np.concatenate([a, b])) for n, a in enumerate(groups) for b in groups[n + 1 :]]


@pytest.mark.parametrize("threshold", [0.97, 0.985])
def test_cells_with_wide_margins_lose_no_pair(monkeypatch, threshold: float) -> None:
    """Within half the distance of a pair of every border, in all directions: guaranteed, not measured."""
    monkeypatch.setattr(cells, "CELL_ROWS", 60)
    monkeypatch.setattr(cells, "COPIES", 1e9)
    monkeypatch.setattr(cells, "MOST_COPIES", 64)
    monkeypatch.setattr(cells, "FEW_LEADERS", 20)
    monkeypatch.setattr(near, "EXACT_ROWS", 100)
    rows = clustered(np.random.default_rng(5), 1500, 12)
    assert len(cells.divide(Rows(rows), np.arange(1500), threshold)[0]) > 4
    expected, cosine, _ = by_all_pairs(rows, threshold)
    keeper, similarity = near_duplicates(rows, threshold)
    assert ((keeper == np.arange(1500)) == (expected == np.arange(1500))).all()
    assert np.allclose(similarity, cosine, atol=1e-5)


def planted(count: int, pairs: int, width: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """`count` rows in 100 topics, then near copies of some of them; and which."""
    rng = np.random.default_rng(2)
    rows = unit(100, width, 3)[rng.integers(0, 100, count)] + 0.7 * unit(count, width, 4)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    source = rng.choice(count, pairs, replace=False)
    cosines = rng.uniform(0.9855, 0.999, pairs)
    copies = [turned(rows[i], cosine, rng) for i, cosine in zip(source, cosines, strict=True)]
    return np.concatenate([rows, copies]).astype(dtype), source


def test_a_memory_map_of_halves_is_searched_in_cells(tmp_path: Path) -> None:
    rows, source = planted(20_000, 1000, 96, np.float16)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    keeper, similarity = near_duplicates(mapped)
    assert (keeper[20_000:] == source).mean() >= 0.999
    assert (keeper[:20_000] == np.arange(20_000)).all()
    assert (similarity[20_000:] > 0.985).all()
    again, _ = near_duplicates(mapped)
    assert (again == keeper).all()


def test_many_copies_of_one_picture_cost_rows_not_pairs(monkeypatch) -> None:
    monkeypatch.setattr(near, "EXACT_ROWS", 1000)
    rng = np.random.default_rng(6)
    centre = unit(1, 64)[0]
    copies = centre + 0.004 * rng.normal(size=(30_000, 64))
    others = unit(3000, 64, 7)
    rows = np.concatenate([copies, others])[order := rng.permutation(33_000)].astype(np.float32)
    seen = 0

    def agree(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        nonlocal seen
        seen += len(i)
        return np.ones(len(i), dtype=bool)

    keeper, _ = near_duplicates(rows, agree=agree)
    is_copy = order < 30_000
    assert len(set(keeper[is_copy])) == 1
    assert (keeper[~is_copy] == np.flatnonzero(~is_copy)).all()
    assert seen < 40 * len(rows)


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


def test_every_half_is_widened_exactly() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = np.stack([every[np.isfinite(every)]] * 2, axis=1)
    scale = np.random.default_rng(8).uniform(1e-6, 10, len(halves)).astype(np.float32)
    rows = Rows(halves, scale=scale)
    expected = halves.astype(np.float32) * scale[:, None]
    assert np.array_equal(rows.take(np.arange(len(halves))), expected)
    for bad in every[~np.isfinite(every)][::97]:
        with pytest.raises(BadInput, match="row 1 of the vectors"):
            Rows(np.array([[1, 1], [1, bad]], dtype=np.float16))
