"""The search that goes on from the last finds what a full one finds, whatever was added, removed or ranked anew."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lensdata.dedup import cells, leaders, near, sharded, state
from lensdata.dedup import compare as module
from lensdata.dedup.compare import compare
from lensdata.dedup.gather import DamagedParts
from lensdata.vectors import save_vectors
from tests.lensdata.dedup.test_near import by_all_pairs, clustered, planted, unit

KEY, THRESHOLD = "rules model", 0.97


def store(folder: Path, vectors: np.ndarray, parts: int = 3, kinds: np.ndarray | None = None) -> pl.DataFrame:
    """Part files as scoring writes them; returns image_id, part and row of each vector, in random order of parts."""
    part = np.random.default_rng(0).integers(0, parts, len(vectors))
    row = np.zeros(len(vectors), dtype=np.int64)
    grey = np.zeros(len(vectors), dtype=np.uint8) if kinds is None else (kinds * 100).astype(np.uint8)
    for n in range(parts):
        mine = np.flatnonzero(part == n)
        row[mine] = np.arange(len(mine))
        rows = [(vectors[i], np.full((32, 32, 3), grey[i], np.uint8)) for i in mine]
        if rows:
            save_vectors(folder, f"part-{n}", rows)
    names = [f"part-{n}" for n in part]
    ids = np.arange(1, len(vectors) + 1)
    return pl.DataFrame({"image_id": ids, "part": names, "row": row})


def ranked(stored: pl.DataFrame, present: np.ndarray, value: np.ndarray) -> pl.DataFrame:
    """What `compare` takes: the rows present, the highest value first, then the oldest id."""
    return (
        stored.with_columns(value=pl.Series(value), width=400, height=500, phash=pl.lit(None, pl.UInt64))
        .filter(pl.Series(present))
        .sort(["value", "image_id"], descending=[True, False])
        .with_columns(mark=pl.struct("image_id", "value").hash(seed=0))
    )


def full(folder: Path, chosen: pl.DataFrame, threshold: float = THRESHOLD) -> tuple[np.ndarray, np.ndarray]:
    """As if nothing were known; what is known stays."""
    kept = (folder / state.FILE).read_bytes()
    (folder / state.FILE).unlink()
    found = compare(folder, chosen, KEY, threshold)
    (folder / state.FILE).write_bytes(kept)
    return found


def same(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> bool:
    """To the bit."""
    return np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1])


@pytest.mark.parametrize("scattered", [False, True], ids=["one cell", "many cells"])
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.sampled_from(["add", "remove", "rescore", "all"]), max_size=6))
def test_any_sequence_of_changes(
    tmp_path_factory: pytest.TempPathFactory, scattered: bool, seed: int, steps: list[str]
) -> None:
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("vectors")
    count = 260 if scattered else int(rng.integers(2, 120))
    vectors = clustered(rng, count, 8)
    stored = store(folder, vectors, kinds=rng.integers(0, 2, count))
    present, value = rng.random(count) < 0.6, rng.integers(0, 20, count)
    present[0] = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_ADDED", 1e9)
        patch.setattr(leaders, "BLOCK_ROWS", 16)
        patch.setattr(leaders, "LEADER_ROWS", 5)
        patch.setattr(leaders, "WHOLE_ROWS", 30)
        if scattered:  # into cells whose margins lose no pair
            patch.setattr(cells, "CELL_ROWS", 20)
            patch.setattr(cells, "COPIES", 1e9)
            patch.setattr(cells, "MOST_COPIES", 64)
            patch.setattr(cells, "FEW_LEADERS", 20)
            patch.setattr(near, "EXACT_ROWS", 10)
            patch.setattr(sharded, "PLOT_ROWS", 100)
            patch.setattr(sharded, "TASK_ROWS", 50)
        compare(folder, ranked(stored, present, value), KEY, THRESHOLD)
        built = loaded(folder).built
        for step in steps:
            some = rng.random(count) < rng.choice([0.02, 0.2, 0.9])
            if step in ("add", "all"):
                present |= some
            if step in ("remove", "all"):
                present &= ~some | (np.arange(count) == 0)
            if step in ("rescore", "all"):
                value = np.where(rng.random(count) < 0.1, rng.integers(0, 20, count), value)
            chosen = ranked(stored, present, value)
            found = compare(folder, chosen, KEY, THRESHOLD)
            if scattered and len(chosen) <= 10:
                return
            assert loaded(folder).built == built  # it did go on
            assert same(found, full(folder, chosen))
            pairs = loaded(folder).pairs
            assert loaded(folder).kept[pairs.left].all() and (pairs.left < pairs.right).all()


def loaded(folder: Path) -> state.State:
    found = state.load(folder, KEY)
    assert not isinstance(found, str), found
    return found


def test_a_new_row_takes_over_and_frees_what_it_does_not_cover(tmp_path: Path) -> None:
    def at(degrees: float) -> list[float]:
        return [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]

    stored = store(tmp_path, np.array([at(0), at(9), at(-9), at(10)]), parts=1)
    value = np.array([2, 1, 1, 3])
    present = np.array([True, True, True, False])
    keeper, _ = compare(tmp_path, ranked(stored, present, value), KEY, 0.985)
    assert keeper.tolist() == [0, 0, 0]
    present[3] = True  # now first: covers 0 and 9 degrees, and leaves -9 to itself
    chosen = ranked(stored, present, value)
    keeper, similarity = compare(tmp_path, chosen, KEY, 0.985)
    assert chosen["image_id"].to_list() == [4, 1, 2, 3]
    assert keeper.tolist() == [0, 1, 0, 1]
    assert similarity[2] == pytest.approx(np.cos(np.radians(1)), abs=1e-3)


def test_work_is_in_proportion_to_what_is_new(tmp_path: Path, monkeypatch) -> None:
    stored = store(tmp_path, unit(3000, 32), parts=30)
    present, value = np.arange(3000) < 2995, np.zeros(3000)
    monkeypatch.setattr(near, "EXACT_ROWS", 100)
    monkeypatch.setattr(cells, "CELL_ROWS", 60)
    compare(tmp_path, ranked(stored, present, value), KEY, THRESHOLD)
    products, fetched = 0, 0
    between, fetch = leaders.Search._between, module.Gathered.fetch

    def counted(self, members, left, a, right, b):
        nonlocal products
        products += len(left) * len(right)
        return between(self, members, left, a, right, b)

    def counted_fetch(self, ids):
        nonlocal fetched
        fetch(self, ids)
        fetched = self._rows

    monkeypatch.setattr(leaders.Search, "_between", counted)
    monkeypatch.setattr(module.Gathered, "fetch", counted_fetch)
    compare(tmp_path, ranked(stored, np.ones(3000, dtype=bool), value), KEY, THRESHOLD)
    assert 0 < products < 5 * 4 * 1000  # five rows, in up to four cells each
    assert 0 < fetched < 2000
    products = fetched = 0
    compare(tmp_path, ranked(stored, np.arange(3000) != 7, value), KEY, THRESHOLD)
    assert products == fetched == 0  # a row that covered nothing has gone


def test_a_crowd_that_loses_its_keeper_costs_rows_not_pairs(tmp_path: Path, monkeypatch) -> None:
    rng = np.random.default_rng(3)
    vectors = unit(1, 64)[0] + 0.004 * rng.normal(size=(4000, 64))
    stored = store(tmp_path, vectors)
    value = np.zeros(4000)
    keeper, _ = compare(tmp_path, ranked(stored, np.ones(4000, dtype=bool), value), KEY, 0.985)
    assert not keeper.any()
    sizes = []
    monkeypatch.setattr(
        leaders.Pairs, "join", classmethod(lambda cls, parts, join=leaders.Pairs.join: measured(join(parts), sizes))
    )  # fmt: skip
    keeper, _ = compare(tmp_path, ranked(stored, np.arange(4000) > 0, value), KEY, 0.985)
    assert not keeper.any()
    assert max(sizes) < 10 * 4000


def measured(pairs: leaders.Pairs, sizes: list[int]) -> leaders.Pairs:
    sizes.append(len(pairs))
    return pairs


def grown(folder: Path, count: int = 1000) -> tuple[pl.DataFrame, np.ndarray]:
    stored = store(folder, clustered(np.random.default_rng(4), count, 16))
    compare(folder, ranked(stored, np.arange(count) < count - 10, np.zeros(count)), KEY, THRESHOLD)
    return stored, np.zeros(count)


def test_much_that_is_new_is_a_new_search(tmp_path: Path, capsys) -> None:
    stored, value = grown(tmp_path)
    everything = np.ones(1000, dtype=bool)
    compare(tmp_path, ranked(stored, everything, value), KEY, THRESHOLD)
    assert (loaded(tmp_path).built, loaded(tmp_path).added) == (990, 10)
    value[:200] = 1
    compare(tmp_path, ranked(stored, everything, value), KEY, THRESHOLD)
    assert (loaded(tmp_path).built, loaded(tmp_path).added) == (990, 210)
    assert not capsys.readouterr().err
    value[:200] = 2  # what was added before counts, too
    compare(tmp_path, ranked(stored, everything, value), KEY, THRESHOLD)
    assert (loaded(tmp_path).built, loaded(tmp_path).added) == (1000, 0)
    assert "comparing all 1000 images, since 410 were added or changed" in capsys.readouterr().err


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def mixed_up(path: Path) -> None:
    with np.load(path) as file:
        arrays = dict(file)
    del arrays["counts"]
    np.savez(path, **arrays)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("counts.npy", b"none of NumPy's")


@pytest.mark.parametrize("harm", [halved, flipped, emptied, mixed_up, Path.unlink])
def test_a_state_that_cannot_be_read_costs_a_full_search_and_no_more(tmp_path: Path, harm, capsys) -> None:
    stored, value = grown(tmp_path)
    chosen = ranked(stored, np.ones(1000, dtype=bool), value)
    expected = full(tmp_path, chosen)
    harm(tmp_path / state.FILE)
    assert same(compare(tmp_path, chosen, KEY, THRESHOLD), expected)
    assert loaded(tmp_path).built == 1000
    assert ("cannot be read" in capsys.readouterr().err) == (harm is not Path.unlink)


def test_another_threshold_is_another_search(tmp_path: Path) -> None:
    stored, value = grown(tmp_path)
    chosen = ranked(stored, np.ones(1000, dtype=bool), value)
    found = compare(tmp_path, chosen, "rules model 0.9", 0.9)
    keeper, _, close = by_all_pairs(vectors_of(tmp_path, chosen), 0.9)
    assert close or np.array_equal(found[0] == np.arange(1000), keeper == np.arange(1000))


def vectors_of(folder: Path, chosen: pl.DataFrame) -> np.ndarray:
    parts = {name: np.load(folder / f"{name}.npy") for name in chosen["part"].unique()}
    return np.stack([parts[part][row] for part, row in chosen.select("part", "row").iter_rows()])


def test_processes_find_what_one_finds(tmp_path: Path, monkeypatch) -> None:
    """Planted pairs in cells; the search, and then going on from it, in this process and in one, then three others."""
    vectors, source = planted(20_000, 1000, 48, np.float16)
    stored = store(tmp_path, vectors, parts=40)
    value = np.arange(21_000)[::-1].astype(float)
    before = ranked(stored, np.arange(21_000) % 90 != 0, value)
    chosen = ranked(stored, np.ones(21_000, dtype=bool), value)
    monkeypatch.setattr(sharded, "PLOT_ROWS", 4000)
    monkeypatch.setattr(sharded, "TASK_ROWS", 4000)
    results = []
    for few, workers in ((10**9, 1), (0, 1), (0, 3)):
        monkeypatch.setattr(sharded, "FEW_ROWS", few)
        monkeypatch.setattr(sharded, "FEW_LOOKED_AT", few)
        (tmp_path / state.FILE).unlink(missing_ok=True)
        first = compare(tmp_path, before, KEY, 0.985, workers)
        results.append((first, compare(tmp_path, chosen, KEY, 0.985, workers), loaded(tmp_path)))
    for first, then, left in results[1:]:
        assert same(first, results[0][0]) and same(then, results[0][1])
        assert np.array_equal(left.cells.members, results[0][2].cells.members)
    keeper = results[0][1][0]
    assert (keeper[20_000:] == source).mean() >= 0.999
    assert (keeper[:20_000] == np.arange(20_000)).all()
    assert not list(tmp_path.glob("*.tmp"))


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    stored, value = grown(tmp_path)
    chosen = ranked(stored, np.ones(1000, dtype=bool), value)
    matrix = np.load(tmp_path / "part-1.npy")
    matrix[:] = np.nan
    np.save(tmp_path / "part-1.npy", matrix)
    (tmp_path / state.FILE).unlink()
    with pytest.raises(DamagedParts) as error:
        compare(tmp_path, chosen, KEY, THRESHOLD)
    assert list(error.value.parts) == ["part-1"]
    assert "row 0 of part-1.npy is zero or not finite" in str(error.value)
    assert not list(tmp_path.glob("*.tmp"))
