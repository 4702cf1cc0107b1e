"""What a listing met besides images."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from catalog.bytes.place import printable


@dataclass
class Survey:
    """What was passed over, counted by kind with one example each, and what was listed.

    `tars` maps the uri of every tar that could be opened to its (size in bytes, mtime in ns). `roots` are the folders
    and prefixes that were listed to their end, `unlisted` what of them (folders, tars) could not be.
    """

    passed_over: dict[str, tuple[int, str]] = field(default_factory=dict)
    tars: dict[str, tuple[int, int]] = field(default_factory=dict)
    roots: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)

    def unread(self, kind: str, folder: str) -> None:
        """Count a folder that could not be listed: what is known below it is not taken for gone."""
        self.note(kind, folder)
        self.unlisted.append(folder)

    def note(self, kind: str, example: str | Path, count: int = 1) -> None:
        """Count `count` things of `kind`; the first of a kind becomes its example."""
        before, first = self.passed_over.get(kind, (0, str(example)))
        self.passed_over[kind] = (before + count, first)

    def absorb(self, other: Survey) -> None:
        """Add what another listing met."""
        for kind, (count, example) in other.passed_over.items():
            self.note(kind, example, count)
        self.tars |= other.tars
        self.roots += other.roots
        self.unlisted += other.unlisted

    def lines(self) -> list[str]:
        """One printable line for each kind."""
        return [
            f"{kind}: {count} (such as {printable(example)})"
            for kind, (count, example) in self.passed_over.items()
        ]
