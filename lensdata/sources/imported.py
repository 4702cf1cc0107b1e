"""Listing tables of images.

Bytes inside a Parquet or Arrow file cannot be addressed by an offset, so they are copied once into WebDataset tars
under CATALOG/imported, each with its text and where it came from; rows that name a file or URL instead are listed as
that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog import pixels
from catalog.bytes import locate
from catalog.bytes.tar import BLOCK, TarWriter
from catalog.notices import say
from catalog.store import parts
from lensdata.sources import place, tables
from lensdata.sources.item import BRIEF_NAMES, DENSE_NAMES, IMAGE_SUFFIXES, Item
from lensdata.sources.place import Place
from lensdata.sources.survey import Survey
from lensdata.sources.tables import GUESSES, Columns
from lensdata.sources.tars import list_tar

TAR_BYTES = 256 * 2**20
MARK, URIS = "source.json", "uris.parquet"
URI_SCHEMA = pa.schema(
    [("row", pa.int64()), ("uri", pa.string()), ("alt_text", pa.string()), ("url", pa.string()),
     ("licence", pa.string()), ("brief_text", pa.string()), ("dense_text", pa.string())]
)  # fmt: skip


def list_table(path: Place, columns: Columns, imported: Path, survey: Survey) -> Iterator[Item]:
    """The images of a table in the order of its rows, those with bytes first; `imported` is where tars are kept.

    Raises BadInput as `check` does, and for a table that proves damaged.
    """
    named = [str(path), columns.image, columns.text, *columns.further.items()]
    key = hashlib.sha256(json.dumps(named).encode()).hexdigest()[:8]
    folder = imported / f"{''.join(c if c.isalnum() else '-' for c in place.stem(path))[:40]}-{key}"
    _import(path, columns, folder)
    for tar in sorted(folder.glob("*.tar")):
        yield from list_kept(tar, survey)
    mtime = place.facts(path)[1]
    for batch in pq.ParquetFile(folder / URIS).iter_batches():
        for row in batch.to_pylist():
            if row["uri"]:
                yield _uri_item(path, row, mtime)
            else:
                survey.note("rows of tables without an image", f"{path}, row {row['row']}")


def list_kept(tar: Path, survey: Survey) -> Iterator[Item]:
    """The images of a tar that was written here; an empty one tells that what stood there is gone."""
    with tar.open("rb") as file:
        emptied = not any(file.read(BLOCK))
    if emptied:
        survey.tars[str(tar)] = place.facts(tar)
    else:
        yield from list_tar(tar, survey)


def _uri_item(table: Place, row: dict[str, Any], mtime: int) -> Item:
    """A relative path is meant from the table's folder. Of a remote file neither size nor time is known beforehand,
    so the table's time stands for it."""
    uri = row["uri"].removeprefix("file://")
    given = {name: row.get(name) for name in GUESSES}  # an earlier Lens kept fewer
    if f"://{locate.HIDDEN}" in uri:
        return Item(
            uri, 0, None, given=given, file_mtime_ns=mtime, failed=(pixels.MISSING, "a URL with a login")
        )
    if "://" in uri:
        return Item(uri, 0, None, given=given, file_mtime_ns=mtime)
    if isinstance(table, str):
        if not uri.startswith("/"):
            return Item(f"{table.rpartition('/')[0]}/{uri}", 0, None, given=given, file_mtime_ns=mtime)
        base = Path("/")
    else:
        base = table if table.is_dir() else table.parent
    with suppress(OSError, ValueError):
        found = (base / uri).stat()
        return Item(str(base / uri), 0, found.st_size, None, None, found.st_size, found.st_mtime_ns, given)
    return Item(str(base / uri), 0, None, given=given, file_mtime_ns=mtime)


def _import(path: Place, columns: Columns, folder: Path) -> None:
    """Fill `folder` from the table unless it holds just that; source.json comes last, so a killed import is redone."""
    files = tables.files(path)
    facts = [place.facts(file) for file in files]
    wanted = {
        "source": str(path), "image_column": columns.image, "text_column": columns.text, **columns.further,
        "files": [[str(file), *fact] for file, fact in zip(files, facts, strict=True)],
    }  # fmt: skip
    mark = folder / MARK
    if mark.is_file() and json.loads(mark.read_text()) == wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    mark.unlink(missing_ok=True)
    for leftover in folder.glob(f"*{parts.TEMPORARY}"):
        leftover.unlink()
    say(f"ingest: copying the images of {path} to {folder}")
    written = 0
    with parts.atomic(folder / URIS) as file, pq.ParquetWriter(file, URI_SCHEMA) as uris:
        images = _with_bytes(files, columns, uris)
        image = next(images, None)
        while image is not None:
            with parts.atomic(folder / f"{written:06d}.tar") as tar_file:
                tar = TarWriter(tar_file)
                while image is not None and tar.offset < TAR_BYTES:
                    add(tar, image, path)
                    image = next(images, None)
                tar.finish()
            written += 1
    for surplus in sorted(folder.glob("*.tar"))[written:]:
        with parts.atomic(surplus) as tar_file:
            TarWriter(tar_file).finish()
    parts.write_bytes(mark, json.dumps(wanted, indent=1).encode())


def _with_bytes(files: list[Place], columns: Columns, uris: pq.ParquetWriter) -> Iterator[dict[str, Any]]:
    """The rows that hold bytes; the others go to `uris`."""
    number = 0
    for file in files:
        for batch in tables.rows(file, columns):
            apart = []
            for row in batch:
                row["row"] = number
                number += 1
                if row["data"]:
                    yield row
                else:
                    row |= {"uri": _shown(row["uri"]), "url": _shown(row["url"])}
                    apart.append({name: row[name] for name in URI_SCHEMA.names})
            if apart:
                uris.write_table(pa.Table.from_pylist(apart, URI_SCHEMA))


def add(tar: TarWriter, row: dict[str, Any], source: object) -> None:
    """One row as the members of a sample: data (bytes), row (its number, the key), uri, the keys of GUESSES."""
    form = pixels.probe(row["data"]).format
    suffix = (
        f".{form}" if f".{form}" in IMAGE_SUFFIXES else ".jpg"
    )  # of what it is not, too: this is the image
    key = f"{row['row']:012d}"
    tar.add(key + suffix.replace(".jpeg", ".jpg"), row["data"])
    if row["alt_text"]:
        tar.add(f"{key}.txt", row["alt_text"].encode())
    origin = {"imported_from": str(source), "row": row["row"], "path": _shown(row["uri"]),
              "url": _shown(row["url"]), "licence": row["licence"], BRIEF_NAMES[0]: row["brief_text"],
              DENSE_NAMES[0]: row["dense_text"]}  # fmt: skip
    tar.add(f"{key}.json", json.dumps({k: v for k, v in origin.items() if v is not None}).encode())


def _shown(url: str | None) -> str | None:
    return url and locate.without_login(url)
