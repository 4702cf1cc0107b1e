"""What sources list, page by page in files, and what of each page must be read.

A page is looked up among all that the catalog knows in one pass. So pages grow with the listing: of 800 million names
some fifteen passes are made instead of twelve thousand, and no page has to fit into memory. A page also ends when its
source takes long, since its images are to be read meanwhile.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog import Catalog
from catalog.errors import LensError
from catalog.store import parts, statements
from lensdata.sources import Item, Source, Survey, mended

PAGE_ITEMS = 65_536  # in the first page, at most
PAGE_SECONDS = 20.0  # a page that is listed for longer ends, unless looking it up takes a tenth of that
BATCH = 4_096
SCHEMA = pa.schema(
    [("ordinal", pa.int64()), ("uri", pa.string()), ("byte_offset", pa.int64()), ("byte_length", pa.int64()),
     ("file_size", pa.int64()), ("file_mtime_ns", pa.int64()), ("was", pa.string()), ("failed", pa.bool_()),
     ("alt_text", pa.string()), ("brief_text", pa.string()), ("dense_text", pa.string()), ("item", pa.string())]
)  # fmt: skip
TEXTS = ("alt_text", "brief_text", "dense_text")
FIELDS = tuple(field.name for field in fields(Item))
OWN = "catalog:"  # before the place of a file that the catalog itself keeps; the statements' `located` undoes it


class Listing:
    """The pages of one ingest. They are removed with it, or when the next job begins after a killed one."""

    def __init__(self, catalog: Catalog, survey: Survey, retry: bool) -> None:
        self.catalog, self.survey, self.retry = catalog, survey, retry
        self.broke: LensError | None = None  # why the last source ended early
        self.pages: list[Path] = []
        self._name = f"ingest-listing-{secrets.token_hex(6)}"
        self._listed = 0
        self._slowest = 0.0  # seconds that looking a page up took

    def __enter__(self) -> Listing:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for page in self.pages:
            page.unlink(missing_ok=True)

    def images(self) -> int:
        """How many images were listed, each counted once."""
        if not self.pages:
            return 0
        return int(self.catalog.named("ingest/listed", pages=list(map(str, self.pages))).item())

    def todo(self, sources: Iterable[Source]) -> Iterator[tuple[int, Item, dict[str, Any]]]:
        """What of the sources must be read, in their order: the item, its number in the listing, and the columns of
        sql/statements/ingest/todo.sql.

        A source that breaks off ends the listing; what it gave before is there, and `broke` says why.
        """
        root = self.catalog.root
        items = chain.from_iterable(source.list(self.survey, root, self.retry) for source in sources)
        while page := self._page(items):
            began = time.monotonic()
            found = self._file("todo")
            try:
                text = statements.statement("ingest/todo")
                self.catalog.export(text, found, BATCH, listing=str(page), retry=self.retry)
                self._slowest = max(self._slowest, time.monotonic() - began)
                for batch in pq.ParquetFile(found).iter_batches(BATCH):
                    for row in batch.to_pylist():
                        yield row.pop("ordinal"), _item(row.pop("item")), row
            finally:
                found.unlink(missing_ok=True)

    def place(self, uri: str) -> str:
        """`uri` as the catalog knows it: what lies inside the catalog, which may be moved, by its place there."""
        return place(uri, self.catalog.root)

    def _page(self, items: Iterator[Item]) -> Path | None:
        """Write the next page; None if nothing is left."""
        if self.broke is not None:
            return None
        limit, began = self._limit(), time.monotonic()
        patience = max(PAGE_SECONDS, 10 * self._slowest)
        path, before = self._file(f"{len(self.pages):06d}"), self._listed
        with pq.ParquetWriter(path, SCHEMA, compression="zstd", compression_level=1) as writer:
            rows: list[tuple[Any, ...]] = []
            try:
                for item in items:
                    rows.append(self._row(item))
                    self._listed += 1
                    if len(rows) == BATCH:
                        writer.write_table(_table(rows))
                        rows = []
                    if self._listed - before == limit or time.monotonic() > began + patience:
                        break
            except LensError as error:
                self.broke = error
            if rows:
                writer.write_table(_table(rows))
        self.pages.append(path)
        return path if self._listed > before else None

    def _limit(self) -> int:
        """How many images the next page may hold: as many as were listed before, so that pages are few."""
        return max(PAGE_ITEMS, self._listed)

    def _row(self, item: Item) -> tuple[Any, ...]:
        was = item.was and self.place(item.was)
        return (
            self._listed, self.place(item.uri), item.offset, item.length, item.file_size, item.file_mtime_ns, was,
            item.failed is not None, *_texts(item), json.dumps([getattr(item, name) for name in FIELDS]),
        )  # fmt: skip

    def _file(self, name: str) -> Path:
        return self.catalog.root / "parts" / f"{self._name}-{name}{parts.TEMPORARY}"


def place(uri: str, root: Path) -> str:
    """`uri` as a catalog in the folder `root` knows it."""
    inside = f"{root}/"
    return OWN + uri.removeprefix(inside) if uri.startswith(inside) else uri


def _texts(item: Item) -> list[str | None]:
    """The texts that the listing itself gives, as the catalog would hold them."""
    return [mended(item.given.get(name))[0] if item.given else None for name in TEXTS]


def _item(text: str) -> Item:
    values: Any = (tuple(value) if isinstance(value, list) else value for value in json.loads(text))
    return Item(*values)


def _table(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.table(arrays, schema=SCHEMA)
