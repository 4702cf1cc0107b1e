"""Hugging Face datasets, streamed: `hf://NAME[@REVISION][:CONFIG][#SPLIT]`, where NAME is one of the hub, `owner/name`,
or the absolute path of a local folder that `datasets` can load.

The original bytes are kept (the image column is never decoded), once, in tars under CATALOG/imported. Beside each tar
stands the state of the stream after it, so a killed ingest goes on with the next. No code of a dataset is run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from catalog import extras, pixels
from catalog.bytes.tar import TarWriter
from catalog.errors import BadInput, LensError
from catalog.notices import say
from catalog.store import parts
from lensdata.sources.imported import MARK, TAR_BYTES, add, list_kept
from lensdata.sources.item import Item
from lensdata.sources.survey import Survey
from lensdata.sources.tables import GUESSES, Columns

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


def check(spec: Spec, columns: Columns) -> None:
    """Raise BadInput if the dataset cannot be reached or lacks a column, Missing without the extra `hub`."""
    extras.require("hub", "hf://")
    for split, stream in _streams(spec, None):
        _named(spec, split, stream, columns)


def list_hub(spec: Spec, columns: Columns, imported: Path, survey: Survey) -> Iterator[Item]:
    """The images of a dataset in its order, split after split, each tar as soon as it is whole.

    Raises BadInput as `check` does and LensError if the stream breaks off.
    """
    named = [asdict(spec), columns.image, columns.text, *columns.further.items()]
    key = hashlib.sha256(json.dumps(named).encode()).hexdigest()[:8]
    folder = imported / f"{''.join(c if c.isalnum() else '-' for c in spec.name.strip('/'))[-40:]}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(f"*{parts.TEMPORARY}"):
        leftover.unlink()
    pinned = _pin(spec)
    mark, done = folder / MARK, folder / "done.json"
    wanted = {
        "source": str(spec),
        "image_column": columns.image,
        "text_column": columns.text,
        **columns.further,
        "version": pinned,
    }
    if not mark.is_file() or json.loads(mark.read_text()) != wanted:
        done.unlink(missing_ok=True)
        for state in folder.glob("[0-9]*.json"):
            state.unlink()
        parts.write_bytes(mark, json.dumps(wanted).encode())
    written = len(list(folder.glob("[0-9]*.json")))
    for number in range(written):
        yield from _list_one(folder, number, survey)
    if not done.exists():
        say(f"ingest: streaming {spec} to {folder}")
        for number in _stream(spec, pinned, columns, folder, written):
            yield from _list_one(folder, number, survey)
            written = number + 1
        for tar in sorted(folder.glob("*.tar"))[
            written:
        ]:  # the dataset had more before; their images are gone
            with parts.atomic(tar) as file:
                TarWriter(file).finish()
        parts.write_bytes(done, b"{}")
    for tar in sorted(folder.glob("*.tar"))[written:]:
        yield from list_kept(tar, survey)


def _list_one(folder: Path, number: int, survey: Survey) -> Iterator[Item]:
    tar, state = folder / f"{number:06d}.tar", folder / f"{number:06d}.json"
    yield from list_kept(tar, survey)
    mtime = state.stat().st_mtime_ns
    for uri, reason in json.loads(state.read_bytes())["failed"]:
        yield Item(uri, 0, None, file_mtime_ns=mtime, failed=(pixels.MISSING, reason))


def _stream(spec: Spec, pinned: str | None, columns: Columns, folder: Path, written: int) -> Iterator[int]:
    """Write tars from number `written` on and yield the number of each."""
    last = json.loads((folder / f"{written - 1:06d}.json").read_bytes()) if written else None
    row = last["row"] if last else 0
    for split, stream in _streams(spec, pinned):
        named = _named(spec, split, stream, columns)
        stream = _undecoded(stream.select_columns(sorted(set(named.values()))), named["image"])
        if last is not None:
            if split != last["split"]:
                continue  # it came before, and is whole
            stream.load_state_dict(last["state"])
            last = None
        rows = _rows(spec, stream, named)
        values = next(rows, None)
        while values is not None:
            failed: list[tuple[str, str]] = []
            with parts.atomic(folder / f"{written:06d}.tar") as file:
                tar = TarWriter(file)
                while values is not None and tar.offset < TAR_BYTES and len(failed) < 10_000:
                    image = _image(spec, values["image"])
                    if isinstance(image, bytes):
                        path = values["image"]["path"] if isinstance(values["image"], dict) else None
                        texts = {name: values.get(name) for name in GUESSES}
                        add(tar, {"row": row, "data": image, "uri": path, **texts}, spec)
                    else:
                        failed.append((f"{spec}/{split}/{row}", image or "the row holds no image"))
                    row += 1
                    state = stream.state_dict()
                    values = next(rows, None)
                tar.finish()
            fields = {"row": row, "split": split, "state": state, "failed": failed}
            parts.write_bytes(folder / f"{written:06d}.json", json.dumps(fields).encode())
            yield written
            written += 1


def _rows(spec: Spec, stream: Any, named: dict[str, str]) -> Iterator[dict[str, Any]]:
    try:
        for row in stream:
            yield {key: row[name] for key, name in named.items()}
    except Exception as error:  # of the network, of the files' format: `datasets` has many
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise LensError(f"{spec} broke off ({text}); run the same command again to go on") from None


def _image(spec: Spec, value: Any) -> bytes | str | None:
    """The bytes of an undecoded image, None if there is none, or why they cannot be had."""
    if isinstance(value, bytes):
        return value
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


def _streams(spec: Spec, pinned: str | None) -> Iterator[tuple[str, Any]]:
    import datasets

    options: dict[str, Any] = {"streaming": True}
    if not spec.local:
        options["revision"] = pinned or spec.revision
    elif not Path(spec.name).is_dir():
        raise BadInput(f"there is no folder {spec.name}")
    try:
        found = datasets.load_dataset(spec.name, spec.config, **options)
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(f"{spec} cannot be loaded: {text}") from None
    if spec.split is not None and spec.split not in found:
        raise BadInput(f"{spec} has no split {spec.split!r}; it has {', '.join(map(str, found))}")
    yield from ((str(name), stream) for name, stream in found.items() if spec.split in (None, name))


def _named(spec: Spec, split: str, stream: Any, columns: Columns) -> dict[str, str]:
    features = stream.features or dict.fromkeys(next(iter(stream), {}))
    for _, name, option in (("image", columns.image, "--image-column"), *columns.texts):
        if name not in features:
            raise BadInput(
                f"{spec} has no column {name!r} in {split}; it has {', '.join(features)}: name one with {option}"
            )
    named = {"image": columns.image}
    for key, guesses in GUESSES.items():
        if guess := next((guess for guess in guesses if _is_text(features.get(guess))), None):
            named[key] = guess
    return named | {key: name for key, name, _ in columns.texts}


def _is_text(feature: Any) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string")


def _undecoded(stream: Any, image: str) -> Any:
    import datasets

    if isinstance((stream.features or {}).get(image), datasets.Image):
        return stream.cast_column(image, datasets.Image(decode=False))
    return stream


def _pin(spec: Spec) -> str | None:
    """What tells one version of the dataset from another: the commit on the hub, or the local files."""
    if spec.local:
        digest = hashlib.sha256()
        for path in sorted(Path(spec.name).rglob("*")):
            if path.is_file():
                found = path.stat()
                digest.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
        return digest.hexdigest()
    from huggingface_hub import HfApi

    try:
        return str(HfApi().dataset_info(spec.name, revision=spec.revision).sha)
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(f"{spec}: the hub gives no commit ({text})") from None
