"""A row whose value does not fit its column becomes a failed row; nothing ends the job, and the other rows stay."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lensdata.fit import fitted

SCHEMA = {
    "id": pl.Int64, "width": pl.Int32, "hash": pl.UInt64, "value": pl.Float32, "text": pl.String, "flag": pl.Boolean,
    "reason": pl.String,
}  # fmt: skip
SOUND = {"id": 1, "width": 64, "hash": 2**64 - 1, "value": 0.5, "text": "a", "flag": True}
ANY = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.binary(max_size=3), st.just("\ud800"),
    st.lists(st.integers(), max_size=2), st.complex_numbers(), st.datetimes(), st.just(2**200), st.just(1e39),
)  # fmt: skip


def refuse(row: dict[str, Any], faults: dict[str, str]) -> dict[str, Any]:
    return row | {"reason": "; ".join(faults.values())}


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("width", 2**31, "its width, 2147483648, does not fit a column of Int32"),
        ("width", -(2**40), "its width, -1099511627776, does not fit a column of Int32"),
        ("width", 1.5, "its width, 1.5, does not fit a column of Int32"),
        ("width", "64", "its width, '64', does not fit a column of Int32"),
        ("hash", -1, "its hash, -1, does not fit a column of UInt64"),
        ("value", math.nan, "its value is not finite"),
        ("value", math.inf, "its value is not finite"),
        ("value", 1e39, "its value, 1e+39, does not fit a column of Float32"),
        ("text", 5, "its text, 5, does not fit a column of String"),
        ("text", "\ud800", "its text, '\\ud800', does not fit a column of String"),
        ("flag", "yes", "its flag, 'yes', does not fit a column of Boolean"),
    ],
)
def test_a_value_that_does_not_fit_is_the_rows_reason(column: str, value: object, reason: str) -> None:
    rows = [SOUND, SOUND | {"id": 2, column: value}, SOUND | {"id": 3}]
    frame = fitted(rows, SCHEMA, refuse)
    assert frame.schema == SCHEMA and frame["id"].to_list() == [1, 2, 3]
    assert frame["reason"].to_list() == [None, reason, None]
    assert frame[column].is_null().to_list() == [False, True, False]
    assert fitted(rows, SCHEMA)["id"].to_list() == [1, 3], "without a failed row the item is left pending"


ROW = st.tuples(st.integers(0, 9), st.sampled_from([name for name in SCHEMA if name != "id"]), ANY)


@given(st.lists(ROW, max_size=4))
def test_whatever_the_rows_hold_all_are_there_and_fit(values: list[tuple[int, str, Any]]) -> None:
    rows = [SOUND | {"id": n, name: value} for n, name, value in values]
    frame = fitted(rows, SCHEMA, refuse)
    assert frame.schema == SCHEMA and frame["id"].to_list() == [row["id"] for row in rows]
    assert frame["value"].drop_nulls().is_finite().all()


def test_a_refused_row_that_does_not_fit_either_is_left_out() -> None:
    assert fitted([SOUND | {"id": "x"}], SCHEMA, lambda row, faults: row | {"reason": b"?"}).is_empty()
