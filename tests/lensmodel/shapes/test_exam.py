"""The exam: its marks on true, wrong and partly true pictures, and a real checkpoint that takes it by command."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from catalog.console import run_command
from catalog.errors import BadInput
from lensmodel import presets
from lensmodel.cli import cli
from lensmodel.features import CachedEncoder, FeatureCache
from lensmodel.generate import Generator
from lensmodel.shapes.exam import FORMS, Exam, mark, take, texts
from lensmodel.shapes.prompts import TASKS, ask, prompts, rewritten
from lensmodel.shapes.render import render
from lensmodel.shapes.verify import strict
from lensmodel.sheet import CELL
from lensmodel.trainer import Trainer


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("world", "size"), [("grid", (32, 32)), ("free", (56, 40))])
def test_true_pictures_get_full_marks(form: str, world: str, size: tuple[int, int]) -> None:
    asked = ask(6, world=world, size=size)
    marks = mark([render(p.scene) for p in asked], asked, [spec for _, spec in texts(asked, form)])
    assert marks.tasks == dict.fromkeys(TASKS, 1.0)
    assert (marks.overall, marks.strict, marks.rubrics) == (1.0, 1.0, 1.0)


def test_pictures_of_other_prompts_get_next_to_none() -> None:
    asked = ask(8)
    told = [spec for _, spec in texts(asked, "dense")]
    pictures = [render(p.scene) for p in asked]
    wrong = mark(pictures[3:] + pictures[:3], asked, told)
    assert wrong.overall < 0.3 and wrong.strict == 0 and 0 < wrong.rubrics < 0.7


def test_the_score_asks_for_the_prompt_and_strict_for_the_whole_text() -> None:
    """A picture with all that the prompt says, in another place and on another ground."""
    asked = prompts("colors", 12)
    same = [p for p in prompts("colors", 400, seed=1) if any(p.spec.items == q.spec.items for q in asked)]
    pairs = [
        (q, p) for q in asked for p in same if p.spec.items == q.spec.items and p.scene.tone != q.scene.tone
    ]
    assert pairs
    pictures, wanted = [render(p.scene) for _, p in pairs], [q for q, _ in pairs]
    marks = mark(pictures, wanted, [spec for _, spec in texts(wanted, "dense")])
    assert marks.overall == 1.0
    assert marks.strict == 0.0
    assert 0 < marks.rubrics < 1


def test_a_prompt_is_rewritten_alike_whatever_its_neighbours() -> None:
    few, many = prompts("position", 3), prompts("position", 9)
    assert [rewritten(p) for p in few] == [rewritten(p) for p in many[:3]]
    for prompt in many:
        text, spec = rewritten(prompt)
        assert len(text) > len(prompt.text)
        assert strict(render(prompt.scene), spec)


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(BadInput, match="form 'terse'"):
        Exam("terse")


@pytest.fixture(scope="module")
def run(tiny, tiny_overrides, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exam") / "run"
    more = ["brief_fraction=1", f"features={folder.parent / 'features'}"]
    Trainer(tiny, presets.build("mini", [*tiny_overrides, *more]), folder, False).run()
    return folder


def test_a_checkpoint_takes_it_and_cached_features_change_nothing_but_rounding(run) -> None:
    exam = Exam("brief", n=2, steps=2)
    marks, pictures = take(Generator(run), exam)
    assert list(marks.tasks) == list(TASKS) and len(pictures) == 12
    assert pictures[0].shape == (32, 32, 3)
    again = Generator(run, features=run.parent / "features")
    assert isinstance(again.encoder, CachedEncoder)
    for _ in range(2):  # the second time without the encoder
        _, cached = take(again, exam)
        difference = np.abs(np.stack(cached).astype(int) - np.stack(pictures))
        assert difference.mean() < 2
        again = Generator(run, features=run.parent / "features")
        again.encoder.device = "nowhere"  # loading it would fail
    asked = [prompt.text for prompt in ask(2)]
    assert not FeatureCache(run.parent / "features", again.encoder.cache.config).missing(asked)


def test_the_command(run, capsys, tmp_path) -> None:
    def call(*line: object) -> tuple[int, str, str]:
        code = run_command(cli, "lensmodel", ["evaluate", "shapes", *map(str, line)])
        return code, *capsys.readouterr()

    first = sorted(run.glob("checkpoint-*"))[0]
    code, out, _ = call(
        "--checkpoint", first, "--checkpoint", run, "--form", "brief", "--form", "dense", "-n", 1, "--steps", 2,
        "--width", 768, "--height", 512, "--sheet", tmp_path / "sheet.png", "--json",
    )  # fmt: skip
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["step"], row["form"]) for row in rows] == [
        (3, "brief"),
        (3, "dense"),
        (8, "brief"),
        (8, "dense"),
    ]
    assert all((row["width"], row["height"], row["n"]) == (768, 512, 1) for row in rows)
    assert 0 < rows[0]["cpu_seconds"] < rows[2]["cpu_seconds"]
    bare = Image.open(tmp_path / "sheet.png")
    assert bare.width < bare.height and bare.text["size"] == "768x512"
    assert bare.text["overall"] == f"{rows[-1]['overall']:.4f}"

    code, out, _ = call("--checkpoint", run, "-n", 1, "--steps", 2)
    assert code == 0 and len(out.splitlines()) == 2 and "rubrics" in out
    code, out, _ = call(
        "--checkpoint", run, "-n", 2, "--steps", 2, "--columns", 2, "--sheet", tmp_path / "more.png",
        "--prompt", "a red heart", "--prompt", "a tree", "--prompt", "a red heart", "--prompt", "café",
    )  # fmt: skip
    assert code == 0 and out.splitlines()[-1].endswith(
        f"of 12 prompts drawn as asked: {tmp_path / 'more.png'}"
    )
    more = Image.open(tmp_path / "more.png")
    assert more.text["prompts"].split("\n") == ["a red heart", "a tree", "café"]
    assert more.height - bare.height > 2 * CELL  # two rows for three prompts
    code, _, said = call("--checkpoint", "nowhere")
    assert code == 2 and "does not exist" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("--checkpoint", "nowhere"), "nowhere does not exist"),
        (("--guidance", "nan"), "--guidance nan is no finite number"),
        (("--prompt", "a tree"), "give --sheet FILE.png, too"),
        (("--sheet", "sheet.gif"), "does not name a PNG file"),
        (("--sheet", "/proc/none/sheet.png"), "cannot be written (No such file or directory)"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_drawn(run, capsys, line, said) -> None:
    code = run_command(cli, "lensmodel", ["evaluate", "shapes", "--checkpoint", str(run), "-n", "1", *line])
    out, err = capsys.readouterr()
    assert code == 2 and out == "" and said in err and len(err.splitlines()) == 1
