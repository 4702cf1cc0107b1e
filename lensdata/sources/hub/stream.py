"""Reading a dataset as a stream: `hf://NAME[@REVISION][:CONFIG][#SPLIT]`, where NAME is one of the hub, `owner/name`,
or the absolute path of a local folder that `datasets` can load. No code of a dataset is run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from catalog.errors import BadInput, LensError
from lensdata.sources.hub.version import of_files, of_hub
from lensdata.sources.kept import Row
from lensdata.sources.source import DEFAULTS, Columns
from lensdata.sources.tables.cell import image_of
from lensdata.sources.tables.columns import IMAGES, columns_read
from lensdata.sources.texts import values

SCHEME = "hf://"


@dataclass(frozen=True)
class Spec:
    """A dataset to stream; None for revision, config and split is what `datasets` takes by default, all splits."""

    name: str
    revision: str | None = None
    config: str | None = None
    split: str | None = None

    @property
    def local(self) -> bool:
        return self.name.startswith("/")

    def __str__(self) -> str:
        marks = (("@", self.revision), (":", self.config), ("#", self.split))
        return SCHEME + self.name + "".join(mark + text for mark, text in marks if text)


def parse(url: str) -> Spec:
    """Read hf://NAME[@REVISION][:CONFIG][#SPLIT]. Raises BadInput."""
    text = url.removeprefix(SCHEME)
    if text.startswith("/") and Path(text).is_dir():  # whatever its name holds
        return Spec(text.rstrip("/"))
    text, _, split = text.partition("#")
    text, _, config = text.partition(":")
    name, _, revision = text.partition("@")
    parts_of_name = [part for part in name.split("/") if part]
    if not parts_of_name or (not name.startswith("/") and len(parts_of_name) > 2):
        raise BadInput(
            f"{url} names no dataset; write hf://owner/name[@revision][:config][#split] or hf:///a/folder"
        )
    return Spec(name.rstrip("/"), revision or None, config or None, split or None)


@dataclass
class Split:
    """A split of a dataset: its stream, which columns have what, which further ones are of text, and, if its first row
    had to tell that, the rows that go on with it."""

    name: str
    stream: Any
    named: dict[str, str]
    further: list[str]
    begun: Iterator[dict[str, Any]] | None = None


def rows(spec: Spec, splits: list[Split], last: dict[str, Any] | None) -> Iterator[Row]:
    """The rows after `last`, the state of an earlier stream. Each has its split's name and the stream's state after
    it; one without bytes says as `failed` which it is and why."""
    number = last["row"] if last else 0
    for split in splits:
        if last is not None and split.name != last["split"]:
            continue  # it came before, and is whole
        stream = split.stream
        if last is not None:
            stream.load_state_dict(last["state"])
        begun = split.begun if last is None else None
        last = None
        for cells in _cells(spec, split, stream if begun is None else begun):
            image = _image(spec, cells["image"])
            read = columns_read({key: [cell] for key, cell in cells.items()}, split.named)
            row = {key: column[0] for key, column in read.items()} | {
                "row": number, "split": split.name, "state": stream.state_dict(), "data": None, "uri": None,
            }  # fmt: skip
            if isinstance(image, bytes):
                path = cells["image"].get("path") if isinstance(cells["image"], dict) else None
                row |= {"data": image, "uri": path}
            else:
                row["failed"] = (f"{spec}/{split.name}/{number}", image or "the row holds no image")
            yield row
            number += 1


