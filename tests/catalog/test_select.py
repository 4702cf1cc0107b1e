"""Selections keep what passes every rule, and say why when nothing does."""

from __future__ import annotations

import duckdb
import polars as pl
import pytest

import catalog
from catalog import metrics
from catalog.errors import BadInput, LensError
from lensdata import scorers
from tests.helpers import GOOD, commit_scores, set_scores


def test_the_papers_thresholds_are_the_defaults() -> None:
    defaults = metrics.thresholds()
    assert defaults["min_area"] == 384**2
    assert defaults["min_aesthetic"] == 3


def test_the_light_tier_has_defaults_of_its_own(filled: catalog.Catalog) -> None:
    """They follow the scorer in use, metric by metric, everywhere."""
    assert filled.select().thresholds == metrics.thresholds()
    borderline = {"aesthetic": 2.7, "watermark": 0.99}
    rows = dict.fromkeys(range(1, 13), borderline)
    commit_scores(filled, rows, "small", metrics.LIGHT)
    scorers.settle(filled)
    light = filled.select()
    assert (light.thresholds["max_watermark"], light.thresholds["min_aesthetic"]) == (None, 2.5)
    assert {**light.thresholds, "max_watermark": 0.75, "min_aesthetic": 3} == metrics.thresholds()
    assert len(light.frame()) == 8 and len(filled.select(max_watermark=0.75).frame()) == 0
    assert len(filled.select(min_aesthetic=3).frame()) == 0
    reader = catalog.open(filled.root, read_only=True)
    assert reader.sql("FROM funnel").equals(reader.select().funnel())
    assert reader.sql("SELECT count(*) FROM judged_at_defaults WHERE keeps_watermark").item() == 12
    commit_scores(filled, rows, "large", "paper")
    scorers.settle(filled)
    assert filled.select().thresholds == metrics.thresholds()
    assert len(filled.select().frame()) == 0
    assert filled.sql("SELECT count(*) FROM judged_at_defaults WHERE keeps_watermark").item() == 0


def test_a_team_sets_defaults_of_its_own(filled: catalog.Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "DEFAULTS", {})
    metrics.set_defaults(min_aesthetic=6, min_area=None, max_watermark=0.05)
    mine = catalog.open(filled.root, read_only=True)
    assert (
        len(mine.select().frame()) == 0 and len(mine.select(min_aesthetic=4, max_watermark=1).frame()) == 12
    )
    assert mine.sql("FROM funnel").equals(mine.select().funnel())
    with pytest.raises(LensError, match="there is no threshold min_beauty"):
        metrics.set_defaults(min_beauty=1)
    monkeypatch.setattr(metrics, "DEFAULTS", {})
    assert len(catalog.open(filled.root, read_only=True).select().frame()) == 8


def test_a_strip_is_dropped_by_a_rule_of_its_own(filled: catalog.Catalog) -> None:
    with duckdb.connect(str(filled.root / "catalog.duckdb")) as connection:
        connection.execute("UPDATE images SET width = 8000, height = 200 WHERE image_id = 1")
        connection.execute("UPDATE images SET width = 300, height = 1200 WHERE image_id = 2")
    assert selected(filled) == {2, 4, 5, 7, 8, 10, 11}
    assert selected(filled, max_elongation=None) == {1, 2, 4, 5, 7, 8, 10, 11}
    assert selected(filled, max_elongation=3.9) == {4, 5, 7, 8, 10, 11}
    steps = {row["rule"]: row for row in filled.select().funnel().iter_rows(named=True)}
    assert (steps["elongation"]["dropped"], steps["elongation"]["only_this"]) == (1, 1)
    found = filled.sql("SELECT elongation, folder FROM trainable WHERE image_id = 1").row(0, named=True)
    assert found["elongation"] == 40.0


def test_images_below_the_area_are_dropped(filled: catalog.Catalog) -> None:
    assert len(filled.select().frame()) == 8  # four of twelve are 300x300
    assert len(filled.select(min_area=None).frame()) == 12


