"""Reading Parquet and Arrow files. Nothing is unpickled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from catalog.bytes import place
from catalog.errors import BadInput, one_line
from lensdata.sources.tables.rowfile import BYTES, IMAGE, NUMBERS, TEXT, TEXTS, Batch, RowFile

FIRST_ROWS = 64

# Columns, rows or batches (None: not known), and the batches of some columns.
Opened = tuple[pa.Schema, int | None, Callable[[list[str], int], Iterator[pa.RecordBatch]]]


class TableFile(RowFile):
    """A Parquet or Arrow file."""

    @cached_property
    def kinds(self) -> dict[str, str]:
        """As RowFile has it."""
        names = self._opened[0].names
        return {field.name: _kind(field.type) for field in self._opened[0] if names.count(field.name) == 1}

    @property
    def repeated(self) -> list[str]:
        """As RowFile has it."""
        return sorted(set(self._opened[0].names) - self.kinds.keys())

    @property
    def empty(self) -> bool:
        """As RowFile has it; of a stream it is not known."""
        return self._opened[1] == 0

    def first(self, names: list[str]) -> Batch | None:
        """As RowFile has it."""
        return None if self._opened[1] is None else next(self.batches(names, FIRST_ROWS), None)

    def batches(self, names: list[str], rows: int) -> Iterator[Batch]:
        """As RowFile has it."""
        try:
            for whole in self._opened[2](names, rows):
                for start in range(0, whole.num_rows, rows):
                    batch = whole.slice(start, rows)
                    yield {name: self._cells(name, batch.column(name)) for name in names}
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"{self.shown} is damaged: {one_line(error)}") from None

    def _cells(self, name: str, column: pa.Array) -> list[Any]:
        if self.kinds[name] != NUMBERS:
            return column.to_pylist()
        return [cell.as_py() and _bytes_of(cell.values) for cell in column]

    @cached_property
    def _opened(self) -> Opened:
        try:
            return self._open()
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"{self.shown} cannot be read as a table: {one_line(error)}") from None

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


def _kind(kind: pa.DataType) -> str:
    types = pa.types
    if types.is_dictionary(kind):
        return _kind(kind.value_type)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return TEXT
    if (
        types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
        or types.is_binary_view(kind)
    ):  # fmt: skip
        return BYTES
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        within = _kind(kind.value_type)
        if within == TEXT or types.is_integer(kind.value_type):
            return TEXTS if within == TEXT else NUMBERS
    if types.is_struct(kind) and {kind.field(n).name for n in range(kind.num_fields)} & {"bytes", "path"}:
        return IMAGE
    return str(kind)


def _bytes_of(numbers: pa.Array) -> bytes | None:
    """A list of numbers as bytes, also signed ones; None if one of them is no byte."""
    found = numbers.to_numpy(zero_copy_only=False)
    if found.dtype.kind not in "iu":  # one of them is null
        return None
    if found.dtype == np.int8:
        return found.tobytes()
    return found.astype(np.uint8).tobytes() if found.min() >= 0 and found.max() <= 255 else None