def _cells(spec: Spec, split: Split, stream: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    try:
        for row in stream:
            yield {key: row[name] for key, name in split.named.items()}
    except Exception as error:  # of the network, of the files' format: `datasets` has many
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise LensError(f"{spec} broke off ({text}); run the same command again to go on") from None


def _image(spec: Spec, value: Any) -> bytes | str | None:
    """The bytes of an undecoded image, None if there is none, or why they cannot be had."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str | list):
        return image_of(value)[0]
    if not isinstance(value, dict) or not (value.get("bytes") or value.get("path")):
        return None
    if value.get("bytes"):
        return bytes(value["bytes"])
    if not _within(spec, str(value["path"])):
        return f"{value['path']} is no path in the dataset"
    import fsspec

    try:
        with fsspec.open(value["path"], "rb") as file:
            return bytes(file.read())
    except Exception as error:
        return " ".join(f"{value['path']}: {type(error).__name__}: {error}".split())


def _within(spec: Spec, path: str) -> bool:
    """Whether a path, perhaps into an archive (`zip://a.png::...`), is of the dataset's own files: a row of it must
    not make us read others."""
    outer = path.rpartition("::")[2]
    if spec.local:
        return Path(outer).resolve().is_relative_to(Path(spec.name).resolve())
    return (
        outer.startswith((f"hf://datasets/{spec.name}@", f"hf://datasets/{spec.name}/")) and ".." not in outer
    )


def splits_of(spec: Spec, columns: Columns) -> tuple[str, list[Split]]:
    """The version of the dataset, and the splits that were asked for, ready to be streamed in that version.

    Raises BadInput if it cannot be reached or loaded, or lacks a split or column.
    """
    import datasets

    if spec.local:
        version = of_files(Path(spec.name))
    else:
        version = of_hub(spec.name, spec.revision, str(spec))
    options: dict[str, Any] = {} if spec.local else {"revision": version}
    try:
        found = datasets.load_dataset(spec.name, spec.config, streaming=True, **options)
    except Exception as error:
        raise _unloaded(spec, error) from None
    if spec.split is not None and spec.split not in found:
        raise BadInput(f"{spec} has no split {spec.split!r}; it has {', '.join(map(str, found))}")
    wanted = {str(name): stream for name, stream in found.items() if spec.split in (None, name)}
    return version, [_split(spec, name, stream, columns) for name, stream in wanted.items()]


def _split(spec: Spec, name: str, stream: Any, columns: Columns) -> Split:
    """The split with its image column undecoded. Raises BadInput if it lacks a column."""
    import datasets

    begun, declared = None, stream.features
    if declared is None:
        begun = iter(stream)
        try:
            first = next(begun, None)
        except Exception as error:
            raise _unloaded(spec, error) from None
        declared = {} if first is None else first
        begun = begun if first is None else chain([first], begun)
    image = _image_column(declared, columns)
    for _, wanted, option in (("image", image, "--image-column"), *columns.texts):
        if wanted not in declared:
            raise BadInput(
                f"{spec} has no column {wanted!r} in {name}; it has {', '.join(declared)}: name one with {option}"
            )
    named = {"image": image}
    for key, guesses in (values.NAMES | values.ORIGIN).items():
        if found := values.guess([name for name in declared if _is_text(declared[name])], guesses):
            named[key] = found
    named |= {key: wanted for key, wanted, _ in columns.texts}
    further = [column for column in declared if _is_text(declared[column]) and column not in named.values()]
    if begun is None:
        stream = stream.select_columns(sorted(set(named.values())))
        if isinstance(declared[image], datasets.Image):
            stream = stream.cast_column(image, datasets.Image(decode=False))
    return Split(name, stream, named, further, begun)


def _is_text(declared: Any) -> bool:
    """Whether a column declared so, or with this value in the first row, holds text, or lists of texts."""
    if isinstance(declared, list):
        return bool(declared) and _is_text(declared[0])
    if (within := getattr(declared, "feature", None)) is not None:
        return _is_text(within)
    return isinstance(declared, str) or getattr(declared, "dtype", None) in ("string", "large_string")


def _image_column(declared: dict[str, Any], columns: Columns) -> str:
    """The column of images: the one that is named, else one of a usual name, else the only one that is declared so."""
    import datasets

    if columns.image != DEFAULTS.image:
        return columns.image
    images = [name for name, kind in declared.items() if isinstance(kind, datasets.Image)]
    guessed = values.guess(images or list(declared), IMAGES)
    return guessed or (images[0] if len(images) == 1 else columns.image)


def _unloaded(spec: Spec, error: Exception) -> BadInput:
    return BadInput(f"{spec} cannot be loaded: {' '.join(str(error).split()) or type(error).__name__}")
