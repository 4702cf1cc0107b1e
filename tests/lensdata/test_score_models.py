"""`--models FILE` from end to end: four tiny checkpoints score a folder, a selection and a dedup follow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import catalog
from catalog import pixels
from catalog.errors import BadInput
from lensdata import engine, scorers
from lensdata.bucket import bucket
from lensdata.caption import FromSource, caption
from lensdata.dedup import dedup
from lensdata.engine.task import unguarded
from lensdata.ingest import ingest
from lensdata.models import Models, plan
from lensdata.score import Summary, _Part, score
from tests.helpers import fill, picture
from tests.lensdata.models import tiny

LEARNED = ("nsfw", "aesthetic", "watermark")
ANYTHING = {"max_nsfw": None, "min_aesthetic": None, "max_watermark": None, "min_area": None}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.all_four(tmp_path_factory.mktemp("models"))


@pytest.fixture
def opened(tmp_path: Path) -> catalog.Catalog:
    """Six pictures and a byte copy of the first."""
    folder = fill(tmp_path / "images", 6, ((200, 200), (180, 240), (300, 300)))
    (folder / "copy.png").write_bytes((folder / "picture-0000.png").read_bytes())
    made = catalog.open(tmp_path / "catalog")
    ingest(made, [folder], workers=1)
    return made


def test_the_files_models_score_select_and_deduplicate(opened: catalog.Catalog, models: Path) -> None:
    """From the light tier to the file's models: both stand side by side, and nothing is measured twice."""
    some = ("nsfw", "embedding", "clarity")
    assert score(opened, "light", some, workers=1).images == 7
    light = opened.sql("SELECT image_id, nsfw, nsfw_scorer, clarity FROM scores ORDER BY image_id")

    assert score(opened, str(models), workers=1) == Summary(7, 0)
    ids, found = scorers.chosen(str(models))
    rows = opened.sql("SELECT s.*, uri FROM scores s JOIN images USING (image_id) ORDER BY image_id")
    images = [pixels.decode(Path(uri).read_bytes()).rgb for uri in rows["uri"]]
    expected = Models(found).run([rgb for rgb in images if rgb is not None], set(ids))
    known = {row["scorer_id"]: row for row in opened.named("score/scorers").iter_rows(named=True)}
    for metric in LEARNED:
        assert rows[f"{metric}_state"].to_list() == ["scored"] * 7
        np.testing.assert_allclose(rows[metric].to_numpy(), expected[metric], atol=1e-5)
        [scorer] = set(rows[f"{metric}_scorer"])
        assert scorer not in set(light["nsfw_scorer"])
        row = known[scorer]
        assert (row["tier"], row["revision"]) == ("custom", ids[metric].revision)
        assert (row["name"], row["preprocessing"]) == (ids[metric].name, ids[metric].preprocessing)
    assert rows["clarity"].to_list() == light["clarity"].to_list()
    assert score(opened, str(models), workers=1).images == 0

    assert dedup(opened, tier=str(models), workers=1) is not None
    assert dedup(opened, tier=str(models), workers=1) is None
    folder = opened.root / "embeddings" / scorers.embedding_model(ids["embedding"])
    [path] = [path for path in folder.glob("*.npy") if "thumb" not in path.name]
    np.testing.assert_allclose(np.load(path), expected["embedding"], atol=1e-3)
    assert len(opened.sql("SELECT image_id FROM clusters WHERE reason = 'bytes'")) == 1
    caption(opened, FromSource(names=True))
    bucket(opened)
    cut = float(np.median(expected["nsfw"]))
    selected = opened.select(**{**ANYTHING, "max_nsfw": cut}, captions=("alt",)).frame()
    keepers = set(opened.sql("SELECT image_id FROM clusters WHERE reason IS NULL")["image_id"])
    passing = {i for i, nsfw in rows.select("image_id", "nsfw").rows() if nsfw <= cut and i in keepers}
    assert set(selected["image_id"]) == passing and 0 < len(passing) < len(keepers)

    count = "SELECT model, count(*) AS n FROM embeddings GROUP BY model ORDER BY model"
    both = opened.sql(count)
    assert both["n"].to_list() == [7, 7]
    assert score(opened, "light", ("nsfw", "embedding"), workers=1).images == 0, "both are still there"
    assert opened.sql(count).equals(both)
    [before] = set(light["nsfw_scorer"])
    kept = opened.sql(f"SELECT value_{before} AS nsfw FROM measured ORDER BY image_id")["nsfw"]
    assert kept.to_list() == light["nsfw"].to_list()
    assert opened.sql("SELECT nsfw FROM scores ORDER BY image_id")["nsfw"].equals(rows["nsfw"])


