"""Lists of URLs: what of them is downloaded, what failed and why, and how that is listed as images.

A list has a folder CATALOG/downloads/NAME-HASH of chunks: NNNNNN.parquet says of each URL where its bytes are or why
there are none, NNNNNN.tar has the bytes with text and origin, and NNNNNN-1.tar, ... those that a retry brought. A
chunk's Parquet file is replaced whole, after its tar. work/ is the batch under way: plan.parquet says what is to be
downloaded, for which chunks, and work/raw has what img2dataset has made of it so far.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from catalog import pixels
from catalog.bytes.tar import BLOCK, TarWriter
from catalog.errors import LensError
from catalog.notices import say
from catalog.store import parts, statements
from lensdata.sources import img2dataset, place, url_list
from lensdata.sources.imported import add
from lensdata.sources.item import Item
from lensdata.sources.place import Place
from lensdata.sources.survey import Survey
from lensdata.sources.tables import Columns
from lensdata.sources.tars import list_tar

CHUNK, BATCH = 1000, 100_000  # URLs in a chunk, URLs in one run of img2dataset
MARK, PLAN, WORK = "source.json", "plan.parquet", "work"
DAMAGES = 3
ROWS = pa.schema(
    [("key", pa.int64()), ("url", pa.string()), ("alt_text", pa.string()), ("licence", pa.string()),
     ("tar", pa.string()), ("byte_offset", pa.int64()), ("status", pa.string()), ("reason", pa.string()),
     ("brief_text", pa.string()), ("dense_text", pa.string())]
)  # fmt: skip
PLANNED = ROWS.append(pa.field("chunk", pa.int64())).append(pa.field("attempt", pa.int64()))
WANTED = pa.schema(
    [("row", pa.int64()), ("url", pa.string()), ("alt_text", pa.string()), ("licence", pa.string()),
     ("brief_text", pa.string()), ("dense_text", pa.string())]
)  # fmt: skip
NOT_A_URL = (pixels.MISSING, "not an http or https URL without a login")

Row = dict[str, Any]


def list_downloads(
    source: Place, columns: Columns, downloads: Path, survey: Survey, retry: bool
) -> Iterator[Item]:
    """The images of a list's URLs in the list's order, downloading what no earlier call did; a URL that failed is
    listed as such, and downloaded again only with `retry`. New lines of a list come after those known before.

    Raises LensError if img2dataset fails, and BadInput as `url_list.check` does.
    """
    key = hashlib.sha256(str(source).encode()).hexdigest()[:8]
    folder = downloads / f"{''.join(c if c.isalnum() else '-' for c in place.stem(source))[:40]}-{key}"
    (folder / WORK).mkdir(parents=True, exist_ok=True)
    for leftover in folder.rglob(f"*{parts.TEMPORARY}"):
        leftover.unlink()
    if (folder / WORK / PLAN).exists():
        _carry_out(folder)
    if retry:
        for batch in _failed(folder):
            _plan(folder, batch)
            _carry_out(folder)
    known = _chunks(folder)
    for chunk in known:
        yield from _list_chunk(folder, chunk, survey)
    facts = {
        "source": str(source),
        "facts": list(place.facts(source)),
        "url": columns.url,
        "text": columns.text,
        **columns.further,
    }
    mark = folder / MARK
    if mark.is_file() and json.loads(mark.read_text()) == facts:
        return
    following = known[-1] + 1 if known else 0
    for batch in _new(source, columns, folder, following):
        _plan(folder, batch)
        for chunk in _carry_out(folder):
            yield from _list_chunk(folder, chunk, survey)
    parts.write_bytes(mark, json.dumps(facts).encode())
    shutil.rmtree(folder / WORK)


# ---- listing


def _chunks(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("*.parquet"))


def _list_chunk(folder: Path, chunk: int, survey: Survey) -> Iterator[Item]:
    path = folder / f"{chunk:06d}.parquet"
    mtime = path.stat().st_mtime_ns
    rows = _rows(path)
    tars = {row["tar"] for row in rows if row["tar"]}
    items = {(tar, item.offset): item for tar in tars for item in list_tar(folder / tar, survey)}
    for row in rows:
        if row["tar"] is None:
            given = {name: row[name] for name in url_list.GUESSES}
            failed = (row["status"], row["reason"])
            yield Item(row["url"], 0, None, given=given, file_mtime_ns=mtime, failed=failed)
        elif item := items.get((row["tar"], row["byte_offset"])):
            if "-" in row["tar"]:  # it failed at first
                item = Item(item.uri, item.offset, item.length, item.text, item.json, item.file_size,
                            item.file_mtime_ns, was=row["url"])  # fmt: skip
            yield item
        else:
            survey.note(
                "downloaded images that their tar holds no more", f"{folder / row['tar']}, {row['url']}"
            )


# ---- what to download


def _new(source: Place, columns: Columns, folder: Path, chunk: int) -> Iterator[list[Row]]:
    """The lines of the list that no chunk has, in batches, as rows of new chunks from `chunk` on."""
    wanted, nothing = folder / WORK / "wanted.parquet", folder / WORK / "nothing.parquet"
    with pq.ParquetWriter(wanted, WANTED) as writer:
        lines = enumerate(url_list.lines(source, columns))
        while batch := [{"row": row, "url": url, **texts} for row, (url, texts) in islice(lines, BATCH)]:
            writer.write_table(pa.Table.from_pylist(batch, WANTED))
    pq.write_table(WANTED.empty_table(), nothing)
    known = [str(folder / f"{number:06d}.parquet") for number in _chunks(folder)] or [str(nothing)]
    with duckdb.connect(config={"temp_directory": str(folder / WORK / "spill")}) as connection:
        found = connection.sql(
            statements.statement("ingest/downloads_new"), params={"wanted": str(wanted), "known": known}
        )
        key = chunk * CHUNK
        reader: pa.RecordBatchReader = found.to_arrow_reader(BATCH)
        for records in reader:
            rows = [
                dict.fromkeys(PLANNED.names)
                | row
                | {"key": key + n, "chunk": (key + n) // CHUNK, "attempt": 0}
                for n, row in enumerate(records.to_pylist())
            ]
            key += -(-len(rows) // CHUNK) * CHUNK
            yield rows


def _failed(folder: Path) -> Iterator[list[Row]]:
    """The URLs of all chunks that failed, in batches."""
    batch: list[Row] = []
    for chunk in _chunks(folder):
        attempt = 1 + max(
            (int(tar.stem.partition("-")[2] or 0) for tar in folder.glob(f"{chunk:06d}*.tar")), default=0
        )
        batch += [
            row | {"chunk": chunk, "attempt": attempt}
            for row in _rows(folder / f"{chunk:06d}.parquet")
            if row["tar"] is None and url_list.is_url(row["url"])
        ]
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _plan(folder: Path, rows: list[Row]) -> None:
    shutil.rmtree(folder / WORK / "raw", ignore_errors=True)
    _write(folder / WORK / PLAN, rows, PLANNED)


# ---- doing it


def _carry_out(folder: Path) -> list[int]:
    """Download what the plan says and file it under its chunks, which are returned. May be done again at any point."""
    plan, raw = folder / WORK / PLAN, folder / WORK / "raw"
    rows = _rows(plan)
    urls = [row["url"] for row in rows if url_list.is_url(row["url"])]
    for _ in range(DAMAGES):
        if urls:
            img2dataset.download(urls, raw)
        try:
            chunks = list(_file(folder, rows, img2dataset.Results(raw)))
        except img2dataset.Damaged as damage:
            say(f"ingest: the download {raw}, group {damage.shard}, is damaged; fetching it again")
            img2dataset.forget(raw, damage.shard)
        else:
            plan.unlink()
            shutil.rmtree(raw, ignore_errors=True)
            return chunks
    raise LensError(f"what img2dataset writes to {raw} does not read back; is the disk sound?")


def _file(folder: Path, rows: list[Row], results: img2dataset.Results) -> Iterator[int]:
    position = 0
    for chunk, group in groupby(rows, key=lambda row: row["chunk"]):
        planned = list(group)
        path = folder / f"{chunk:06d}.parquet"
        attempt = planned[0]["attempt"]
        name = f"{chunk:06d}-{attempt}.tar" if attempt else f"{chunk:06d}.tar"
        with parts.atomic(folder / name) as file:
            tar = TarWriter(file)
            for row in planned:
                outcome: img2dataset.Outcome = NOT_A_URL
                if url_list.is_url(row["url"]):
                    outcome = results.outcome(position)
                    position += 1
                if isinstance(outcome, bytes):
                    row |= {"tar": name, "byte_offset": tar.offset + BLOCK, "status": None, "reason": None}
                    add(tar, row | {"row": row["key"], "data": outcome, "uri": None}, "img2dataset")
                else:
                    row |= {"tar": None, "byte_offset": None, "status": outcome[0], "reason": outcome[1]}
            tar.finish()
        if not any(row["tar"] for row in planned):
            (folder / name).unlink()
        before = {row["key"]: row for row in _rows(path)} if path.exists() else {}
        merged = before | {row["key"]: row for row in planned}
        _write(path, [merged[key] for key in sorted(merged)], ROWS)
        yield chunk


def _rows(path: Path) -> list[Row]:
    found = pq.read_table(path).to_pylist()
    return [dict.fromkeys(ROWS.names) | row for row in found]  # an earlier Lens kept fewer columns


def _write(path: Path, rows: Iterable[Row], schema: pa.Schema) -> None:
    table = pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in rows], schema)
    with parts.atomic(path) as file:
        pq.write_table(table, file)
