"""The command line: exit codes, one line per error, machine-readable output, help that costs nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.console import run_command
from lensmodel.cli import cli

ROOT = Path(__file__).parents[2]


def run(capsys, *args):
    """(exit code, stdout, the line of stderr that is the error)."""
    code = run_command(cli, "lensmodel", [str(a) for a in args])
    captured = capsys.readouterr()
    errors = [line for line in captured.err.splitlines() if line.startswith("lensmodel: ")]
    return code, captured.out, errors


def test_help_explains_each_command_without_importing_torch():
    code = (
        "import sys; from lensmodel.cli import cli; from catalog.console import run_command\n"
        "assert all(run_command(cli, 'lensmodel', a) == 0 for a in "
        "(['--help'], ['train', '--help'], ['sample', '--help'], ['presets', 'mini']))\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Example:") == 2 and "max_steps=2000" in done.stdout


def test_train_then_sample(tiny, tiny_overrides, tmp_path, capsys):
    out = tmp_path / "run"
    code, stdout, _ = run(
        capsys, "train", "--shards", tiny.root, "--preset", "mini", "--out", out, "--json", *tiny_overrides
    )
    assert code == 0
    summary = json.loads(stdout)
    assert summary["step"] == 8 and Path(summary["checkpoint"]).is_dir()

    args = (
        "sample",
        "--checkpoint",
        out,
        "--prompt",
        "a red square",
        "--count",
        2,
        "--steps",
        2,
        "--out",
        tmp_path / "s",
    )
    code, stdout, _ = run(capsys, *args)
    files = [Path(line) for line in stdout.splitlines()]
    assert code == 0 and len(files) == 3 and all(f.is_file() for f in files)
    code, stdout, _ = run(capsys, *args, "--json")
    assert [Path(p) for p in json.loads(stdout)["images"]] == files[:2]


def test_train_finds_a_manifest_of_the_catalog_by_name(make_manifest, tiny_overrides, tmp_path, capsys):
    made = make_manifest(tmp_path / "data")
    (tmp_path / "catalog" / "manifests").mkdir(parents=True)
    made.root.rename(tmp_path / "catalog" / "manifests" / "mine")
    args = (
        "--catalog",
        tmp_path / "catalog",
        "train",
        "--out",
        tmp_path / "run",
        *tiny_overrides,
        "max_steps=2",
        "--manifest",
    )
    assert run(capsys, *args, "mine")[0] == 0
    code, _, errors = run(capsys, *args, "other")
    assert code == 2 and "no manifest 'other'" in errors[0] and "there are mine" in errors[0]


def test_bad_usage_is_one_line_and_exit_code_2(tiny, tiny_overrides, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    shards = ("--shards", tiny.root)
    out = ("--out", tmp_path / "run")
    cases = [
        (("train", *out), "--shards DIR or --manifest NAME"),
        (("train", "--shards", tmp_path / "nowhere", *out), "is not a folder"),
        (("train", "--shards", tmp_path / "empty", *out), "no manifest.json"),
        (("train", *shards, *out, "--preset", "maxi"), "there is no preset 'maxi'; there are mini"),
        (("train", *shards, *out, "--preset", "lens-3.8b"), "vae=PATH"),
        (("train", *shards, *out, "max_step=3"), "did you mean 'max_steps'"),
        (("train", *shards, *out, *tiny_overrides, "batch_512=99", "batch_768=99"), "no bucket has enough"),
        (("train", *shards, *out, *tiny_overrides, "enc_hidden_dim=64"), "set enc_hidden_dim=32"),
        (("train", *shards, *out, *tiny_overrides, "device=toaster"), "device=toaster cannot be used"),
        (("train", *shards, *out, *tiny_overrides, "device=meta"), "device=meta cannot be used"),
        (("train", *shards, *out, *tiny_overrides, "device=hpu"), "device=hpu cannot be used"),
        (("train", *shards, *out, *tiny_overrides, f"features={__file__}"), "cannot be a folder"),
        (("train", *shards, "--out", __file__, *tiny_overrides), "is a file"),
        (("train", *shards, "--out", "/proc/x", *tiny_overrides), "--out /proc/x cannot be written"),
        (("sample", "--checkpoint", tmp_path / "nowhere", "--prompt", "x"), "does not exist"),
        (("sample", "--checkpoint", tmp_path / "empty", "--prompt", "x"), "no checkpoint in it"),
        (("sample", "--checkpoint", tmp_path), "--prompt"),
    ]
    for args, message in cases:
        code, _, errors = run(capsys, *args)
        assert code == 2 and len(errors) == 1 and message in errors[0], (args, code, errors)


def test_damaged_checkpoints_are_named(tiny, tiny_overrides, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(capsys, "train", "--shards", tiny.root, "--out", out, *tiny_overrides, "max_steps=3")[0] == 0
    (folder,) = out.glob("checkpoint-*")
    weights = folder / "ema" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    code, _, errors = run(capsys, "sample", "--checkpoint", out, "--prompt", "x")
    assert code == 2 and weights.name in errors[0]
    weights.write_bytes(whole)
    state = folder / "state.json"
    text = state.read_text()
    state.write_text(text.replace("lens-checkpoint/2", "lens-checkpoint/9"))
    code, _, errors = run(capsys, "sample", "--checkpoint", out, "--prompt", "x")
    assert code == 2 and "lens-checkpoint/9" in errors[0]
    state.write_text(text[:40])
    code, _, errors = run(capsys, "sample", "--checkpoint", folder, "--prompt", "x")
    assert code == 2 and "state.json" in errors[0]


@pytest.mark.skipif(os.geteuid() != 0 or not sys.platform.startswith("linux"), reason="mounts a small tmpfs")
def test_a_full_disk_while_saving_keeps_earlier_checkpoints(tiny, tiny_overrides, tmp_path, capsys):
    from lensmodel import checkpoint, nn

    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True
    ).returncode:
        pytest.skip("mount is not allowed here")
    try:
        args = ("train", "--shards", tiny.root, "--out", disk / "run", *tiny_overrides, "keep_checkpoints=99")
        code, _, errors = run(
            capsys, *args, "checkpoint_every=1", "max_steps=20", f"features={tmp_path / 'features'}"
        )
        assert code == 1 and len(errors) == 1 and "no space left" in errors[0]
        kept = checkpoint.numbered(disk / "run")
        assert kept and not list((disk / "run").glob(".saving-*"))
        for _, folder in kept:
            nn.load(folder / "ema")
    finally:
        subprocess.run(["umount", disk], check=True)
