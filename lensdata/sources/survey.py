"""What a listing met besides images."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Survey:
    """What was passed over, counted by kind with one example each, and which tars were listed.

    `tars` maps the uri of every tar that could be opened to its (size in bytes, mtime in ns).
    """

    passed_over: dict[str, tuple[int, str]] = field(default_factory=dict)
    tars: dict[str, tuple[int, int]] = field(default_factory=dict)

    def note(self, kind: str, example: str | Path) -> None:
        """Count one thing of `kind`; the first of a kind becomes its example."""
        count, first = self.passed_over.get(kind, (0, str(example)))
        self.passed_over[kind] = (count + 1, first)

    def lines(self) -> list[str]:
        """One printable line for each kind."""
        return [
            f"{kind}: {count} (such as {printable(example)})"
            for kind, (count, example) in self.passed_over.items()
        ]


def printable(text: str) -> str:
    """`text` on one line, with \\x.. for bytes that are not UTF-8 and for control characters."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )
