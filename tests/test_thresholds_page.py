"""docs/thresholds.md says what the registry says, and its SQL runs."""

from __future__ import annotations

import re
from pathlib import Path

import catalog
from catalog import metrics
from tests.conftest import ROOT

PAGE = (ROOT / "docs/thresholds.md").read_text(encoding="utf-8")


def test_its_table_is_the_registrys() -> None:
    rows = {
        name: (default, light)
        for name, default, light in re.findall(r"^\| `(\w+)` \| (\S+) \| (.*?) ?\| ", PAGE, re.M)
    }
    assert set(rows) == set(metrics.thresholds())
    for rule in metrics.rules():
        of_light = rule.limits_of(metrics.LIGHT)
        for name, value in rule.limits.items():
            default, light = rows[name]
            assert float(default) == value
            assert of_light[name] == (None if light == "none" else float(light or default)), name


def test_its_sql_runs(template: Path) -> None:
    opened = catalog.open(template, read_only=True)
    blocks = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert blocks
    for block in blocks:
        assert opened.sql(block)["images"].sum() == 12
    verdicts = {
        column for column in opened.sql("FROM judged_at_defaults LIMIT 0").columns if "keeps" in column
    }
    assert verdicts == {f"keeps_{rule.name}" for rule in metrics.rules()}
