"""A Hugging Face dataset as a source.

The original bytes are kept (the image column is never decoded), once, in tars under CATALOG/imported. Beside each tar
stands the state of the stream after it, so a killed ingest goes on with the next.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from catalog import extras, pixels
from catalog.notices import say
from catalog.store import parts
from lensdata.sources.hub.stream import Split, parse, rows, splits_of
from lensdata.sources.item import Item
from lensdata.sources.kept import Kept
from lensdata.sources.source import Columns, Source
from lensdata.sources.survey import Survey
from lensdata.sources.tables.columns import TEXTLESS
from lensdata.sources.texts.values import NAMES


class HubDataset(Source):
    """The images of a dataset in its order, split after split, each tar as soon as it is whole."""

    nothing = "is a dataset without images"

    def __init__(self, place: str, columns: Columns) -> None:
        super().__init__(place)
        self.spec, self.columns = parse(place), columns
        self._opened: tuple[str, list[Split]] | None = None  # the version, and what is streamed of it

    def check(self) -> None:
        """Asks the hub for the commit and for what is in it, and nothing more unless the columns are declared
        nowhere: then the first row tells them."""
        if self._opened is None:
            extras.require("hub", "hf://")
            self._opened = splits_of(self.spec, self.columns)

    def _items(self, survey: Survey, root: Path, retry: bool) -> Iterator[Item]:
        self.check()
        assert self._opened is not None
        (version, splits), self._opened = self._opened, None
        spec, columns = self.spec, self.columns
        named = [asdict(spec), columns.image, columns.text, *columns.further.items()]
        kept = Kept(root / "imported", spec.name.strip("/")[-40:], json.dumps(named))
        done = kept.folder / "done.json"
        wanted = {
            "source": str(spec), "image_column": columns.image, "text_column": columns.text, **columns.further,
            "version": version,
        }  # fmt: skip
        if not kept.is_of(wanted):
            done.unlink(missing_ok=True)
            for state in kept.folder.glob("[0-9]*.json"):
                state.unlink()
            kept.mark(wanted)
        for split in splits:
            if split.further and not split.named.keys() & NAMES.keys():
                survey.note(TEXTLESS, f"{spec}, whose {split.name} has {', '.join(split.further)}")
        written = len(list(kept.folder.glob("[0-9]*.json")))
        for number in range(written):
            yield from _kept_items(kept, number, survey)
        if not done.exists():
            say(f"ingest: streaming {spec} to {kept.folder}")
            last = json.loads(_state(kept, written - 1).read_bytes()) if written else None
            for number, row, failed in kept.fill(rows(spec, splits, last), written, spec):
                fields = {
                    "row": row["row"] + 1, "split": row["split"], "state": row["state"],
                    "failed": [row["failed"] for row in failed],
                }  # fmt: skip
                parts.write_bytes(_state(kept, number), json.dumps(fields).encode())
                yield from _kept_items(kept, number, survey)
                written = number + 1
            kept.empty(written)
            parts.write_bytes(done, b"{}")
        for tar in kept.tars()[written:]:
            yield from kept.items(tar, survey)


def _state(kept: Kept, number: int) -> Path:
    """Where the stream stood after a tar, and which of its rows had no bytes."""
    return kept.folder / f"{number:06d}.json"


def _kept_items(kept: Kept, number: int, survey: Survey) -> Iterator[Item]:
    state = _state(kept, number)
    yield from kept.items(state.with_suffix(".tar"), survey)
    mtime = state.stat().st_mtime_ns
    for uri, reason in json.loads(state.read_bytes())["failed"]:
        yield Item(uri, 0, None, file_mtime_ns=mtime, failed=(pixels.MISSING, reason))
