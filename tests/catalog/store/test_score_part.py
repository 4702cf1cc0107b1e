"""Committing parts of scores, in any order and over any ids, against the same kept in a dictionary."""

from __future__ import annotations

from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import catalog
from catalog.store import parts
from lensdata import score, scorers
from lensdata.models import ScorerId

METRICS = ("nsfw", "clarity")
STATE = st.sampled_from([None, "scored", "failed"])
ROW = st.fixed_dictionaries(
    {"nsfw": STATE, "clarity": STATE, "phash": st.booleans(), "vector": st.sampled_from([None, 0, -1])}
)
PARTS = st.lists(
    st.tuples(
        st.sampled_from(["one", "other"]), st.dictionaries(st.integers(1, 9), ROW, min_size=1, max_size=5)
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> catalog.Catalog:
    return catalog.open(tmp_path_factory.mktemp("score-part") / "catalog")


def registered(opened: catalog.Catalog, scorer: str) -> dict[str, int]:
    return scorers.register(opened, {name: ScorerId(name, scorer, "1", "none", "test") for name in METRICS})


def as_part(number: int, rows: dict[int, dict[str, Any]], ids: dict[str, int]) -> pl.DataFrame:
    made = []
    for image_id, row in rows.items():
        one: dict[str, Any] = {"image_id": image_id}
        if row["phash"]:
            one["phash"] = number
        for metric in METRICS:
            if row[metric] == "scored":
                one[f"value_{ids[metric]}"] = number / 8
            elif row[metric]:
                one[f"error_{ids[metric]}"] = f"error {number}"
        if row["vector"] is not None:
            one |= {"embedding_model": "m", "embedding_row": row["vector"]}
        made.append(one)
    return pl.DataFrame(made, schema=score.part_schema({v: k for k, v in ids.items()}), orient="row")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(committed=PARTS)
def test_parts_add_up(
    opened: catalog.Catalog, committed: list[tuple[str, dict[int, dict[str, Any]]]]
) -> None:
    """Whichever scorers made them: what one measured never touches what another did."""
    with duckdb.connect(str(opened.root / "catalog.duckdb")) as connection:
        for table in ("measured", "embeddings", "parts"):
            connection.execute(f"DELETE FROM {table}")
    expected: dict[int, dict[str, Any]] = {}
    vectors: dict[int, tuple[str, int]] = {}
    for number, (scorer, rows) in enumerate(committed, 1):
        ids = registered(opened, scorer)
        frame = as_part(number, rows, ids)
        part = parts.write(opened.root, "score", f"part-{number}", frame)
        assert opened.commit_part("score", part, score.STAGE.commit, {"scorers": list(ids.values())})
        for row in frame.iter_rows(named=True):
            kept = expected.setdefault(row["image_id"], {})
            for number_ in ids.values():
                pair = {name: row[name] for name in (f"value_{number_}", f"error_{number_}")}
                if any(value is not None for value in pair.values()):
                    kept |= pair
            kept["phash"] = row["phash"] if row["phash"] is not None else kept.get("phash")
            if row["embedding_model"] and vectors.get(row["image_id"], ("", -1))[1] < 0:
                vectors[row["image_id"]] = (f"part-{number}", row["embedding_row"])
    found = opened.sql("FROM measured")
    assert found["image_id"].is_unique().all()
    for row in found.iter_rows(named=True):
        wanted = expected[row["image_id"]]
        assert {name: row[name] for name in wanted} == wanted
        assert all(value is None for name, value in row.items() if name not in wanted and name != "image_id")
    assert len(found) == len(expected)
    held = opened.sql("SELECT image_id, part, row FROM embeddings").rows()
    assert sorted(held) == sorted((image_id, *where) for image_id, where in vectors.items())