def test_a_bad_checkpoint_ends_the_job_with_its_line(
    opened: catalog.Catalog, models: Path, tmp_path: Path
) -> None:
    tiny.watermark(tmp_path / "marks")
    tiny.edit(tmp_path / "marks" / "model.safetensors", lambda state: state.pop("classifier.bias"))
    file = tmp_path / "models.toml"
    file.write_text('watermark = "./marks"\n')
    with pytest.raises(BadInput, match=r"marks/model\.safetensors .* tensor classifier\.bias is missing"):
        score(opened, str(file), only=("watermark",), workers=1)
    assert opened.sql("SELECT count(*) FROM scores").item() == 0
    assert (
        score(opened, str(file), only=("entropy",), workers=1).images == 7
    )  # its other scores do not need it


def test_models_see_large_jpegs_at_the_side_they_need(tmp_path: Path, models: Path) -> None:
    """A scaled JPEG decode to short side 400 would be enlarged again for EVA's 448."""
    folder = tmp_path / "images"
    folder.mkdir()
    picture(0, 800, 900).save(folder / "a.jpg")
    opened = catalog.open(tmp_path / "catalog")
    ingest(opened, [folder], workers=1)
    item = opened.sql("SELECT * FROM images").row(0, named=True)
    seen = {}
    for choice in ("light", str(models)):
        chosen = plan(choice, {"nsfw"})
        settings = {
            "scorers": {1: "nsfw"},
            "metrics": (),
            "embedding": None,
            "plan": chosen,
            "root": tmp_path,
        }
        part = _Part(engine.Task("p", [item], settings))
        seen[chosen.side] = part.measure(item, {}, {"nsfw": 1}, unguarded())
    assert {wanted: rgb.shape for wanted, rgb in seen.items() if rgb is not None} == {
        0: (450, 400, 3),  # what the light models are given
        512: (576, 512, 3),
    }


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("timm/vit_large_patch14_clip_224.openai", "timm--vit_large_patch14_clip_224.openai@r"),
        ("efficientnet-lite0+layout", "efficientnet-lite0+layout@r"),
        ("../../up", "..--..--up@r"),
    ],
)
def test_an_embeddings_folder_is_one_safe_name(name: str, folder: str) -> None:
    identity = scorers.ScorerId("embedding", name, "r", "", "paper")
    assert scorers.embedding_model(identity) == folder


def test_the_command_takes_a_file(command, images: Path, models: Path, tmp_path: Path) -> None:
    assert command("lensdata", "ingest", images).returncode == 0
    done = command("lensdata", "score", "--models", models, "--only", "watermark", "--workers", "1")
    assert (done.returncode, done.stdout) == (0, "12 images scored\n"), done.stderr
    assert "transformers" not in done.stderr
    (tmp_path / "bad.toml").write_text('watermrk = "paper"\n')
    for stage in ("dedup", "run"):
        done = command("lensdata", stage, "--models", tmp_path / "bad.toml")
        assert done.returncode == 2
        assert "did you mean 'watermark'?" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
    done = command("lensdata", "score", "--models", "paper")
    assert done.returncode == 1
    assert "from the hub" in done.stderr and "--models FILE" in done.stderr and "Traceback" not in done.stderr
