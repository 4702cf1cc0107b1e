"""Reading tables of images: Parquet and Arrow files, and Hugging Face datasets saved with `save_to_disk`.

Nothing is unpickled, and no code of a dataset is run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from catalog.bytes import locate
from catalog.errors import BadInput
from lensdata.sources import place
from lensdata.sources.item import BRIEF_NAMES, DENSE_NAMES
from lensdata.sources.place import Place

TABLE_SUFFIXES = (".parquet", ".arrow", ".feather")
BATCH_ROWS = 64
BYTE_TYPES = ("binary", "large_binary", "fixed_size_binary", "binary_view")
TEXT_TYPES = ("string", "large_string", "string_view")
GUESSES = {
    "alt_text": ("text", "caption"), "brief_text": BRIEF_NAMES, "dense_text": DENSE_NAMES, "url": ("url",),
    "licence": ("licence", "license"),
}  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold the image (bytes, a path or URL, or a Hugging Face image) and its text.

    `text` None takes `text` or `caption`, whichever there is; `brief` and `dense` None one of their usual names
    (sources.item). A `url` makes a table a list of URLs to download.
    """

    image: str = "image"
    text: str | None = None
    url: str | None = None
    brief: str | None = None
    dense: str | None = None

    @property
    def texts(self) -> list[tuple[str, str, str]]:
        """(column of `images`, the table's column, option) of every text whose column was named."""
        named = (
            ("alt_text", self.text, "--text-column"),
            ("brief_text", self.brief, "--brief-column"),
            ("dense_text", self.dense, "--dense-column"),
        )
        return [(column, name, option) for column, name, option in named if name is not None]

    @property
    def further(self) -> dict[str, str]:
        """The named columns of brief and dense captions, on which a copy of the table depends, too."""
        return {column: name for column, name, _ in self.texts if column != "alt_text"}


DEFAULTS = Columns()


def is_table(path: Place) -> bool:
    """Whether `path` is a table by its suffix, or a folder that `datasets` saved."""
    if isinstance(path, Path) and path.is_dir():
        return (path / "dataset_dict.json").is_file() or (
            (path / "state.json").is_file() and (path / "dataset_info.json").is_file()
        )
    return place.suffix(path) in TABLE_SUFFIXES


def check(path: Place, columns: Columns) -> None:
    """Raise BadInput if the table cannot be read, is empty or lacks a column, Missing if it begins with images at URLs
    that nothing installed reads."""
    filled = [next(rows(file, columns), None) for file in files(path)]  # every file's columns are checked
    if not any(filled):
        raise BadInput(f"{path} is a table without rows")
    for row in (row for batch in filled for row in batch or () if not row["data"]):
        locate.require(row["uri"] or "")


def files(path: Place) -> list[Place]:
    """The Arrow files of a saved dataset (of all its splits, in order), or the one file `path` is."""
    if isinstance(path, str) or not path.is_dir():
        return [path]
    try:
        if (path / "dataset_dict.json").is_file():
            splits = json.loads((path / "dataset_dict.json").read_bytes())["splits"]
            return [file for split in splits for file in files(path / split)]
        state = json.loads((path / "state.json").read_bytes())
        return [path / part["filename"] for part in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{path} is no whole dataset of `save_to_disk` ({type(error).__name__}: {error})"
        ) from None


def rows(file: Place, columns: Columns) -> Iterator[list[dict[str, Any]]]:
    """Batches of rows with data (bytes or None), uri and the keys of GUESSES. Opens, and checks, at once."""
    try:
        schema, batches = opened(file)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from None
    named = {"image": _column(file, schema, columns.image, "--image-column")}
    _check_type(file, schema.field(columns.image))
    for key, guesses in GUESSES.items():
        texts = [
            name for name in guesses if schema.names.count(name) == 1 and _is(schema.field(name), TEXT_TYPES)
        ]
        if texts:
            named[key] = texts[0]
    for key, name, option in columns.texts:
        named[key] = _column(file, schema, name, option)
        if not _is(schema.field(name), TEXT_TYPES):
            raise BadInput(f"{file}: the column {name!r} holds {schema.field(name).type}, not text")
    return _readrows(file, batches(sorted(set(named.values()))), named)


def schema(file: Place) -> pa.Schema:
    """The columns of a table. Raises BadInput if it is none."""
    try:
        return opened(file)[0]
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from None


def is_text(field: pa.Field) -> bool:
    """Whether a column holds strings."""
    return _is(field, TEXT_TYPES)


def _unreadable(file: Place, error: Exception) -> BadInput:
    return BadInput(f"{file} cannot be read as a table: {' '.join(str(error).split())}")


def _readrows(file: Place, batches: Any, named: dict[str, str]) -> Iterator[list[dict[str, Any]]]:
    try:
        for whole in batches:
            for start in range(0, whole.num_rows, BATCH_ROWS):
                batch = whole.slice(start, BATCH_ROWS)
                values = {key: batch.column(name).to_pylist() for key, name in named.items()}
                yield [_row({key: values[key][n] for key in values}) for n in range(batch.num_rows)]
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{file} is damaged: {' '.join(str(error).split())}") from None


def _row(value: dict[str, Any]) -> dict[str, Any]:
    image = value.pop("image")
    found = [image.get("bytes"), image.get("path")] if isinstance(image, dict) else [image]
    data = next((part for part in found if isinstance(part, bytes)), None)
    uri = next((part for part in found if isinstance(part, str)), None)
    return {"data": data, "uri": uri} | {key: value.get(key) for key in GUESSES}


def opened(file: Place) -> tuple[pa.Schema, Callable[[list[str]], Iterator[pa.RecordBatch]]]:
    """The schema of a table, and how to go through the batches of some of its columns."""
    if place.suffix(file) == ".parquet":
        table = pq.ParquetFile(file if isinstance(file, Path) else place.open_binary(file))
        return table.schema_arrow, lambda names: table.iter_batches(BATCH_ROWS, columns=names)
    source = pa.memory_map(str(file)) if isinstance(file, Path) else pa.PythonFile(place.open_binary(file))
    try:
        reader = pa.ipc.open_file(source)
        numbers = range(reader.num_record_batches)
        return reader.schema, lambda names: (reader.get_batch(n).select(names) for n in numbers)
    except pa.ArrowInvalid:  # the other of Arrow's two layouts, which `datasets` writes
        source.seek(0)
        stream = pa.ipc.open_stream(source)
        return stream.schema, lambda names: (batch.select(names) for batch in stream)


def _column(file: Place, schema: pa.Schema, name: str, option: str) -> str:
    if schema.names.count(name) == 1:
        return name
    raise BadInput(f"{file} has no column {name!r}; it has {', '.join(schema.names)}: name one with {option}")


def _check_type(file: Place, field: pa.Field) -> None:
    kind = field.type
    if pa.types.is_struct(kind) and {kind.field(n).name for n in range(kind.num_fields)} & {"bytes", "path"}:
        return
    if not _is(field, BYTE_TYPES + TEXT_TYPES):
        raise BadInput(
            f"{file}: the column {field.name!r} holds {kind}, not image bytes, paths or {{bytes, path}}"
        )


def _is(field: pa.Field, kinds: tuple[str, ...]) -> bool:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    return any(getattr(pa.types, f"is_{name}")(kind) for name in kinds)
