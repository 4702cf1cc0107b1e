"""Scoring asks for what is pending range by range of ids, and misses none."""

from __future__ import annotations

from pathlib import Path

import pytest

import catalog
from lensdata import score as scoring
from lensdata import stage
from lensdata.ingest import ingest


@pytest.mark.parametrize("ids", [1, 5, 12, 100])
def test_no_page_is_missed(images: Path, tmp_path: Path, monkeypatch, ids: int) -> None:
    monkeypatch.setattr(stage, "PAGE_IDS", ids)
    monkeypatch.setattr(scoring, "PART_IMAGES", 2)
    opened = catalog.open(tmp_path / "catalog")
    ingest(opened, [images], workers=1)
    assert scoring.score(opened, only=("entropy",), workers=1).images == 12
    assert opened.sql("SELECT count(*) FROM scores WHERE entropy_state = 'scored'").item() == 12
    assert scoring.score(opened, only=("entropy",), workers=1).images == 0
    opened = catalog.open(tmp_path / "catalog")
    assert scoring.score(opened, only=("entropy", "clarity"), workers=1).images == 12