@pytest.mark.parametrize("metric", ["nsfw", "aesthetic", "watermark", "clarity", "entropy"])
def test_a_score_at_the_threshold_passes_and_one_beyond_does_not(
    filled: catalog.Catalog, metric: str
) -> None:
    name = next(n for n in metrics.thresholds() if n.endswith(metric))
    beyond = GOOD[metric] + (0.01 if name.startswith("min") else -0.01)
    exact = pl.Series([GOOD[metric]], dtype=pl.Float32).item()
    assert len(filled.select(**{name: exact}).frame()) == 8
    assert len(filled.select(**{name: beyond}).frame()) == 0
    assert len(filled.select(**{name: None}).frame()) == 8


def test_a_missing_score_does_not_pass_and_does_when_the_rule_is_off(filled: catalog.Catalog) -> None:
    commit_scores(filled, {2: {"aesthetic": "no luck"}})
    selected = filled.select(min_aesthetic=1).frame()["image_id"].to_list()
    assert 2 not in selected
    assert 2 in filled.select(min_aesthetic=None).frame()["image_id"].to_list()


@pytest.mark.parametrize(
    "bad", [{"min_beauty": 3}, {"min_aesthetic": float("nan")}, {"captions": ("long",)}, {"captions": ()}]
)
def test_wrong_options_are_named(filled: catalog.Catalog, bad: dict) -> None:
    with pytest.raises(BadInput):
        filled.select(**bad)


def test_the_funnel_adds_up(filled: catalog.Catalog) -> None:
    steps = filled.select(max_nsfw=0.05).funnel()
    assert steps["images"].unique().to_list() == [12]
    by_rule = {row["rule"]: row for row in steps.iter_rows(named=True)}
    assert (by_rule["resolution"]["dropped"], by_rule["resolution"]["only_this"]) == (4, 0)
    assert (by_rule["nsfw"]["dropped"], by_rule["nsfw"]["only_this"]) == (12, 8)
    assert by_rule["resolution"]["left_over"] == 8
    assert steps["left_over"][-1] == 0 == len(filled.select(max_nsfw=0.05).frame())
    default = filled.sql("FROM funnel")
    assert default.equals(filled.select().funnel())


def test_an_empty_selection_says_why(filled: catalog.Catalog) -> None:
    with pytest.raises(BadInput, match="the rule aesthetic drops the last of 12 images"):
        filled.select(min_aesthetic=9.5).manifest("none")


def test_an_unscored_catalog_says_what_to_run(tmp_path, images) -> None:
    from lensdata.ingest import ingest

    opened = catalog.open(tmp_path / "c")
    with pytest.raises(BadInput, match="run `lensdata ingest` first"):
        opened.select().manifest("m")
    ingest(opened, [images], workers=1)
    with pytest.raises(BadInput, match="12 images have no nsfw result yet; run `lensdata score` first"):
        opened.select(min_area=None).manifest("m")
    set_scores(opened, **GOOD)
    with pytest.raises(BadInput, match="run `lensdata dedup` first"):
        opened.select().manifest("m")
    with pytest.raises(BadInput, match="run `lensdata caption`"):
        opened.select(dedup=False).manifest("m")


def test_scores_of_two_scorers_stand_side_by_side(filled: catalog.Catalog) -> None:
    """What selections take is the newest scorer that has a result for every image."""
    before = filled.select(min_aesthetic=4.5).frame()["image_id"].to_list()
    half = {image_id: {"aesthetic": 1.0} for image_id in range(1, 7)}
    ids = commit_scores(filled, half, "other")
    scorers.settle(filled)
    assert filled.select(min_aesthetic=4.5).frame()["image_id"].to_list() == before
    commit_scores(filled, {image_id: {"aesthetic": 1.0} for image_id in range(7, 13)}, "other")
    scorers.settle(filled)
    assert filled.select(min_aesthetic=4.5).frame().is_empty()
    assert filled.sql("SELECT DISTINCT aesthetic_scorer FROM scores").item() == ids["aesthetic"]
    kept = filled.sql("SELECT count(*) FROM measured WHERE value_2 = 5.0").item()
    assert kept == 12, "the other scorer's values are still there"


