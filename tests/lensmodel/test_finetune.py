"""From a checkpoint to another model or an adapter: what it starts from, trains, saves, loads back, and refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from catalog.console import run_command
from catalog.errors import BadInput
from lensmodel import checkpoint, generate, lora, nn, origin, presets
from lensmodel.cli import cli
from lensmodel.trainer import Trainer

ROOT = Path(__file__).parents[2]
LORA = ("lora_rank=4", "lr=1e-2", "ema=0.5")


def train(manifest, overrides, run, *more, resume=False):
    trainer = Trainer(manifest, presets.build("mini", [*overrides, *more]), run, resume)
    trainer.run()
    return trainer


def sizes_free(overrides):
    """The overrides without those that init_from decides."""
    return [o for o in overrides if o.partition("=")[0] not in origin.ARCHITECTURE]


def folder(run, name="ema"):
    return checkpoint.find(run) / name


def weights(run):
    last = checkpoint.find(run)
    files = sorted(p.relative_to(last) for p in last.rglob("*.safetensors"))
    return {(str(f), name): tensor for f in files for name, tensor in load_file(last / f).items()}


def inputs(model, batch=2):
    torch.manual_seed(1)
    c = model.config
    features = [torch.randn(batch, 5, c["enc_hidden_dim"]) for _ in range(model.text_layers)]
    return torch.randn(batch, 16, c["in_channels"]), features, None, torch.rand(batch), (4, 4)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return f"features={tmp_path_factory.mktemp('features')}"


@pytest.fixture(scope="module")
def overrides(tiny_overrides, features):
    return [*tiny_overrides, features, "schedule=constant"]


@pytest.fixture(scope="module")
def base(tiny, overrides, tmp_path_factory):
    """A run of a few steps to start from. Tests must not change it."""
    run = tmp_path_factory.mktemp("base") / "run"
    train(tiny, overrides, run, "max_steps=3")
    return run


@pytest.fixture(scope="module")
def adapted(tiny, overrides, base, tmp_path_factory):
    """A finished run of LoRA from `base`. Tests must not change it."""
    run = tmp_path_factory.mktemp("adapted") / "run"
    train(tiny, sizes_free(overrides), run, *LORA, f"init_from={base}")
    return run


def test_a_new_run_starts_from_the_average_of_another_and_takes_its_architecture(
    tiny, overrides, base, tmp_path
):
    settings = presets.build("mini", [*sizes_free(overrides), f"init_from={base}", "max_steps=2"])
    assert settings.num_layers == 2 and settings.encoder_layers == (1, 3) and settings.enc_hidden_dim == 32
    trainer = Trainer(tiny, settings, tmp_path / "run", False)
    theirs = load_file(folder(base) / "diffusion_pytorch_model.safetensors")
    mine = trainer.parallel.model.state_dict()
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)
    assert trainer.at.step == 0 and not trainer.optimizer.state_dict()["state"]
    trainer.run()
    found = checkpoint.read_state(checkpoint.find(tmp_path / "run"))["origin"]
    assert found == {"path": str(folder(base)), "sha256": origin.fingerprint(folder(base))}


@pytest.mark.parametrize("kind", ["run", "checkpoint", "ema", "model", "pipeline"])
def test_what_init_from_may_name(base, tmp_path, kind):
    pipeline = tmp_path / "pipeline"
    shutil.copytree(folder(base), pipeline / "transformer")
    named = {
        "run": (base, folder(base)),
        "checkpoint": (checkpoint.find(base), folder(base)),
        "ema": (folder(base), folder(base)),
        "model": (folder(base, "model"), folder(base, "model")),
        "pipeline": (pipeline, pipeline / "transformer"),
    }
    given, wanted = named[kind]
    assert origin.weights_of(given) == wanted


def test_full_fine_tuning_resumes_without_what_it_started_from(tiny, overrides, base, tmp_path):
    start, run = tmp_path / "start", tmp_path / "run"
    shutil.copytree(folder(base), start)
    command = [*sizes_free(overrides), f"init_from={start}"]
    train(tiny, command, tmp_path / "undisturbed", "max_steps=5")
    train(tiny, command, run, "max_steps=3")
    shutil.rmtree(start)
    settings = presets.build("mini", [*command, "max_steps=5"], run)
    assert settings.num_layers == 2
    Trainer(tiny, settings, run, True).run()
    mine, theirs = weights(run), weights(tmp_path / "undisturbed")
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)
    assert checkpoint.read_state(checkpoint.find(run))["origin"]["path"] == str(start)


def test_a_new_adapter_changes_nothing_and_trains_alone(tiny, overrides, base, tmp_path):
    settings = presets.build("mini", [*sizes_free(overrides), *LORA, f"init_from={base}"])
    trainer = Trainer(tiny, settings, tmp_path / "run", False)
    model, plain = trainer.parallel.model.eval(), nn.load(folder(base))
    with torch.no_grad():
        torch.testing.assert_close(model(*inputs(model)), plain(*inputs(plain)), rtol=0, atol=0)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert all(".lora_" in name for name in trained)
    layers = {name.split(".lora_")[0] for name in trained}
    attention = ("img_qkv", "txt_qkv", "to_out.0", "to_add_out")
    every = {f"transformer_blocks.{n}.attn.{end}" for n in range(2) for end in attention}
    assert layers == every - {"transformer_blocks.1.attn.to_add_out"}  # nothing reads that one
    held = [p for group in trainer.optimizer.param_groups for p in group["params"]]
    assert len(held) == len(trained)
    mine, average = dict(model.named_parameters()), dict(trainer.parallel.ema.named_parameters())
    for name, p in mine.items():
        assert (p is average[name]) == (".lora_" not in name)  # frozen weights exist once
    again = Trainer(tiny, settings, tmp_path / "again", False).parallel.model.state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())


def test_gradient_checkpointing_of_a_frozen_model_gives_the_same_adapter(
    tiny, overrides, base, adapted, tmp_path
):
    command = [*sizes_free(overrides), *LORA, f"init_from={base}", "gradient_checkpointing=true"]
    train(tiny, command, tmp_path / "run")
    mine, theirs = weights(tmp_path / "run"), weights(adapted)
    for key in theirs:
        torch.testing.assert_close(mine[key], theirs[key], rtol=1e-4, atol=1e-5)


def test_both_libraries_load_what_was_saved(base, adapted):
    from peft import PeftModel

    merged = lora.merge(nn.load(folder(base)), lora.read(folder(adapted), nn.load(folder(base))))
    plain, diffusers = nn.load(folder(base)), nn.load(folder(base))
    diffusers.load_lora_adapter(folder(adapted), use_safetensors=True)
    peft = PeftModel.from_pretrained(nn.load(folder(base)), folder(adapted)).eval()
    with torch.no_grad():
        want, before = merged(*inputs(merged)), plain(*inputs(plain))
        assert (want - before).abs().max() > 1e-3
        for model in (diffusers, peft):
            torch.testing.assert_close(model(*inputs(plain)), want, rtol=1e-5, atol=1e-5)
    assert not [name for name, _ in merged.named_parameters() if "lora" in name]
    files = [file for file in checkpoint.find(adapted).rglob("*") if file.is_file()]
    assert len(files) == 8 and len({file.stat().st_mode for file in files}) == 1  # others may read them, too


@pytest.mark.parametrize("damage", ["missing", "extra", "misshapen", "not a file", "dora", "no rank"])
def test_an_adapter_that_does_not_fit_is_refused_by_name(base, adapted, tmp_path, damage):
    there = shutil.copytree(folder(adapted), tmp_path / "adapter")
    file, key = there / lora.PEFT, "base_model.model.transformer_blocks.0.attn.img_qkv.lora_B.weight"
    tensors, config = load_file(file), json.loads((there / lora.CONFIG).read_text())
    says = f"tensor {key.removeprefix('base_model.model.')} "
    if damage == "missing":
        del tensors[key]
        says += "is missing"
    elif damage == "extra":
        tensors[key.replace("img_qkv", "img_kqv")] = torch.zeros(1)
        says = says.replace("img_qkv", "img_kqv") + "is not part of the model"
    elif damage == "misshapen":
        tensors[key] = tensors[key][:-1].clone()
        says += r"has shape \(95, 4\), expected \(96, 4\)"
    elif damage == "dora":
        config["use_dora"] = True
        says = "use_dora is True; Lens reads plain LoRA"
    elif damage == "no rank":
        del config["r"]
        says = "is no configuration of LoRA"
    (there / lora.CONFIG).write_text(json.dumps(config))
    save_file(tensors, file)
    if damage == "not a file":
        file.unlink()
        says = "cannot be read"
    with pytest.raises(BadInput, match=says):
        lora.read(there, nn.load(folder(base)))


def test_an_adapter_draws_and_merges(base, adapted, tmp_path, capsys):
    def command(*args):
        code = run_command(cli, "lensmodel", list(map(str, args)))
        told = capsys.readouterr()
        return code, told.out.strip().splitlines(), told.err.strip().splitlines()[-1:]

    draw = ("sample", "--prompt", "a red square", "--steps", 2, "--out", tmp_path / "s")
    pictures = {run: command(*draw, "--checkpoint", run) for run in (base, adapted)}
    assert all(code == 0 for code, _, _ in pictures.values())
    assert len({Path(out[0]).read_bytes() for _, out, _ in pictures.values()}) == 2
    assert command("merge", "--checkpoint", adapted, "--out", tmp_path / "whole")[0] == 0
    whole, base_model = nn.load(tmp_path / "whole"), nn.load(folder(base))
    base_model.load_lora_adapter(folder(adapted), use_safetensors=True)
    with torch.no_grad():
        torch.testing.assert_close(whole(*inputs(whole)), base_model(*inputs(whole)), rtol=1e-5, atol=1e-5)
    assert presets.build("mini", [f"init_from={tmp_path / 'whole'}"]).num_layers == 2

    for args, says in (
        (("merge", "--checkpoint", adapted, "--out", tmp_path / "whole"), "exists; name a new folder"),
        (("merge", "--checkpoint", base, "--out", tmp_path / "x"), "is a whole model already"),
        ((*draw, "--checkpoint", base, "--base", base), "is a whole model, not an adapter; leave it out"),
        ((*draw, "--checkpoint", adapted, "--base", tmp_path / "whole"), "is not the model that this run started"),
        (("train", "--shards", tmp_path, "--out", tmp_path / "y", f"init_from={adapted}"), "is an adapter, not a"),
    ):  # fmt: skip
        code, _, (line,) = command(*args)
        assert code == 2 and says in line


def test_a_base_that_moved_is_named_and_one_that_changed_is_refused(tiny, overrides, base, tmp_path, capsys):
    old, new, run = tmp_path / "old", tmp_path / "new", tmp_path / "run"
    shutil.copytree(folder(base), old)
    command = [*sizes_free(overrides), *LORA]
    train(tiny, command, run, f"init_from={old}", "max_steps=2")
    old.rename(new)
    command = [*overrides, *LORA]  # sizes and all: the model they would come from is gone
    with pytest.raises(BadInput, match=r"old, which this run started from, is gone; say where .* init_from="):
        train(tiny, command, run, "max_steps=3", resume=True)
    with pytest.raises(BadInput, match="is gone; say where it is with --base"):
        generate.Generator(run, device="cpu")
    generate.Generator(run, device="cpu", base=new)
    train(tiny, command, run, f"init_from={new}", "max_steps=3", resume=True)
    assert checkpoint.read_state(checkpoint.find(run))["origin"]["path"] == str(new)
    file = new / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    save_file({k: v + 1e-3 for k, v in tensors.items()}, file)
    with pytest.raises(BadInput, match="is not the model that this run started from"):
        train(tiny, command, run, f"init_from={new}", "max_steps=4", resume=True)
    with pytest.raises(BadInput, match="lora_rank was 4 and is 0"):
        train(tiny, overrides, run, f"init_from={new}", "max_steps=4", "ema=0.5", "lr=1e-2", resume=True)


def test_a_base_that_trained_on_is_still_found(tiny, overrides, base, tmp_path):
    """The run named by init_from has a newer checkpoint by now; the adapter goes on with the one it is for."""
    theirs, run = shutil.copytree(base, tmp_path / "theirs"), tmp_path / "run"
    command = [*sizes_free(overrides), *LORA, f"init_from={theirs}"]
    train(tiny, command, run, "max_steps=2")
    first = checkpoint.find(theirs)
    train(tiny, overrides, theirs, "max_steps=5", resume=True)
    assert checkpoint.find(theirs) != first
    settings = presets.build("mini", [*command, "max_steps=3"], run)
    Trainer(tiny, settings, run, True).run()
    assert checkpoint.read_state(checkpoint.find(run))["origin"]["path"] == str(first / "ema")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["init_from=nowhere"], "nowhere does not exist; give a run"),
        (["init_from={file}"], "is a file; give a run"),
        (["init_from={empty}"], "is no model's folder"),
        (["init_from={base}", "num_layers=3"], "num_layers=3: the model of .* has num_layers=2; leave num_layers out"),
        (["init_from={base}", "axes_dims_rope=4,4,8"], "axes_dims_rope=4,4,8: .* has axes_dims_rope=4,6,6"),
        (["init_from={base}", "pixel_keep=4"], "takes tokens of 192 channels and gives 192; these latents have 12"),
        (["init_from={wide}"], "gives features of width 32; init_from=.* takes 48"),
        (["init_from={short}"], "tensor proj_out.bias is missing"),
        (["init_from={torn}"], "is damaged: it is not what was saved"),
        (["lora_rank=4"], "lora_rank=4 needs init_from="),
        (["lora_alpha=4"], "lora_alpha .*means nothing without lora_rank"),
        (["lora_targets=img_qkv"], "lora_targets means nothing without lora_rank"),
        (["init_from={base}", "lora_rank=-1"], "lora_rank must not be below 0"),
        (["init_from={base}", "lora_rank=4", "lora_targets=qkv"], "no linear layer that trains is called 'qkv'"),
        (["init_from={base}", "lora_rank=4", "lora_targets=img_qkv,"], "is called ''"),
        (["init_from={base}", "lora_rank=33"], "lora_rank=33 is above a side of .* take a lower rank"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(tiny, overrides, base, tmp_path, more, says):
    places = {name: tmp_path / name for name in ("file", "empty", "wide", "short", "torn")}
    places["file"].touch()
    places["empty"].mkdir()
    config = dict(nn.load(folder(base)).config)
    fields = {k: v for k, v in config.items() if not k.startswith("_")}
    nn.LensTransformer(**{**fields, "enc_hidden_dim": 48}).save_pretrained(places["wide"])
    shutil.copytree(folder(base), places["short"])
    file = places["short"] / "diffusion_pytorch_model.safetensors"
    save_file({k: v for k, v in load_file(file).items() if k != "proj_out.bias"}, file)
    shutil.copytree(base, places["torn"])
    file = folder(places["torn"]) / "diffusion_pytorch_model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-64] + bytes(64))
    more = [text.format(base=base, **places) for text in more]
    with pytest.raises(BadInput, match=says) as caught:
        train(tiny, sizes_free(overrides), tmp_path / "run", *more)
    assert "\n" not in str(caught.value)


def test_a_run_from_nothing_does_not_resume_from_something(tiny, overrides, base, tmp_path):
    train(tiny, overrides, tmp_path / "run", "max_steps=2")
    with pytest.raises(BadInput, match="has started from nothing; leave it out"):
        train(tiny, overrides, tmp_path / "run", "max_steps=3", f"init_from={base}", resume=True)


def test_other_conditions_than_the_weights_were_trained_with_are_said(
    tiny, overrides, base, tmp_path, capsys
):
    train(tiny, sizes_free(overrides), tmp_path / "run", f"init_from={base}", "template_suffix=!", "max_steps=1",
          f"features={tmp_path / 'f'}")  # fmt: skip
    assert "trained with another encoder's suffix; they have to" in capsys.readouterr().err


def test_an_adapter_killed_and_resumed_equals_undisturbed(tiny, overrides, base, tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    more = (
        *LORA,
        f"init_from={base}",
        "max_steps=24",
        "checkpoint_every=4",
        "log_every=1",
        "keep_checkpoints=99",
    )
    settings = presets.build("mini", [*sizes_free(overrides), *more])
    Trainer(tiny, settings, undisturbed, False).run()
    command = [sys.executable, "-m", "lensmodel", "train", "--shards", str(tiny.root), "--out", str(killed),
               "--resume", *sizes_free(overrides), *more]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("step 9/"):
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    assert checkpoint.numbered(killed)
    Trainer(tiny, settings, killed, True).run()
    mine, theirs = weights(killed), weights(undisturbed)
    assert mine.keys() == theirs.keys() and len({file for file, _ in mine}) == 5
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def two_processes(manifest, run, *overrides):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
               "lensmodel", "train", "--shards", str(manifest.root), "--out", str(run), *overrides]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_shards_in_bfloat16_train_and_validate(tiny, overrides, base, tmp_path):
    shared = [
        *sizes_free(overrides),
        *LORA,
        f"init_from={base}",
        "precision=bf16",
        "max_steps=4",
        "sharding=full",
    ]
    one = train(tiny, shared, tmp_path / "one", "accumulate=2")
    two_processes(tiny, tmp_path / "two", *shared)
    state = checkpoint.read_state(checkpoint.find(tmp_path / "two"))
    assert state["first_validation"] == pytest.approx(one.at.first_loss, rel=1e-5)
    assert state["last_validation"] == pytest.approx(one.at.last_loss, rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["none", "full"])
@pytest.mark.parametrize("more", [(), LORA], ids=["full", "lora"])
def test_two_processes_fine_tune_as_one(tiny, overrides, base, tmp_path, sharding, more):
    shared = [*sizes_free(overrides), "ema=0.9", f"init_from={base}", *more]
    for steps, again in ((3, []), (5, ["--resume"])):
        train(tiny, shared, tmp_path / "one", "accumulate=2", f"max_steps={steps}", resume=bool(again))
        options = (f"sharding={sharding}", f"max_steps={steps}", "gradient_checkpointing=true")
        two_processes(tiny, tmp_path / "two", *again, *shared, *options)
    mine, theirs = weights(tmp_path / "two"), weights(tmp_path / "one")
    assert mine.keys() == theirs.keys()
    for key in theirs:
        torch.testing.assert_close(mine[key], theirs[key], rtol=1e-4, atol=2e-5, msg=str(key))
