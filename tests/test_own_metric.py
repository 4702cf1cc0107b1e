"""A metric that is named in one place is found everywhere: the recipe of docs/architecture.md, run."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCORES = ("--max-nsfw", "none", "--min-aesthetic", "none", "--max-watermark", "none")


@pytest.fixture
def own(tmp_path: Path, command):
    """Run `lensdata` with the recipe's module on its path."""
    recipe = re.search(
        r"```python\n(# our_metrics\.py.*?)```", (ROOT / "docs/architecture.md").read_text(), re.S
    )
    assert recipe is not None
    (tmp_path / "our_metrics.py").write_text(recipe[1])
    env = {"LENS_METRICS": "our_metrics", "PYTHONPATH": f"{tmp_path}:{ROOT}"}

    def run(*args: object, code: int = 0) -> str:
        done = command("lensdata", *args, env=env)
        assert done.returncode == code, done.stderr
        return done.stdout

    return run


def test_a_metric_named_in_one_place_is_found_everywhere(own, images: Path, tmp_path: Path, command) -> None:
    own("ingest", images)
    assert "--min-warmth" in own("build-shards", "--help")
    own(
        "score",
        "--only",
        "warmth",
        "--only",
        "clarity",
        "--only",
        "entropy",
        "--only",
        "luminance",
        "--workers",
        1,
    )
    lines = own("query", "SELECT image_id, warmth FROM trainable", "--format", "json").splitlines()
    values = {row["image_id"]: row["warmth"] for row in map(json.loads, lines)}
    assert len(values) == 12 and all(0 <= value <= 1 for value in values.values())
    own("caption")
    own("bucket")

    ordered = sorted(values.values())
    cut = (ordered[5] + ordered[6]) / 2
    rows = {
        row["rule"]: row
        for row in json.loads(own("funnel", *SCORES, "--no-dedup", "--min-warmth", cut, "--json"))
    }
    assert rows["warmth"]["dropped"] == 6 and list(rows).index("warmth") == list(rows).index("luminance") + 1
    coldest = min(values, key=lambda image_id: values[image_id])
    verdicts = {
        rule["rule"]: rule for rule in json.loads(own("why", coldest, "--min-warmth", cut, "--json"))["rules"]
    }
    assert verdicts["warmth"]["verdict"] == "dropped"
    assert verdicts["warmth"]["scorer"] == "computed/red-share@1"
    own("funnel", "--sweep", "warmth", 0, 1, 0.25)

    own("build-shards", "--out", "shards", *SCORES, "--no-dedup", "--min-warmth", cut, "--min-area", "none")
    told = {}
    for path in (tmp_path / "shards").glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    meta = json.loads(tar.extractfile(member).read())  # type: ignore[union-attr]
                    told[meta["image_id"]] = meta["scores"]["warmth"]
    assert told == pytest.approx({image_id: value for image_id, value in values.items() if value > cut})

    own("report", "--out", "report.html", "--thumbs", 2)
    page = (tmp_path / "report.html").read_text()
    assert "Warmth" in page and "share of red" in page
    # A Lens that does not know the metric still shows what was measured, and opens the catalog.
    plain = command("lensdata", "query", "SELECT count(warmth) AS n FROM trainable", "--format", "csv")
    assert plain.stdout.split() == ["n", "12"], plain.stderr


def test_a_module_that_is_not_there_is_one_line(command) -> None:
    done = command("lensdata", "--help", env={"LENS_METRICS": "no_such_module_of_ours"})
    assert done.returncode == 2
    assert done.stderr.startswith(
        "lensdata: LENS_METRICS names no_such_module_of_ours, which cannot be imported"
    )
    assert len(done.stderr.splitlines()) == 1


FAULTY = """
import math
from catalog.metrics import Metric, register


def faulty(picture):
    if picture.rgb.shape[0] == 520:
        raise ValueError("my bug\\nof two lines")
    return math.nan if picture.rgb.shape[0] == 640 else 0.5


register(Metric("faulty", "Faulty", "share", least=0.2, measure="faulty_metrics:faulty", scorer="mine"))
"""


