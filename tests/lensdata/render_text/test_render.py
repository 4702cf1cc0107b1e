"""The folder that render writes: pairs complete, stable under a larger n, resumable, and honest about bad
input."""

import json

import numpy as np
import pytest
from PIL import Image

from catalog.errors import BadInput
from lensdata.render_text import render
from lensdata.render_text.fonts import by_script, find_fonts

pytestmark = pytest.mark.skipif(
    "latin" not in by_script(find_fonts())[0], reason="no font with Latin letters"
)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_makes_complete_samples(tmp_path):
    summary = render(tmp_path / "a", 12, seed=4)
    assert summary.made == 12 and not summary.failed and sum(summary.scripts.values()) == 12
    images = sorted(path for path in (tmp_path / "a").iterdir() if path.suffix in (".jpg", ".png"))
    assert [path.stem for path in images] == [f"text-{index:06d}" for index in range(12)]
    for path in images:
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        assert path.with_suffix(".txt").read_text(encoding="utf-8").strip()
        with Image.open(path) as image:
            image.load()
            assert image.size == (facts["width"], facts["height"])
        assert {"font", "script", "size", "rotation", "text_blur", "colour", "background", "seed"} <= set(
            facts
        )


def test_a_larger_n_keeps_the_first_and_an_interrupted_run_is_completed(tmp_path):
    render(tmp_path / "whole", 8)
    render(tmp_path / "steps", 3)
    victim = next(
        path for path in (tmp_path / "steps").glob("text-000001.*") if path.suffix in (".jpg", ".png")
    )
    victim.unlink()  # as if killed between the sidecars and the image
    before = contents(tmp_path / "steps")
    summary = render(tmp_path / "steps", 8)
    assert (summary.existing, summary.made) == (2, 6)
    assert before.items() <= contents(tmp_path / "steps").items()
    assert contents(tmp_path / "steps") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_worker_processes_make_the_same_files(tmp_path):
    render(tmp_path / "one", 70, workers=1)
    render(tmp_path / "two", 70, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_backgrounds_come_from_the_folder(tmp_path):
    grounds = tmp_path / "grounds"
    grounds.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(grounds / "noise.png")
    (grounds / "broken.jpg").write_bytes(b"no picture")
    render(tmp_path / "out", 10, backgrounds=grounds)
    kinds = [json.loads(path.read_text())["background"] for path in (tmp_path / "out").glob("*.json")]
    assert "picture noise.png" in kinds and not any("broken" in kind for kind in kinds)


def test_only_the_scripts_asked_for(tmp_path):
    assert set(render(tmp_path / "a", 4, scripts=("latin",)).scripts) == {"latin"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scripts": ("klingon",)}, "unknown script 'klingon'"),
        ({"n": -1}, "must not be negative"),
        ({"backgrounds": "nowhere"}, "no folder"),
        ({"fonts": ["nowhere.ttf"]}, "no font file or folder"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path, options, message):
    options = {"n": 2, **options}
    with pytest.raises(BadInput, match=message) as caught:
        render(tmp_path / "a", **options)
    assert "\n" not in str(caught.value)


def test_another_series_is_not_mixed_in(tmp_path):
    render(tmp_path / "a", 1, seed=0)
    before = contents(tmp_path / "a")
    with pytest.raises(BadInput, match="give another folder"):
        render(tmp_path / "a", 2, seed=1)
    assert contents(tmp_path / "a") == before


def test_a_folder_of_someone_elses_is_left_alone(tmp_path):
    (tmp_path / "text-mine.jpg").write_bytes(b"x")
    with pytest.raises(BadInput, match="not made by render-text"):
        render(tmp_path, 1)
