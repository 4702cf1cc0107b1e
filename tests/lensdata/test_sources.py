"""Kinds of source on the command line: what is selected, how it is weighed, what is told, what reaches training."""

from __future__ import annotations

import json

import pytest

import catalog
from catalog import manifest
from lensdata.ingest import ingest
from lensdata.shards import diff, verify
from lensdata.takedown import remove
from tests.helpers import GOOD, picture, set_scores


@pytest.fixture
def mixed(filled: catalog.Catalog, tmp_path):
    """`filled`, with six text-synthetic pictures more, 13 to 18, of which four are large enough."""
    from catalog.store import parts
    from lensdata.bucket import bucket
    from lensdata.caption import FromSource, caption

    folder = tmp_path / "texts"
    folder.mkdir()
    for n, size in enumerate([(520, 520), (480, 640), (300, 300)] * 2):
        picture(100 + n, *size).save(folder / f"text-{n}.png")
        (folder / f"text-{n}.txt").write_text(f"text number {n}")
    ingest(filled, [folder], "text-synthetic", workers=1)
    set_scores(filled, **GOOD)
    caption(filled, FromSource())
    bucket(filled)
    rows = filled.sql(
        "SELECT image_id, image_id AS keeper_id, 1.0::FLOAT AS similarity, NULL::VARCHAR AS reason FROM images"
    )
    filled.commit_part(
        "dedup", parts.write(filled.root, "dedup", "dedup-2", rows), ["dedup/clear", "dedup/part"]
    )
    return filled


def told(done) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_plan_counts_with_the_weights(command, mixed: catalog.Catalog) -> None:
    plan = told(command("lensdata", "build-shards", "--plan", 1, "--batch", "2,1,1", "--source", "public-real",
                        "--source", "text-synthetic=2.5", "--json"))  # fmt: skip
    assert plan["sources"] == [
        {"source": "text-synthetic", "images": 4, "repeats": 2.5, "samples": 10, "share": 10 / 18},
        {"source": "public-real", "images": 8, "repeats": 1.0, "samples": 8, "share": 8 / 18},
    ]
    assert sum(row["samples"] for row in plan["buckets"]) == 18  # two of its images in each bucket
    table = command(
        "lensdata", "build-shards", "--plan", 1, "--batch", "2,1,1", "--source", "text-synthetic"
    ).stdout
    assert "4 samples" in table and "public-real" not in table


def test_shards_carry_sources_and_weights_and_survive_a_takedown(
    command, mixed: catalog.Catalog, tmp_path
) -> None:
    out = tmp_path / "shards"
    weighed = ("--source", "public-real", "--source", "text-synthetic=2")
    told(command("lensdata", "build-shards", "--out", out, *weighed, "--json"))
    made = manifest.load(out)
    assert made.mixture == {"public-real": 1.0, "text-synthetic": 2.0}
    assert made.info["sources"] == {"public-real": 8, "text-synthetic": 4}
    for row, source in enumerate(made.samples["source"]):
        assert made.read(row).meta["source"] == source
    assert not list(verify(out))
    again = told(command("lensdata", "build-shards", "--out", out, *weighed, "--json"))
    assert again["reused"]
    other = command(
        "lensdata", "build-shards", "--out", out, "--source", "public-real", "--source", "text-synthetic=3"
    )
    assert other.returncode == 2 and "another selection" in other.stderr

    texts = made.samples.filter(made.samples["source"] == "text-synthetic")["image_id"].to_list()
    remove(mixed, texts[:1], "test", [out])
    less = manifest.load(out)
    assert less.mixture == made.mixture and less.info["sources"]["text-synthetic"] == 3
    assert less.fingerprint == manifest.fingerprint_of(less.samples, less.mixture) != made.fingerprint
    remove(mixed, texts[1:], "test", [out])
    assert manifest.load(out).mixture == {} and manifest.load(out).info["sources"] == {"public-real": 8}


def test_funnel_why_and_report_respect_the_sources(command, mixed: catalog.Catalog, tmp_path) -> None:
    steps = told(command("lensdata", "funnel", "--source", "text-synthetic", "--json"))
    assert (steps[0]["images"], steps[-1]["left_over"]) == (6, 4)
    inside = told(command("lensdata", "why", 13, "--source", "text-synthetic", "--json"))
    assert inside["selected"] and inside["rules"][0]["verdict"] == "kept"
    outside = told(command("lensdata", "why", 1, "--source", "text-synthetic", "--json"))
    assert not outside["selected"]
    assert [rule["rule"] for rule in outside["rules"] if rule["verdict"] != "kept"] == ["source"]
    assert command("lensdata", "why", 777, "--source", "text-synthetic").returncode == 2
    page = tmp_path / "report.html"
    done = command("lensdata", "report", "--out", page, "--thumbs", 0, "--source", "text-synthetic=3")
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert "text-synthetic (weight 3)" in text and "<b>4</b><span>selected</span>" in text


def test_the_named_query_counts_each_source(command, mixed: catalog.Catalog) -> None:
    lines = command("lensdata", "query", "sources", "--format", "json").stdout.splitlines()
    counts: dict[str, int] = {}
    for row in map(json.loads, lines):
        counts[row["source"]] = counts.get(row["source"], 0) + row["selected"]
    assert counts == {"public-real": 8, "text-synthetic": 4}


def test_other_weights_show_in_a_diff(mixed: catalog.Catalog) -> None:
    old = mixed.select().manifest()
    new = mixed.select(sources={"public-real": 1, "text-synthetic": 0.5}).manifest()
    assert diff(old, new)["same"] == 12
    assert diff(old, new)["parameters"] == {
        "sources": [None, ["public-real", "text-synthetic"]],
        "mixture": [{}, {"public-real": 1.0, "text-synthetic": 0.5}],
    }


def test_run_selects_by_source_besides_naming_what_it_ingests(command, mixed: catalog.Catalog) -> None:
    help_text = command("lensdata", "run", "--help").stdout
    assert "--select-source" in help_text and "--source" in help_text
    assert "--select-source" not in command("lensdata", "build-shards", "--help").stdout


def test_a_source_of_which_nothing_passes_is_told(command, mixed: catalog.Catalog, tmp_path) -> None:
    done = command("lensdata", "build-shards", "--out", tmp_path / "s", "--source", "public-real", "--source",
                   "text-synthetic=2", "--where", "image_id < 13")  # fmt: skip
    assert done.returncode == 0 and "no image of source text-synthetic is selected" in done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ("--source", "privat"),
            "no source privat; there are public-real (12 images), text-synthetic (6 images)",
        ),
        (("--source", "public-real=0"), "must be a number above 0"),
        (("--source", "public-real=-1"), "must be a number above 0"),
        (("--source", "public-real=nan"), "must be a number above 0"),
        (("--source", "public-real=much"), "does not end in a number"),
        (("--source", "public-real=1", "--source", "public-real"), "is given twice"),
    ],
)
def test_wrong_sources_are_refused(command, mixed: catalog.Catalog, tmp_path, args, message: str) -> None:
    done = command("lensdata", "build-shards", "--out", tmp_path / "s", *args)
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "s").exists()