def test_a_metric_that_fails_for_some_images_fails_for_these_alone(
    images: Path, tmp_path: Path, command
) -> None:
    (tmp_path / "faulty_metrics.py").write_text(FAULTY)
    env = {"LENS_METRICS": "faulty_metrics", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    assert command("lensdata", "ingest", images).returncode == 0
    line = ("score", "--only", "faulty", "--only", "entropy", "--workers", 1)
    done = command("lensdata", *line, env=env)
    assert done.returncode == 0, done.stderr
    last = (done.stdout + done.stderr).splitlines()
    assert any(text.startswith("12 images scored; faulty failed for 8 (lensdata query ") for text in last), (
        last
    )
    rows = command(
        "lensdata", "query",
        "SELECT faulty_error AS why, count(*) AS n, count(faulty) AS given, count(entropy) AS others "
        "FROM scores GROUP BY 1 ORDER BY 1 NULLS LAST",
        "--format", "json", env=env,
    ).stdout  # fmt: skip
    assert [json.loads(row) for row in rows.splitlines()] == [
        {
            "why": "faulty_metrics:faulty raised ValueError: my bug of two lines (faulty_metrics.py, line 8)",
            "n": 4, "given": 0, "others": 4,
        },
        {"why": "the value is not finite", "n": 4, "given": 0, "others": 4},
        {"why": None, "n": 4, "given": 4, "others": 4},
    ]  # fmt: skip
    again = command("lensdata", *line, env=env)
    assert "every image has its scores" in again.stdout + again.stderr
    mended = FAULTY.replace('raise ValueError("my bug\\nof two lines")', "return 1").replace("math.nan", "0")
    (tmp_path / "faulty_metrics.py").write_text(mended)
    told = command("lensdata", *line, "--retry-failed", "--json", env=env).stdout
    assert json.loads(told) == {"images": 8, "failed": 0, "without": {}}


def test_a_function_that_is_not_there_is_one_line_before_anything_is_read(tmp_path: Path, command) -> None:
    (tmp_path / "faulty_metrics.py").write_text(FAULTY.replace("_metrics:faulty", "_metrics:nowhere"))
    env = {"LENS_METRICS": "faulty_metrics", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"no image")
    assert command("lensdata", "ingest", tmp_path / "pictures").returncode == 0
    done = command("lensdata", "score", "--only", "faulty", env=env)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "lensdata: the registry of metrics names faulty_metrics:nowhere, which cannot"
    )
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        ("set_defaults(min_nosuch=3)", "there is no threshold min_nosuch; there are "),
        ("set_defaults(min_aesthetic='x')", "the threshold min_aesthetic is a number or None, not 'x' "),
        ("set_defaults(min_aesthetic=True)", "the threshold min_aesthetic is a number or None, not True "),
        (
            "set_defaults(min_aesthetic=float('nan'))",
            "the threshold min_aesthetic is a number or None, not nan ",
        ),
        (
            "register(Metric('clarity', 'Clarity', '', measure='a:b', scorer='c'))",
            "there is a metric or rule clarity already ",
        ),
        (
            "register(Metric('mine', 'Mine', '', least='3', measure='a:b', scorer='c'))",
            "least of the metric mine is a number or None, not '3' ",
        ),
        ("register(Metric(3, 'Mine', ''))", "the name of a metric is a text, not 3 "),
        ("register('mine')", "a metric is registered as Metric(...), not as 'mine' "),
        ("1/0", "ZeroDivisionError: division by zero "),
        ("def (", "invalid syntax "),
        ("from catalog.metrics import nothing", "cannot import name 'nothing' from 'catalog.metrics' "),
    ],
)
def test_a_mistake_in_the_module_is_one_line(mistake: str, told: str, tmp_path: Path, command) -> None:
    module = tmp_path / "mistaken_metrics.py"
    module.write_text(f"from catalog.metrics import Metric, register, set_defaults\n\n{mistake}\n")
    env = {"LENS_METRICS": "mistaken_metrics", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = command("lensdata", "query", "SELECT 1", env=env)
    begin = f"lensdata: LENS_METRICS names mistaken_metrics, which cannot be imported: {told}"
    assert done.stderr.startswith(begin), done.stderr
    assert done.stderr.endswith(f"({module}, line 3)\n")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
