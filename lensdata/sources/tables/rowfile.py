"""What every file of rows is to whoever reads it, whatever its format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from catalog.bytes.place import Facts, Place, printable

# What the cells of a column are: a text, a list of them, bytes, a list of numbers, a struct of a Hugging Face image,
# or (JSON) whatever each row has; any other word is a type that holds none of these.
TEXT, TEXTS, BYTES, NUMBERS, IMAGE, ANY = (
    "text",
    "list of texts",
    "bytes",
    "list of numbers",
    "image",
    "anything",
)
OF_TEXT = (TEXT, TEXTS, ANY)
OF_IMAGES = (TEXT, BYTES, NUMBERS, IMAGE, ANY)

# A column's name -> its cells, and if a row has a fault, fault.FAULT -> each row's Fault or None; equally long lists.
Batch = dict[str, list[Any]]


class RowFile(ABC):
    """A file of rows, opened once: its columns, then its rows. Whatever fails raises BadInput, one line.

    `western`, unless it is None, says that texts are pieces of a texts.decode.stream.
    """

    western: bool | None = None
    of_lines = False  # as lists of URLs mostly are

    def __init__(self, place: Place, facts: Facts) -> None:
        self.place, self.facts = place, facts

    @property
    def shown(self) -> str:
        """The place as a message may have it."""
        return printable(str(self.place))

    @property
    @abstractmethod
    def kinds(self) -> dict[str, str]:
        """What each column holds, in order; a name that stands there twice is not among them (`repeated`). Reads the
        footer or header, if nothing has."""

    @property
    def repeated(self) -> list[str]:
        """Names that several columns have."""
        return []

    @property
    def empty(self) -> bool:
        """Whether it is known to have no rows."""
        return False

    @abstractmethod
    def first(self, names: list[str]) -> Batch | None:
        """Some of the first rows; None where they could not be read again."""

    @abstractmethod
    def batches(self, names: list[str], rows: int) -> Iterator[Batch]:
        """The rows of some columns, at most `rows` at a time. Texts and streams can be gone through once."""
