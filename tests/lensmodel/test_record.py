"""A run's row in the catalog, and training that does without one."""

import json

import catalog
from lensmodel import presets, record


def test_a_run_is_a_row_with_manifest_settings_and_commit(tiny, tmp_path):
    opened = catalog.open(tmp_path / "catalog")
    settings = presets.build("mini", ["max_steps=7"])
    first = record.record_run(opened.root, tiny, settings, tmp_path / "run")
    again = record.record_run(opened.root, tiny, settings, tmp_path / "run")
    rows = opened.sql("SELECT * FROM runs ORDER BY started_at")
    assert rows["run_id"].to_list() == [first, again] and rows["manifest"].to_list() == ["tiny", "tiny"]
    assert json.loads(rows["config"][0])["max_steps"] == 7 and rows["out"][0] == str(tmp_path / "run")
    commit = rows["git_commit"][0]
    assert commit is None or len(commit.rstrip("+")) == 40


def test_without_a_catalog_nothing_is_made(tiny, tmp_path):
    assert record.record_run(tmp_path / "none", tiny, presets.build("mini"), tmp_path) is None
    assert not (tmp_path / "none").exists()


def test_a_catalog_that_cannot_be_written_does_not_stop_a_run(tiny, tmp_path, capsys):
    root = tmp_path / "catalog"
    root.mkdir()
    (root / "catalog.duckdb").write_bytes(b"no database at all" * 1000)
    assert record.record_run(root, tiny, presets.build("mini"), tmp_path) is None
    assert "warning: this run is not recorded" in capsys.readouterr().err
