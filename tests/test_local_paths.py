"""No command takes a URL for a local path: every option and argument of both commands that names one refuses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import catalog
from catalog.console import LocalPath
from catalog.errors import BadInput
from lensdata.cli import lensdata
from lensdata.cli.options import Source
from lensmodel import settings
from lensmodel.cli import cli as lensmodel

URLS = (
    "s3://bucket/folder",
    "gs://bucket/x",
    "hf://owner/name",
    "http://host/x.html",
    "HTTPS://host/x",
    "file:///x",
    "s3:/bucket/folder",
    "file:/x",
)
# Texts that may be a path or something else; each is read, never written, and refused by what reads it.
READ_ONLY = {"--shards", "--manifest", "--encoder", "--vae", "--models", "old", "new", "image"}


def commands(command: click.Command, way: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield way, command
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from commands(below, (*way, name))


ALL = [*commands(lensdata, ("lensdata",)), *commands(lensmodel, ("lensmodel",))]
PARAMETERS = [
    pytest.param(command, parameter, id=f"{' '.join(way)} {parameter.opts[0]}")
    for way, command in ALL
    for parameter in command.params
    if isinstance(parameter.type, click.Path)
]


def test_there_are_paths_in_both_commands() -> None:
    names = {parameter.id for parameter in PARAMETERS}
    assert len(names) > 20
    assert names >= {
        "lensdata --catalog", "lensmodel --catalog", "lensdata build-shards --out", "lensdata report --out",
        "lensdata run --report", "lensmodel train --out", "lensmodel sample --out", "lensmodel evaluate shapes --sheet",
    }  # fmt: skip


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(("command", "parameter"), PARAMETERS)
def test_a_url_is_no_path(command: click.Command, parameter: click.Parameter, url: str) -> None:
    assert isinstance(parameter.type, LocalPath)
    with click.Context(command) as context, pytest.raises(click.BadParameter, match="is a URL") as refused:
        parameter.type_cast_value(context, (url,) if parameter.multiple or parameter.nargs == -1 else url)
    assert refused.value.exit_code == 2 and "\n" not in refused.value.format_message()


def test_no_other_parameter_looks_like_a_path() -> None:
    """What names a file or folder has the type that refuses URLs, or is known to be read only."""
    words = (
        "out",
        "folder",
        "file",
        "dir",
        "path",
        "sheet",
        "report",
        "catalog",
        "cache",
        "checkpoint",
        "base",
    )
    for way, command in ALL:
        for parameter in command.params:
            plain = isinstance(parameter.type, click.types.StringParamType | click.File)
            named = any(word in parameter.name.split("_") for word in words)
            metavar = (parameter.metavar or "").upper()
            if plain and (named or any(word in metavar for word in ("FILE", "DIR", "FOLDER", "PATH"))):
                assert parameter.opts[0] in READ_ONLY, (way, parameter.opts)
            assert not isinstance(parameter.type, click.File)
            if parameter.name == "sources":
                assert isinstance(parameter.type, Source)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("lensdata", ("--catalog", "s3:/bucket/catalog", "ingest", "images")),
        ("lensdata", ("--catalog", "s3://bucket/catalog", "ingest", "images")),
        ("lensdata", ("report", "--out", "s3://bucket/report.html")),
        ("lensmodel", ("train", "--shards", "shards", "--out", "s3://bucket/run")),
        ("lensmodel", ("train", "--shards", "shards", "--out", "run", "features=s3://bucket/features")),
    ],
)
def test_it_is_one_line_and_nothing_is_written(
    command, tmp_path: Path, images: Path, name: str, args
) -> None:
    done = command(name, *args)
    assert done.returncode == 2 and "URL" in done.stderr and len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_the_environment_names_no_url_either(command, tmp_path: Path, images: Path) -> None:
    for args in (("ingest", "images"), ("query", "SELECT 1")):
        done = command("lensdata", *args, env={"LENS_CATALOG": "s3://bucket/catalog"})
        assert done.returncode == 2 and "s3://bucket/catalog is a URL" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_the_library_refuses_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="s3://bucket/catalog is a URL"):
        catalog.open("s3://bucket/catalog")
    with pytest.raises(BadInput, match="s3:/bucket/catalog is a URL"):
        catalog.open("s3:/bucket/catalog")
    for key in ("features", "encoder", "vae", "init_from", "sample_prompts"):
        with pytest.raises(BadInput, match="not a URL"):
            settings.parse(key, "s3://bucket/x")
    assert not any(tmp_path.iterdir())


def test_a_path_stays_a_path() -> None:
    for text in ("folder", "/a/b", "./s3:/x", "./s3:", "C:/x", "C:x", "a:b/c", "~/x"):
        assert LocalPath().convert(text, None, None) == Path(text)
