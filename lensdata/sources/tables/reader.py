"""Reading Parquet and Arrow files. Nothing is unpickled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from catalog.bytes import place
from catalog.bytes.place import Facts, Place
from catalog.errors import BadInput
from lensdata.sources.item import BRIEF_NAMES, DENSE_NAMES
from lensdata.sources.source import Columns

BATCH_ROWS = 64
BYTE_TYPES = ("binary", "large_binary", "fixed_size_binary", "binary_view")
TEXT_TYPES = ("string", "large_string", "string_view")
GUESSES = {
    "alt_text": ("text", "caption"), "brief_text": BRIEF_NAMES, "dense_text": DENSE_NAMES, "url": ("url",),
    "licence": ("licence", "license"),
}  # fmt: skip

# Columns, rows or batches (None: not known), and the batches of some columns.
Opened = tuple[pa.Schema, int | None, Callable[[list[str], int], Iterator[pa.RecordBatch]]]
Named = dict[str, str]  # `image` and those keys of GUESSES that a table has -> its column


class TableFile:
    """A Parquet or Arrow file, opened once: its columns, then its batches. Whatever fails raises BadInput."""

    def __init__(self, path: Place, facts: Facts) -> None:
        self.place, self.facts = path, facts

    @property
    def schema(self) -> pa.Schema:
        """Its columns. Reads the footer, if nothing has."""
        return self._opened[0]

    @property
    def empty(self) -> bool:
        """Whether it is known to have no rows; of a stream that is not known."""
        return self._opened[1] == 0

    @property
    def again(self) -> bool:
        """Whether its rows can be gone through more than once."""
        return self._opened[1] is not None

    def batches(self, names: list[str], rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """The rows of some columns; of Parquet, `rows` at a time. A stream can be gone through once."""
        try:
            yield from self._opened[2](names, rows)
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"{self.place} is damaged: {_one_line(error)}") from None

    @cached_property
    def _opened(self) -> Opened:
        try:
            return self._open()
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"{self.place} cannot be read as a table: {_one_line(error)}") from None

    def _open(self) -> Opened:
        file = place.open_binary(self.place, self.facts[0], window=0)  # Parquet asks for what it needs
        if place.suffix(self.place) == ".parquet":
            table = pq.ParquetFile(file)
            return (
                table.schema_arrow,
                table.metadata.num_rows,
                lambda names, rows: table.iter_batches(rows, columns=names),
            )
        source = pa.PythonFile(file)
        try:
            reader = pa.ipc.open_file(source)
            count = reader.num_record_batches
            return (
                reader.schema,
                count,
                lambda names, _: (reader.get_batch(n).select(names) for n in range(count)),
            )
        except pa.ArrowInvalid:  # the other of Arrow's two layouts, which `datasets` writes
            source.seek(0)
            stream = pa.ipc.open_stream(source)
            return stream.schema, None, lambda names, _: (batch.select(names) for batch in stream)


def columns_of(file: TableFile, columns: Columns) -> Named:
    """Which of its columns has what. Raises BadInput for one that is missing or of another type."""
    schema = file.schema
    named = {"image": _column(file.place, schema, columns.image, "--image-column")}
    _check_type(file.place, schema.field(columns.image))
    for key, guesses in GUESSES.items():
        texts = [name for name in guesses if schema.names.count(name) == 1 and is_text(schema.field(name))]
        if texts:
            named[key] = texts[0]
    for key, name, option in columns.texts:
        named[key] = _column(file.place, schema, name, option)
        if not is_text(schema.field(name)):
            raise BadInput(f"{file.place}: the column {name!r} holds {schema.field(name).type}, not text")
    return named


def rows(file: TableFile, named: Named) -> Iterator[list[dict[str, Any]]]:
    """Batches of rows with data (bytes or None), uri and the keys of GUESSES."""
    for whole in file.batches(sorted(set(named.values()))):
        for start in range(0, whole.num_rows, BATCH_ROWS):
            batch = whole.slice(start, BATCH_ROWS)
            values = {key: batch.column(name).to_pylist() for key, name in named.items()}
            yield [_row({key: values[key][n] for key in values}) for n in range(batch.num_rows)]


def is_text(field: pa.Field) -> bool:
    """Whether a column holds strings."""
    return _is(field, TEXT_TYPES)


def _row(value: dict[str, Any]) -> dict[str, Any]:
    image = value.pop("image")
    found = [image.get("bytes"), image.get("path")] if isinstance(image, dict) else [image]
    data = next((part for part in found if isinstance(part, bytes)), None)
    uri = next((part for part in found if isinstance(part, str)), None)
    return {"data": data, "uri": uri} | {key: value.get(key) for key in GUESSES}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


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
