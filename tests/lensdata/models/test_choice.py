"""The file behind `--models`: what it may say, and what one line answers when it says something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from catalog.errors import BadInput
from lensdata.models.choice import METRICS, PAPER_MODELS, Choice, choices


def written(folder: Path, text: str, name: str = "models.toml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_the_tiers() -> None:
    assert choices("light") == dict.fromkeys(METRICS, Choice("light"))
    assert choices("paper") == PAPER_MODELS
    assert all(choice.revision and choice.folder is None for choice in PAPER_MODELS.values())


def test_every_form_a_model_may_have(tmp_path: Path) -> None:
    found = choices(
        written(
            tmp_path,
            'device = "cuda:1"\nbatch = 64\nnsfw = "light"\nwatermark = "./marks"\n'
            '[aesthetic]\nrevision = "main"\nhead = "head.pth"\ndtype = "bfloat16"\n'
            '[embedding]\nmodel = "laion/clip"\nbatch = 8\n',
        )
    )
    assert found["nsfw"] == Choice("light")
    assert found["watermark"].folder == tmp_path / "marks"
    assert found["watermark"].revision == ""
    ours = PAPER_MODELS["aesthetic"]
    head = str(tmp_path / "head.pth")
    assert found["aesthetic"] == Choice(ours.model, "main", head, "cuda:1", "bfloat16", 64)
    assert found["embedding"] == Choice("laion/clip", "main", "", "cuda:1", "auto", 8)


def test_json_and_the_tier_of_the_rest(tmp_path: Path) -> None:
    text = json.dumps({"tier": "paper", "embedding": "light"})
    found = choices(written(tmp_path, text, "models.json"))
    assert found == {**PAPER_MODELS, "embedding": Choice("light")}
    assert choices(written(tmp_path, 'embedding = "paper"'))["nsfw"] == Choice("light")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('nsfv = "paper"', "there is no key 'nsfv'; did you mean 'nsfw'?"),
        ('[watermark]\nmodl = "paper"', r"\[watermark\] there is no key 'modl'; did you mean 'model'?"),
        ('[nsfw]\nhead = "x"', r"\[nsfw\] there is no key 'head'"),
        ("batch = 0", "batch is a number from 1 to 128, not 0"),
        ("[nsfw]\nbatch = true", r"\[nsfw\] batch is a number"),
        ('device = "gpu"', "device is auto, cpu, cuda or cuda:N, not 'gpu'"),
        ('dtype = "int8"', "dtype is auto, float32, bfloat16, float16, not 'int8'"),
        ('nsfw = "evanet"', r"\[nsfw\] model is light, paper, a hub id"),
        ('[nsfw]\nmodel = "./eva"\nrevision = "main"', r"revision belongs to a hub id; ./eva is a folder"),
        ('[nsfw]\nmodel = "light"\nbatch = 4', r"\[nsfw\] batch means nothing to the light model"),
        ("nsfw = 3", "nsfw is a model's name or a table, not 3"),
        ('tier = "heavy"', "tier is light or paper, not 'heavy'"),
        ("[nsfw]\nmodel = 3", r"\[nsfw\] model is a text, not 3"),
        ("nsfw =", "cannot be read as TOML"),
        ("nsfw = " + "[" * 100_000, "cannot be read as TOML"),
        ('nsfw = "./a\\u0000b"', "is no path"),
        ('nsfw = "~nobody-of-that-name/x"', "is no path"),
        (
            '[aesthetic]\nhead = "https://u:hunter2@h/x.pth"',
            r"head is a URL with a login \(https://\*\*\*@h/x.pth\)",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        choices(written(tmp_path, text))
    assert "models.toml" in str(caught.value) and "\n" not in str(caught.value)


def test_neither_a_tier_nor_a_file(tmp_path: Path) -> None:
    for models in ("papr", str(tmp_path / "none.toml"), str(tmp_path)):
        with pytest.raises(BadInput, match="--models is light, paper, or a TOML or JSON file"):
            choices(models)
    with pytest.raises(BadInput, match="cannot be read as JSON"):
        choices(written(tmp_path, "{", "models.json"))
    with pytest.raises(BadInput, match="expected a table"):
        choices(written(tmp_path, "[1]", "models.json"))