def test_a_selection_names_whose_scores_count(filled: catalog.Catalog) -> None:
    halves = {image_id: {"aesthetic": 1.0} for image_id in range(1, 7)}
    commit_scores(filled, halves, "other")
    assert filled.select().scorers()["aesthetic"] == "test/test@1"
    plain = filled.select().manifest()
    chosen = filled.select(scorers={"aesthetic": "other"})
    assert (
        chosen.frame()["image_id"].to_list() == []
    )  # six were not measured, and six are below the threshold
    assert chosen.unmeasured()["aesthetic"] == 6
    low = filled.select(scorers={"aesthetic": "other@1"}, min_aesthetic=1)
    assert set(low.frame()["image_id"]) <= set(range(1, 7)) and len(low.frame()) > 0
    fixed = low.manifest()
    assert fixed.info["scorers"] == plain.info["scorers"] | {"aesthetic": "test/other@1"}
    assert fixed.samples["aesthetic"].unique().to_list() == [1.0]
    assert filled.sql("SELECT DISTINCT aesthetic FROM scores").item() == 5.0  # for everybody else
    with pytest.raises(
        BadInput, match="no scorer of aesthetic is called 'papper'; there are test/test@1, test/other@1"
    ):
        filled.select(scorers={"aesthetic": "papper"})
    with pytest.raises(BadInput, match="nothing has measured 'beauty'"):
        filled.select(scorers={"beauty": "x"})


def duplicates(filled: catalog.Catalog, ids: list[int], keeper: int) -> None:
    """Make one cluster of the given images."""
    from catalog.store import parts

    rows = filled.sql("SELECT image_id, keeper_id, similarity, reason FROM clusters")
    member = pl.col("image_id").is_in(ids)
    rows = rows.with_columns(
        keeper_id=pl.when(member).then(keeper).otherwise("keeper_id"),
        reason=pl.when(member & (pl.col("image_id") != keeper)).then(pl.lit("embedding")).otherwise("reason"),
    )
    part = parts.write(filled.root, "dedup", f"dedup-{keeper}-{len(ids)}", rows)
    filled.commit_part("dedup", part, ["dedup/clear", "dedup/part"])


def selected(filled: catalog.Catalog, **options) -> set[int]:
    return set(filled.select(**options).frame()["image_id"].to_list())


def test_one_image_of_a_cluster_is_kept(filled: catalog.Catalog) -> None:
    duplicates(filled, [1, 2, 4], keeper=2)  # 3 is too small anyway
    assert selected(filled) == {2, 5, 7, 8, 10, 11}
    assert selected(filled, dedup=False) == {1, 2, 4, 5, 7, 8, 10, 11}
    steps = {row["rule"]: row for row in filled.select().funnel().iter_rows(named=True)}
    assert (steps["dedup"]["only_this"], steps["bucket"]["left_over"]) == (2, 6)


def test_a_keeper_that_fails_another_rule_hands_over_to_the_best_that_passes(filled: catalog.Catalog) -> None:
    duplicates(filled, [1, 2, 3, 4], keeper=3)  # the keeper is 300x300
    assert selected(filled) == {2, 5, 7, 8, 10, 11}  # 480x640 has more pixels than 520x520
    assert selected(filled, where="image_id <> 2") == {1, 5, 7, 8, 10, 11}
    assert selected(filled, min_area=None) == {3, 5, 6, 7, 8, 9, 10, 11, 12}
    rows = filled.sql("SELECT image_id FROM judged_at_defaults WHERE keeps_dedup AND cluster_id = 3")
    assert rows["image_id"].to_list() == [2]


def test_a_keeper_without_a_caption_hands_over(filled: catalog.Catalog) -> None:
    duplicates(filled, [1, 2], keeper=1)
    assert selected(filled, captions=("dense",)) == set()
    assert 1 in selected(filled)
    assert filled.select(captions=("dense",)).unmeasured() == {"caption": 12}


