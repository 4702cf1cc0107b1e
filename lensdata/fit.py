"""Rows as a worker made them to the frame of a part: no value of another type, too large or not finite enters.

What is read from files may hold anything. A row that does not fit its columns is refused, each by itself, and never
ends the job.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

Row = dict[str, Any]
Refuse = Callable[[Row, dict[str, str]], Row | None]


def leave(row: Row, faults: Mapping[str, str]) -> None:
    """No row: the item stays pending."""
    return


def fitted(rows: Sequence[Row], schema: Mapping[str, Any], refuse: Refuse = leave) -> pl.DataFrame:
    """The rows as a frame with the columns of `schema`.

    A row with values that do not fit is replaced by `refuse(row without them, column -> reason)`, or left out if that
    gives none or does not fit either.
    """
    try:
        return _frame(rows, schema)
    except ValueError:
        doubtful = {name: kind for name, kind in schema.items() if not _fit(name, rows, kind)}
        found = (_mended(row, doubtful, schema, refuse) for row in rows)
        return _frame([row for row in found if row is not None], schema)


def _frame(rows: Sequence[Row], schema: Mapping[str, Any]) -> pl.DataFrame:
    """Raises ValueError if a value does not fit."""
    return pl.DataFrame(
        [_column(name, [row.get(name) for row in rows], kind) for name, kind in schema.items()]
    )


def _column(name: str, values: list[Any], kind: Any) -> pl.Series:
    try:
        column = pl.Series(name, values, kind, strict=True)
    except (TypeError, OverflowError, ValueError, pl.exceptions.PolarsError) as error:
        raise ValueError(str(error)) from None
    if column.dtype.is_float() and not column.is_finite().all():
        raise ValueError("not finite")
    return column


def _mended(row: Row, doubtful: Mapping[str, Any], schema: Mapping[str, Any], refuse: Refuse) -> Row | None:
    faults = _faults(row, doubtful)
    if not faults:
        return row
    mended = refuse({name: None if name in faults else value for name, value in row.items()}, faults)
    return None if mended is None or _faults(mended, schema) else mended


def _faults(row: Row, schema: Mapping[str, Any]) -> dict[str, str]:
    """Column -> why its value does not fit."""
    return {
        name: _reason(name, row[name], kind)
        for name, kind in schema.items()
        if row.get(name) is not None and not _fit(name, [row], kind)
    }


def _fit(name: str, rows: Sequence[Row], kind: Any) -> bool:
    try:
        _column(name, [row.get(name) for row in rows], kind)
    except ValueError:
        return False
    return True


def _reason(name: str, value: Any, kind: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f"its {name} is not finite"
    shown = ascii(value)
    return f"its {name}, {shown if len(shown) <= 40 else f'{shown[:39]}…'}, does not fit a column of {kind}"
