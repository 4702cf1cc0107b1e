"""A brief caption that comes with an image reaches training, through the commands alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from catalog import manifest
from lensmodel.data.loader import Captions

NO_FILTERS = ["--no-dedup"] + [
    f"--{name}=none"
    for name in ("min-aesthetic", "max-nsfw", "max-watermark", "min-clarity", "min-entropy", "min-luminance",
                 "max-luminance")
]  # fmt: skip


@pytest.fixture
def done(command):
    def run(name: str, *args: object) -> dict:
        result = command(name, *args, "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return run


def test_from_shapes_to_the_choice_of_a_caption(done, tmp_path: Path) -> None:
    done("lensmodel", "shapes", "--out", "shapes", "-n", 12, "--workers", 1)
    done("lensdata", "ingest", "shapes", "--workers", 1)
    copied = done("lensdata", "caption")
    assert copied == {"style": "alt", "captioned": 12, "failed": 0, "brief": 12, "dense": 0}
    done("lensdata", "bucket")
    folder = tmp_path / "shapes"
    briefs = [json.loads(path.read_bytes())["brief"] for path in sorted(folder.glob("shapes-*.json"))]
    texts = [path.read_text() for path in sorted(folder.glob("*.txt"))]
    for kind, flags in (("shards", []), ("virtual", ["--virtual"])):
        done("lensdata", "build-shards", "--out", kind, *NO_FILTERS, *flags)
        found = manifest.load(tmp_path / kind)
        samples = found.samples.sort("image_id")
        assert samples["brief"].to_list() == briefs
        assert samples["caption"].to_list() == texts
        for row, image_id in enumerate(found.samples["image_id"]):
            sample = found.read(row)
            assert (sample.brief, sample.caption) == (briefs[image_id - 1], texts[image_id - 1])
        captions = Captions(found, seed=1, brief_fraction=0.5, dropout=0.0)
        chosen = [captions.choose(epoch, row) for epoch in range(4) for row in range(12)]
        assert set(chosen) <= {*briefs, *texts}
        assert 12 < sum(text in briefs for text in chosen) < 36