def relabel(filled: catalog.Catalog, source: str, ids: list[int]) -> None:
    """Give images another kind of source, as if they had been ingested as one."""
    with duckdb.connect(str(filled.root / "catalog.duckdb")) as connection:
        connection.execute(
            "UPDATE images SET source = $1 WHERE image_id IN (SELECT unnest($2))", [source, ids]
        )


def test_sources_restrict_the_selection_and_its_funnel(filled: catalog.Catalog) -> None:
    relabel(filled, "text-synthetic", [1, 2, 3])
    assert selected(filled, sources={"text-synthetic": 1}) == {1, 2}
    assert selected(filled, sources={"public-real": 1}) == {4, 5, 7, 8, 10, 11}
    assert selected(filled, sources={"public-real": 1, "text-synthetic": 3}) == selected(filled)
    steps = filled.select(sources={"text-synthetic": 1}).funnel()
    assert (steps["images"].unique().item(), steps["left_over"][-1]) == (3, 2)


def test_a_keeper_of_another_source_hands_over(filled: catalog.Catalog) -> None:
    relabel(filled, "text-synthetic", [1, 2, 3])
    duplicates(filled, [1, 4], keeper=1)
    assert 4 in selected(filled, sources={"public-real": 1})
    assert 4 not in selected(filled)
    assert filled.select(sources={"public-real": 1}).funnel()["left_over"][-1] == 6


def test_an_unknown_source_is_told_those_there_are(filled: catalog.Catalog) -> None:
    relabel(filled, "text-synthetic", [1, 2, 3])
    there = r"there are public-real \(9 images\), text-synthetic \(3 images\)"
    with pytest.raises(BadInput, match=f"the catalog has no source privat; {there}"):
        filled.select(sources={"public-real": 1, "privat": 2})
    with pytest.raises(BadInput, match="names no source"):
        filled.select(sources={})
    with pytest.raises(BadInput, match="the weight of source public-real"):
        filled.select(sources={"public-real": 0})


def test_sources_of_an_empty_catalog(tmp_path) -> None:
    with pytest.raises(BadInput, match="run `lensdata ingest` first"):
        catalog.open(tmp_path / "c").select(sources={"private": 1})


def test_what_would_help_depends_on_what_is_missing(filled: catalog.Catalog) -> None:
    """Of the source whose images alone lack a score, of failures, of texts that no source gives."""
    import duckdb

    with duckdb.connect(str(filled.root / "catalog.duckdb")) as connection:
        connection.execute("UPDATE images SET source = 'shapes' WHERE image_id <= 3")
        connection.execute("DELETE FROM measured WHERE image_id <= 3")
        connection.execute("UPDATE images SET alt_text = NULL WHERE image_id > 6")
        connection.execute("DELETE FROM captions WHERE image_id > 6")
    shapes = filled.select(sources={"shapes": 1}, min_area=None)
    with pytest.raises(
        BadInput,
        match=r"3 images have no nsfw result yet; run `lensdata score --only nsfw` first.*--max-nsfw none",
    ):
        shapes.manifest()
    commit_scores(filled, {n: {**GOOD, "nsfw": "out of memory"} for n in (1, 2, 3)})
    with pytest.raises(
        BadInput, match=r"it failed \(out of memory\); `lensdata score --only nsfw --retry-failed`"
    ):
        shapes.manifest()
    with pytest.raises(
        BadInput, match=r"12 images have no caption yet; for 12 of them .* --captions dense,alt"
    ):
        filled.select(captions=("dense",)).manifest()
    commit_scores(filled, dict.fromkeys((1, 2, 3), GOOD))
    with duckdb.connect(str(filled.root / "catalog.duckdb")) as connection:
        connection.execute("UPDATE images SET alt_text = NULL WHERE image_id <= 2")
        connection.execute("DELETE FROM captions WHERE image_id <= 3")
    with pytest.raises(BadInput, match=r"for 2 of them the source gives no such text: .*run --from-names"):
        shapes.manifest()
