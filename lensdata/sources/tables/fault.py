"""Rows of a table that cannot be read as they stand: which, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from catalog.bytes.place import printable
from lensdata.sources.survey import Survey

FAULT = "\0fault"  # the key in a Batch of what is wrong with its rows; no column is called so
MORE, FEWER = "more fields than the header", "fewer fields than the header"
QUOTING = "a text that holds the delimiter stands in quotes"


@dataclass(frozen=True)
class Fault:
    """What is wrong with the row that ends in a line (counted from 1). `shifted`: which of its cells belong to which
    columns is not known."""

    reason: str
    line: int
    detail: str
    shifted: bool = True

    def __str__(self) -> str:
        """The reason, and in brackets what is of this row alone."""
        return f"{self.reason} (line {self.line}: {self.detail})"


@dataclass
class Faults:
    """The faults of one table, counted by their reasons, with the first of each."""

    counts: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, faults: Iterable[Fault | str | None]) -> None:
        """Count the faults among these; None is a row without one."""
        for fault in faults:
            if fault is not None:
                reason, _, detail = str(fault).partition(" (")
                count, first = self.counts.get(reason, (0, detail.removesuffix(")")))
                self.counts[reason] = (count + 1, first)

    def tell(self, survey: Survey, table: object) -> None:
        """Note them as those of the table."""
        for reason, (count, first) in self.counts.items():
            survey.refuse_rows(reason, f"{printable(str(table))}, {first}", count)
