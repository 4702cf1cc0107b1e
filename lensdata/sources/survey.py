"""What a listing met besides images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from catalog.bytes.place import printable

ENDINGS, SHOWN = 256, 12  # endings that are counted apart, and told
OTHERS = "others"


@dataclass
class Survey:
    """What was passed over, counted by kind with one example each, and what was listed.

    `endings` counts some kinds by ending, too. `tars` maps the uri of every tar that could be opened to its (size in
    bytes, mtime in ns). `roots` are the folders and prefixes that were listed to their end, `unlisted` what of them
    (folders, tars) could not be. `rows_unused` counts rows of tables that could not be read by their reasons, and
    `tables_unused` tables whose texts could not be had.
    """

    passed_over: dict[str, tuple[int, str]] = field(default_factory=dict)
    endings: dict[str, Counter[str]] = field(default_factory=dict)
    tars: dict[str, tuple[int, int]] = field(default_factory=dict)
    roots: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    rows_unused: Counter[str] = field(default_factory=Counter)
    tables_unused: int = 0

    def unread(self, kind: str, folder: str) -> None:
        """Count a folder that could not be listed: what is known below it is not taken for gone."""
        self.note(kind, folder)
        self.unlisted.append(folder)

    def refuse_rows(self, reason: str, example: str, count: int) -> None:
        """Count rows of a table that could not be read."""
        self.rows_unused[reason] += count
        self.note(f"rows of tables that are not used: {reason}", example, count)

    def refuse_table(self, kind: str, example: str) -> None:
        """Count a table whose texts, or some of them, could not be had."""
        self.tables_unused += 1
        self.note(kind, example)

    def note(self, kind: str, example: str | Path, count: int = 1, ending: str | None = None) -> None:
        """Count `count` things of `kind`, also by their `ending` ("" for none) if it is given; the first of a kind
        becomes its example."""
        before, first = self.passed_over.get(kind, (0, str(example)))
        self.passed_over[kind] = (before + count, first)
        if ending is not None:
            counts = self.endings.setdefault(kind, Counter())
            counts[ending if ending in counts or len(counts) < ENDINGS else OTHERS] += count

    def absorb(self, other: Survey) -> None:
        """Add what another listing met."""
        for kind, (count, example) in other.passed_over.items():
            self.note(kind, example, count)
        for kind, counts in other.endings.items():
            self.endings.setdefault(kind, Counter()).update(counts)
        self.tars |= other.tars
        self.roots += other.roots
        self.unlisted += other.unlisted
        self.rows_unused += other.rows_unused
        self.tables_unused += other.tables_unused

    def lines(self) -> list[str]:
        """One printable line for each kind."""
        return [self._line(kind, *told) for kind, told in self.passed_over.items()]

    def _line(self, kind: str, count: int, example: str) -> str:
        if kind not in self.endings:
            return f"{kind}: {count} (such as {printable(example)})"
        ranked = sorted(
            self.endings[kind].items(), key=lambda item: (item[0] == OTHERS, -item[1], not item[0], item[0])
        )
        shown = [f"{n} {printable(ending) or 'without an ending'}" for ending, n in ranked[:SHOWN]]
        if rest := sum(n for _, n in ranked[SHOWN:]):
            shown.append(f"{rest} others")
        return f"{count} {kind}: {', '.join(shown)} (such as {printable(example)})"
