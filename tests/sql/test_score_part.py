"""Committing parts of scores, in any order and over any ids, against the same kept in a dictionary."""

from __future__ import annotations

from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import catalog
from catalog import parts
from lensdata import score

STATE = st.sampled_from([None, "scored", "failed"])
ROW = st.fixed_dictionaries(
    {"nsfw": STATE, "clarity": STATE, "phash": st.booleans(), "vector": st.sampled_from([None, 0, -1])}
)
PARTS = st.lists(st.dictionaries(st.integers(1, 9), ROW, min_size=1, max_size=5), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> catalog.Catalog:
    return catalog.open(tmp_path_factory.mktemp("score-part") / "catalog")


def as_part(number: int, rows: dict[int, dict[str, Any]]) -> pl.DataFrame:
    made = []
    for image_id, row in rows.items():
        one: dict[str, Any] = {"image_id": image_id}
        if row["phash"]:
            one["phash"] = number
        for metric in ("nsfw", "clarity"):
            if row[metric]:
                one |= {f"{metric}_state": row[metric], f"{metric}_scorer": number}
                one |= (
                    {metric: number / 8}
                    if row[metric] == "scored"
                    else {f"{metric}_error": f"error {number}"}
                )
        if row["vector"] is not None:
            one |= {"embedding_model": "m", "embedding_row": row["vector"]}
        made.append(one)
    return pl.DataFrame(made, schema=score.part_schema(), orient="row")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(committed=PARTS)
def test_parts_add_up(opened: catalog.Catalog, committed: list[dict[int, dict[str, Any]]]) -> None:
    with duckdb.connect(str(opened.root / "catalog.duckdb")) as connection:
        for table in ("scores", "embeddings", "parts"):
            connection.execute(f"DELETE FROM {table}")
    expected: dict[int, dict[str, Any]] = {}
    vectors: dict[int, tuple[str, int]] = {}
    for number, rows in enumerate(committed, 1):
        frame = as_part(number, rows)
        part = parts.write(opened.root, "score", f"part-{number}", frame)
        assert opened.commit_part("score", part, score.PART_STATEMENTS, part_id=part.stem)
        for row in frame.iter_rows(named=True):
            kept = expected.setdefault(row["image_id"], {})
            for metric in ("nsfw", "clarity"):
                if row[f"{metric}_state"]:
                    kept |= {name: row[name] for name in row if name.partition("_")[0] == metric}
            kept["phash"] = row["phash"] if row["phash"] is not None else kept.get("phash")
            if row["embedding_model"] and vectors.get(row["image_id"], ("", -1))[1] < 0:
                vectors[row["image_id"]] = (f"part-{number}", row["embedding_row"])
    found = opened.sql("FROM scores")
    assert found["image_id"].is_unique().all()
    for row in found.iter_rows(named=True):
        wanted = expected[row["image_id"]]
        assert {name: row[name] for name in wanted} == wanted
        assert all(value is None for name, value in row.items() if name not in wanted and name != "image_id")
    assert len(found) == len(expected)
    held = opened.sql("SELECT image_id, part, row FROM embeddings").rows()
    assert sorted(held) == sorted((image_id, *where) for image_id, where in vectors.items())
