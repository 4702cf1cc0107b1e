"""Scoring with the real light models: three states, one scorer a column, resumable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import catalog
from catalog import pixels
from catalog.errors import BadInput, LensError
from catalog.store import parts
from lensdata import filters, scorers
from lensdata.dedup import dedup
from lensdata.ingest import ingest
from lensdata.score import Summary, score
from lensdata.vectors import save_vectors
from tests.fakes import zoo
from tests.helpers import commit_scores, picture

LIGHT = ("nsfw", "aesthetic", "watermark")
CHEAP = ("clarity", "entropy", "luminance")


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> catalog.Catalog:
    """Pictures, a byte copy, a recompressed copy, and the zoo, all scored."""
    folder = tmp_path_factory.mktemp("score")
    images = folder / "images"
    images.mkdir()
    for n in range(3):
        picture(n).save(images / f"a{n}.png")
    picture(0).save(images / "b-copy.png")
    picture(1).save(images / "c-near.jpg", quality=92)
    for animal in zoo.animals():
        (images / f"zoo-{animal.name}.png").write_bytes(animal.data)
    opened = catalog.open(folder / "catalog")
    ingest(opened, [images], workers=1)
    score(opened, workers=1)
    return opened


def test_every_readable_image_has_every_score(scored: catalog.Catalog) -> None:
    rows = scored.sql(
        "SELECT i.status, s.* FROM images i LEFT JOIN scores s USING (image_id) ORDER BY image_id"
    )
    for row in rows.iter_rows(named=True):
        for metric in LIGHT + CHEAP:
            if row["status"] in ("ok", "ok-warnings"):
                assert row[f"{metric}_state"] == "scored", row
                assert np.isfinite(row[metric])
            elif row["image_id"] is not None:  # found damaged only when decoded
                assert row[f"{metric}_state"] == "failed"
                assert row[f"{metric}_error"].startswith(row["status"])


def test_totals_add_up(scored: catalog.Catalog) -> None:
    total = scored.sql("SELECT count(*) FROM images").item()
    assert total == 5 + len(zoo.animals())
    by_status = scored.sql("SELECT status, count(*) AS n FROM images GROUP BY status")
    assert by_status["n"].sum() == total
    assert set(by_status["status"]) <= {"ok", "ok-warnings", *pixels.FAILURES}


def test_the_status_is_the_decoders(scored: catalog.Catalog) -> None:
    found = {Path(uri).stem: status for uri, status in scored.sql("SELECT uri, status FROM images").rows()}
    for animal in zoo.animals():
        assert found[f"zoo-{animal.name}"] in animal.statuses


def test_values_are_the_filters_own(scored: catalog.Catalog) -> None:
    row = scored.sql(
        "SELECT s.*, uri FROM scores s JOIN images USING (image_id) WHERE uri LIKE '%a1.png'"
    ).row(0, named=True)
    values = filters.cheap(pixels.decode(Path(row["uri"]).read_bytes()).rgb)
    for metric in CHEAP:
        assert row[metric] == pytest.approx(values[metric], rel=1e-6)
    assert row["phash"] == values["phash"]


def test_nothing_is_left_to_do(scored: catalog.Catalog) -> None:
    assert score(scored, workers=1).images == 0


def test_columns_name_their_scorers(scored: catalog.Catalog) -> None:
    known = {row["scorer_id"]: row for row in scored.named("score/scorers").iter_rows(named=True)}
    for metric in LIGHT + CHEAP:
        ids = scored.sql(f"SELECT DISTINCT {metric}_scorer FROM scores")[f"{metric}_scorer"].to_list()
        assert len(ids) == 1
        assert known[ids[0]]["metric"] == metric
        assert known[ids[0]]["tier"] == ("light" if metric in LIGHT else "computed")


def test_duplicates_are_found_in_what_was_scored(scored: catalog.Catalog) -> None:
    found = dedup(scored, workers=1)
    assert found is not None
    names = dict(scored.sql("SELECT image_id, uri FROM images").rows())
    dropped = scored.sql("SELECT image_id, keeper_id, reason FROM clusters WHERE reason IS NOT NULL").rows()
    pairs = {Path(names[i]).stem: (Path(names[k]).stem, reason) for i, k, reason in dropped}
    assert pairs["b-copy"] == ("a0", "bytes")
    assert pairs["c-near"] == ("a1", "embedding") or pairs.get("a1") == ("c-near", "embedding")
    assert "a2" not in pairs
    assert dedup(scored, workers=1) is None
    assert dedup(scored, threshold=0.9, workers=1) is not None


def test_only_some_metrics_and_then_the_rest(tmp_path: Path, images: Path) -> None:
    opened = catalog.open(tmp_path / "c")
    ingest(opened, [images], workers=1)
    assert score(opened, only=("entropy",), workers=1).images == 12
    assert opened.sql("SELECT count(entropy_state), count(clarity_state) FROM scores").row(0) == (12, 0)
    before = opened.sql("SELECT image_id, entropy, entropy_scorer FROM scores ORDER BY ALL")
    assert score(opened, only=CHEAP, workers=1).images == 12
    assert opened.sql("SELECT count(entropy_state), count(clarity_state) FROM scores").row(0) == (12, 12)
    assert opened.sql("SELECT image_id, entropy, entropy_scorer FROM scores ORDER BY ALL").equals(before)


def test_finished_parts_of_a_killed_job_are_committed_first(
    tmp_path: Path, images: Path, monkeypatch
) -> None:
    opened = catalog.open(tmp_path / "c")
    ingest(opened, [images], workers=1)
    killed = lambda *args, **more: (_ for _ in ()).throw(KeyboardInterrupt)  # noqa: E731
    monkeypatch.setattr("catalog.store.database.Database.commit_part", killed)
    with pytest.raises(KeyboardInterrupt):
        score(opened, only=CHEAP, workers=1)
    assert len(parts.waiting(opened.root, "score")) == 1
    monkeypatch.undo()
    assert score(opened, only=CHEAP, workers=1).images == 0  # the part was whole: nothing is computed twice
    assert opened.sql("SELECT count(clarity) FROM scores").item() == 12
    assert parts.waiting(opened.root, "score") == []


def test_failures_are_retried_when_asked(tmp_path: Path, images: Path) -> None:
    opened = catalog.open(tmp_path / "c")
    ingest(opened, [images], workers=1)
    victim = images / "picture-0003.jpg"
    data = victim.read_bytes()
    victim.unlink()
    score(opened, only=CHEAP, workers=1)
    assert opened.sql("SELECT status FROM images WHERE uri LIKE '%0003.jpg'").item() == "missing"
    victim.write_bytes(data)
    assert score(opened, only=CHEAP, workers=1).images == 0
    assert score(opened, only=CHEAP, retry_failed=True, workers=1).images == 1
    assert opened.sql("SELECT status FROM images WHERE uri LIKE '%0003.jpg'").item() == "ok"
    assert opened.sql("SELECT count(clarity) FROM scores").item() == 12


def test_if_every_file_is_gone_the_job_fails_and_says_so(tmp_path: Path, images: Path) -> None:
    opened = catalog.open(tmp_path / "c")
    ingest(opened, [images], workers=1)
    images.rename(tmp_path / "away")
    with pytest.raises(LensError, match="none of 12 images could be read"):
        score(opened, only=CHEAP, workers=1)
    (tmp_path / "away").rename(images)
    assert score(opened, only=CHEAP, retry_failed=True, workers=1) == Summary(12, 0)


def test_a_file_that_changed_is_not_scored_under_its_old_name(tmp_path: Path, images: Path) -> None:
    opened = catalog.open(tmp_path / "c")
    ingest(opened, [images], workers=1)
    victim = images / "picture-0000.png"
    data = bytearray(victim.read_bytes())
    data[-20] ^= 1
    victim.write_bytes(bytes(data))
    assert score(opened, only=CHEAP, workers=1) == Summary(12, 1)
    status, reason = opened.sql("SELECT status, status_reason FROM images WHERE image_id = 1").row(0)
    assert status == "missing"
    assert "has changed" in reason


def test_unknown_names_are_refused() -> None:
    with pytest.raises(BadInput, match="there is no score beauty"):
        scorers.chosen("light", ("beauty",))
    with pytest.raises(BadInput, match="'heavy'"):
        scorers.chosen("heavy")


def test_vectors_that_no_image_has_any_more_are_swept(filled_own: catalog.Catalog) -> None:
    folder = filled_own.root / "embeddings" / "m"
    rows = [(np.zeros(4), np.zeros((32, 32, 3), np.uint8))]
    save_vectors(folder, "score-killed", rows)  # whose part was never finished
    save_vectors(folder, "score-test-1", rows)
    commit_scores(filled_own, {1: {"embedding_model": "m", "embedding_row": 0}})
    (used,) = filled_own.sql("SELECT part FROM embeddings WHERE row >= 0")["part"].to_list()
    save_vectors(folder, used, rows)
    score(filled_own, only=("clarity",), workers=1)
    assert sorted(path.name for path in folder.iterdir()) == [f"{used}.npy", f"{used}.thumb.npy"]
