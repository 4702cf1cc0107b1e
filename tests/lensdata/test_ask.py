"""The ledger of attrition against the same counts taken in Python, and the sweep against a funnel at every step."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import catalog
from catalog import metrics
from catalog.errors import BadInput
from lensdata.ask import sweep_table, why
from tests.helpers import GOOD, commit_scores

SCHEMA = {
    "status": pl.String, "side": pl.Int32, "aesthetic": pl.Float32, "nsfw": pl.Float32, "luminance": pl.Float32,
    "cluster": pl.Int64, "counted": pl.Boolean, "caption": pl.String, "bucket": pl.Boolean,
}  # fmt: skip
IMAGE = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["ok"] * 5 + ["truncated"]),
        "side": st.sampled_from([None, 300, 384, 520, 520]),
        "aesthetic": st.sampled_from([None, 2.0, 3.0, 3.1, 4.0, 5.0]),
        "nsfw": st.sampled_from([None, 0.1, 0.1, 0.5, 0.7]),
        "luminance": st.sampled_from([None, 0.01, 0.05, 0.5, 0.5, 0.98, 1.0]),
        "cluster": st.sampled_from([None, None, 1, 2, 3]),
        "counted": st.booleans(),  # whether `members` is known: what an early version wrote says nothing
        "caption": st.sampled_from([None, "", "a cat", "a cat"]),
        "bucket": st.sampled_from([True, True, True, False]),
    }
)
REPLACE = """
DELETE FROM images; DELETE FROM measured; DELETE FROM clusters; DELETE FROM captions; DELETE FROM buckets;
INSERT INTO images (image_id, source, uri, byte_offset, byte_length, width, height, status, ingested_at)
SELECT image_id, 'web', 'x', image_id, 1, side, side, status, now()::TIMESTAMP FROM made;
INSERT INTO measured (image_id, value_1, value_2, value_3, value_4, value_5, value_6)
SELECT image_id, nsfw, aesthetic, 0.1, 500, 6, luminance FROM made;
INSERT INTO clusters
SELECT image_id, keeper, keeper, 1, NULL, CASE WHEN counted THEN count(*) OVER (PARTITION BY keeper) END
FROM (
    SELECT *, CASE cluster WHEN 3 THEN image_id ELSE max(image_id) OVER (PARTITION BY cluster) END AS keeper FROM made
)
WHERE cluster IS NOT NULL;
INSERT INTO captions (image_id, style, text, model, created_at)
SELECT image_id, 'alt', caption, 'test', now()::TIMESTAMP FROM made WHERE caption IS NOT NULL;
INSERT INTO buckets SELECT image_id, 512, '1:1', 512, 512 FROM made WHERE bucket
"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> catalog.Catalog:
    found = catalog.open(tmp_path_factory.mktemp("ledger") / "catalog")
    commit_scores(found, {1: GOOD})  # which makes the scorers 1 to 6, in the order of the registry
    return found


def replace(opened: catalog.Catalog, images: list[dict[str, Any]]) -> None:
    """Make the catalog hold these images alone."""
    made = pl.DataFrame(images, schema=SCHEMA).with_row_index("image_id", offset=1)
    with duckdb.connect(str(opened.root / "catalog.duckdb")) as connection:
        connection.register("made", made.to_arrow())
        for statement in duckdb.extract_statements(REPLACE):
            connection.execute(statement.query)


PROPERTY = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@PROPERTY
@given(
    images=st.lists(IMAGE, min_size=1, max_size=12),
    score=st.sampled_from([
        ("aesthetic", "2", "5.5", "0.5"), ("nsfw", "0", "1", "0.25"), ("resolution", "0", "300000", "75000"),
        ("luminance", "0", "1", "0.25"), ("max_luminance", "0", "1", "0.245"),
    ]),
    dedup=st.booleans(),
)  # fmt: skip
def test_a_sweep_is_a_funnel_at_every_step(opened, images, score, dedup) -> None:
    replace(opened, images)
    swept = sweep_table(opened.select(dedup=dedup), *score)
    name = swept.columns[0]
    rule = next(rule.name for rule in metrics.rules() if name in rule.limits)
    assert all(a < b for a, b in pairwise(swept[name]))
    for row in swept.iter_rows(named=True):
        steps = opened.select(dedup=dedup, **{name: row[name]}).funnel()
        mine = steps.row(by_predicate=pl.col("rule") == rule, named=True)
        expected = (mine["dropped"], mine["only_this"], steps["left_over"][-1])
        assert (row["dropped"], row["only_this"], row["left_over"]) == expected, row


@PROPERTY
@given(images=st.lists(IMAGE, min_size=1, max_size=12), dedup=st.booleans())
def test_funnel_overlaps_why_and_selection_agree(opened, images, dedup) -> None:
    replace(opened, images)
    chosen = opened.select(dedup=dedup)
    judged = [why(chosen, n) for n in range(1, len(images) + 1)]
    drops = [{r["rule"] for r in image["rules"] if r["verdict"] != "kept"} for image in judged]
    rules = [rule.name for rule in metrics.rules()]
    for step, row in enumerate(chosen.funnel().iter_rows(named=True), 1):
        rule, above = row["rule"], set(rules[:step])
        assert rule == rules[step - 1]
        assert row["dropped"] == sum(rule in found for found in drops)
        assert row["only_this"] == sum(found == {rule} for found in drops)
        assert row["left_over"] == sum(not found & above for found in drops)
    overlaps = chosen.overlaps()
    assert overlaps["rule"].to_list() == overlaps.columns[1:] == rules
    for row in overlaps.iter_rows(named=True):
        assert [row[rule] for rule in rules] == [
            sum({rule, row["rule"]} <= found for found in drops) for rule in rules
        ]
    selected = [image["image_id"] for image in judged if image["selected"]]
    assert chosen.frame()["image_id"].to_list() == selected
    if dedup:  # never two of a cluster
        clusters = opened.sql(
            "SELECT cluster_id FROM clusters WHERE list_contains($ids, image_id)", ids=selected
        )
        assert clusters["cluster_id"].is_unique().all()


def test_the_ledger_of_nothing(tmp_path: Path) -> None:
    chosen = catalog.open(tmp_path / "c").select()
    assert chosen.overlaps()["bucket"].sum() == 0
    assert sweep_table(chosen, "nsfw", "0", "1", "0.5").rows() == [
        (0.0, 0, 0, 0),
        (0.5, 0, 0, 0),
        (1.0, 0, 0, 0),
    ]
    for image_id in (1, 2**63):
        with pytest.raises(BadInput, match=f"there is no image {image_id}"):
            why(chosen, image_id)


def test_the_overlaps_from_the_command_line(command, tmp_path: Path) -> None:
    opened = catalog.open(tmp_path / "catalog")
    commit_scores(opened, {1: GOOD})
    replace(opened, [{"status": "ok", "side": 300, "aesthetic": 2.0, "bucket": True}])
    rows = json.loads(command("lensdata", "funnel", "--overlaps", "--json").stdout)
    assert [row["rule"] for row in rows] == [rule.name for rule in metrics.rules()]
    assert (rows[1]["resolution"], rows[1]["aesthetic"], rows[1]["bucket"]) == (1, 1, 0)
    refused = command("lensdata", "funnel", "--overlaps", "--sweep", "nsfw", "0", "1", "1")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
