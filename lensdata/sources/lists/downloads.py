"""Lists of URLs: what of them is downloaded, what failed and why, and how that is listed as images.

A list has a folder CATALOG/downloads/NAME-HASH of chunks: NNNNNN.parquet says of each URL where its bytes are or why
there are none, NNNNNN.tar has the bytes with text and origin, and NNNNNN-1.tar, ... those that a retry brought. A
chunk's Parquet file is replaced whole, after its tar. work/ is the batch under way: plan.parquet says what is to be
downloaded, for which chunks, and work/raw has what img2dataset has made of it so far.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from catalog import pixels
from catalog.bytes.place import facts
from catalog.bytes.tar import BLOCK
from catalog.errors import LensError
from catalog.notices import say
from catalog.store import parts, statements
from lensdata.sources.item import Item
from lensdata.sources.kept import Kept, Row, add
from lensdata.sources.lists import img2dataset
from lensdata.sources.lists.address import encoded, is_url
from lensdata.sources.lists.lines import GIVEN, Line
from lensdata.sources.survey import Survey
from lensdata.sources.tar import Tar

CHUNK, BATCH = 1000, 100_000  # URLs in a chunk, URLs in one run of img2dataset
PLAN, WORK = "plan.parquet", "work"
DAMAGES = 3
ROWS = pa.schema(
    [("key", pa.int64()), ("url", pa.string()), ("alt_text", pa.string()), ("licence", pa.string()),
     ("tar", pa.string()), ("byte_offset", pa.int64()), ("status", pa.string()), ("reason", pa.string()),
     ("brief_text", pa.string()), ("dense_text", pa.string()), ("alt_error", pa.string())]
)  # fmt: skip
PLANNED = ROWS.append(pa.field("chunk", pa.int64())).append(pa.field("attempt", pa.int64()))
WANTED = pa.schema(
    [("row", pa.int64()), ("url", pa.string()), ("alt_text", pa.string()), ("licence", pa.string()),
     ("brief_text", pa.string()), ("dense_text", pa.string()), ("alt_error", pa.string())]
)  # fmt: skip
NOT_A_URL = (pixels.MISSING, "not an http or https URL without a login")


def list_downloads(
    kept: Kept, wanted: dict[str, Any], lines: Callable[[], Iterator[Line]], survey: Survey, retry: bool
) -> Iterator[Item]:
    """The images of a list's URLs in the list's order, downloading what no earlier call did; a URL that failed is
    listed as such, and downloaded again only with `retry`. New lines of a list come after those known before.

    `wanted` is the mark of a list whose lines are all known; the `lines` of others are read. Raises LensError if
    img2dataset fails, and what reading the lines raises.
    """
    work = kept.folder / WORK
    work.mkdir(exist_ok=True)
    if (work / PLAN).exists():
        _carry_out(kept)
    if retry:
        for batch in _failed(kept.folder):
            _plan(kept.folder, batch)
            _carry_out(kept)
    known = _chunks(kept.folder)
    for chunk in known:
        yield from _list_chunk(kept.folder, chunk, survey)
    if not kept.is_of(wanted):
        following = known[-1] + 1 if known else 0
        for batch in _new(lines(), kept.folder, following):
            _plan(kept.folder, batch)
            for chunk in _carry_out(kept):
                yield from _list_chunk(kept.folder, chunk, survey)
        kept.mark(wanted)
    shutil.rmtree(work)


# ---- listing


def _chunks(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("*.parquet"))


def _list_chunk(folder: Path, chunk: int, survey: Survey) -> Iterator[Item]:
    path = folder / f"{chunk:06d}.parquet"
    mtime = path.stat().st_mtime_ns
    rows = _rows(path)
    tars = {row["tar"] for row in rows if row["tar"]}
    items = {(name, item.offset): item for name in tars for item in _images(folder / name, survey)}
    for row in rows:
        if row["tar"] is None:
            given = {name: row[name] for name in GIVEN}
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


def _images(tar: Path, survey: Survey) -> Iterator[Item]:
    try:
        yield from Tar(tar, facts(tar)).samples(survey)
    except FileNotFoundError as error:
        survey.unread(f"downloads that cannot be read ({error.strerror})", str(tar))


# ---- what to download


def _new(lines: Iterator[Line], folder: Path, chunk: int) -> Iterator[list[Row]]:
    """Of the lines those that no chunk has, in batches, as rows of new chunks from `chunk` on."""
    wanted, nothing = folder / WORK / "wanted.parquet", folder / WORK / "nothing.parquet"
    with pq.ParquetWriter(wanted, WANTED) as writer:
        numbered = enumerate(lines)
        while batch := [{"row": row, "url": url, **texts} for row, (url, texts) in islice(numbered, BATCH)]:
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
            if row["tar"] is None and is_url(row["url"])
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


def _carry_out(kept: Kept) -> list[int]:
    """Download what the plan says and file it under its chunks, which are returned. May be done again at any point."""
    plan, raw = kept.folder / WORK / PLAN, kept.folder / WORK / "raw"
    rows = _rows(plan)
    urls = [encoded(row["url"]) for row in rows if is_url(row["url"])]
    for _ in range(DAMAGES):
        if urls:
            img2dataset.download(urls, raw)
        try:
            chunks = list(_file(kept, rows, img2dataset.Results(raw)))
        except img2dataset.Damaged as damage:
            say(f"ingest: the download {raw}, group {damage.shard}, is damaged; fetching it again")
            img2dataset.forget(raw, damage.shard)
        else:
            plan.unlink()
            shutil.rmtree(raw, ignore_errors=True)
            return chunks
    raise LensError(f"what img2dataset writes to {raw} does not read back; is the disk sound?")


def _file(kept: Kept, rows: list[Row], results: img2dataset.Results) -> Iterator[int]:
    position = 0
    for chunk, group in groupby(rows, key=lambda row: row["chunk"]):
        planned = list(group)
        path = kept.folder / f"{chunk:06d}.parquet"
        attempt = planned[0]["attempt"]
        name = f"{chunk:06d}-{attempt}.tar" if attempt else f"{chunk:06d}.tar"
        with kept.tar(name) as tar:
            for row in planned:
                outcome: img2dataset.Outcome = NOT_A_URL
                if is_url(row["url"]):
                    outcome = results.outcome(position)
                    position += 1
                if isinstance(outcome, bytes):
                    row |= {"tar": name, "byte_offset": tar.offset + BLOCK, "status": None, "reason": None}
                    add(tar, row | {"row": row["key"], "data": outcome, "uri": None}, "img2dataset")
                else:
                    row |= {"tar": None, "byte_offset": None, "status": outcome[0], "reason": outcome[1]}
        if not any(row["tar"] for row in planned):
            (kept.folder / name).unlink()
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
