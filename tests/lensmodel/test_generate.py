"""From a checkpoint to files: levels, sizes, names that tell pictures apart, what is refused."""

import json

import pytest
import torch
from PIL import Image

from catalog.console import run_command
from catalog.errors import BadInput, LensError
from lensmodel import generate, presets
from lensmodel.cli import cli
from lensmodel.trainer import Trainer


@pytest.fixture(scope="module")
def run(tiny, tiny_overrides, tmp_path_factory):
    run = tmp_path_factory.mktemp("drawn") / "run"
    Trainer(tiny, presets.build("mini", [*tiny_overrides, "max_steps=1"]), run, False).run()
    return run


@pytest.fixture(scope="module")
def generator(run):
    return generate.Generator(run, device="cpu")


def draw(capsys, run, out, *args):
    code = run_command(
        cli, "lensmodel", ["sample", "--checkpoint", str(run), "--out", str(out), "--json", *map(str, args)]
    )
    told = capsys.readouterr()
    return json.loads(told.out)["images"] if code == 0 else (code, told.err.splitlines()[-1])


@pytest.mark.parametrize("steps", [1, 20, 40, 200])
@pytest.mark.parametrize("mu", [None, 0.5])
def test_no_level_lies_where_an_x0_network_gives_too_small_a_velocity(generator, steps, mu, monkeypatch):
    import dataclasses

    monkeypatch.setattr(generator, "settings", dataclasses.replace(generator.settings, sample_mu=mu))
    levels = generator.sigmas(16, steps)
    assert levels[0] == 1 and levels[-1] == 0 and len(levels) <= steps + 1
    assert (levels[:-1] >= 0.05).all() and (levels.diff() < 0).all()


def test_many_steps_leave_no_noise(generator):
    """With a network that always predicts the same picture every number of steps must end in that picture."""
    from lensmodel.sampler import METHODS, sample

    x0, x = torch.full((1, 16, 4), 0.3), torch.randn(1, 16, 4)
    for steps in (5, 100):
        for method in METHODS:
            found = sample(lambda x, s: (x - x0) / s.clamp(min=0.05), x, generator.sigmas(16, steps), method)
            torch.testing.assert_close(found, x0, atol=1e-4, rtol=0)


def test_sizes_are_those_of_buckets_or_multiples(generator):
    assert generator.size(608, 448) == (608, 448)
    assert generator.size(768, None) == (768, 768)
    assert generator.size(None, None) in [(512, 512), (608, 448)]
    with pytest.raises(BadInput, match=r"100x37: .*multiples of 128.*nearest is 128x128"):
        generator.size(100, 37)
    with pytest.raises(BadInput, match="nearest is 640x384"):
        generator.size(650, 400)


def test_only_the_same_picture_is_overwritten(run, tmp_path, capsys):
    base = ("--prompt", "a red square", "--steps", 2)
    first = draw(capsys, run, tmp_path, *base)
    assert draw(capsys, run, tmp_path, *base) == first
    others = [
        draw(capsys, run, tmp_path, "--prompt", "a red square", *more)
        for more in (
            ("--steps", 3), ("--steps", 2, "--guidance", 2), ("--steps", 2, "--width", 768, "--height", 512),
            ("--steps", 2, "--method", "heun"), ("--steps", 2, "--raw"), ("--steps", 2, "--seed", 1),
        )
    ]  # fmt: skip
    assert len({*first, *(path for paths in others for path in paths)}) == 7
    inside = Image.open(first[0]).text
    assert inside["prompt"] == "a red square" and inside["steps"] == "2" and inside["guidance"] == "5.0"
    assert inside["method"] == "euler" and inside["checkpoint"] == "checkpoint-000001/ema"
    assert Image.open(others[2][0]).text["size"] == "768x512"


def test_equal_prompts_are_drawn_once(run, tmp_path, capsys):
    found = draw(capsys, run, tmp_path, "--prompt", "x", "--prompt", "y", "--prompt", "x", "--steps", 1)
    assert len(found) == len(set(found)) == 2


def test_a_prompt_as_long_as_it_likes_makes_a_file(run, tmp_path, capsys):
    (found,) = draw(capsys, run, tmp_path, "--prompt", "\u4e2d\u6587" * 200, "--steps", 1)
    assert Image.open(found).size == (32, 32) or Image.open(found).size == (40, 32)


def test_values_that_are_not_finite_are_no_picture(run, tmp_path):
    generator = generate.Generator(run, device="cpu")
    with torch.no_grad():
        next(iter(generator.model.parameters())).fill_(float("nan"))
    with pytest.raises(LensError, match="not finite") as caught:
        generator.draw(["x"], generate.Options(steps=1))
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--prompt", "a \udcff"), "is not valid UTF-8"),
        (("--prompt", "a", "--guidance", "nan"), "--guidance nan"),
        (("--prompt", "a", "--guidance", "inf"), "--guidance inf"),
        (("--prompt", "a", "--width", "100", "--height", "37"), "nearest is 128x128"),
        (("--prompt", "a", "--out", "/proc/x"), "--out /proc/x cannot be written"),
        (("--prompt", "a", "--out", __file__), "is a file"),
        (("--prompt", "a", "--checkpoint", __file__), "is a file"),
    ],
)
def test_bad_requests_are_one_line(run, tmp_path, capsys, args, message):
    code, line = draw(capsys, run, tmp_path / "out", *args)
    assert code == 2 and message in line
