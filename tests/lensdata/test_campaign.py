"""A campaign of random faults: whatever happens to files, jobs and storage, some things always hold.

Files, tars and a table are moved, replaced, cut, renamed, taken down; jobs are killed, find the disk full, or their
storage silent. After every few of these the catalog is brought up to date, and looked at as a whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import catalog
from catalog import metrics
from catalog.bytes import locate
from catalog.errors import LensError
from lensdata import engine, shards
from lensdata.bucket import bucket
from lensdata.caption import FromSource, caption
from lensdata.ingest import ingest
from lensdata.score import score
from lensdata.takedown import remove
from tests.conftest import ROOT
from tests.helpers import make_tar, png
from tests.lensdata.conftest import Store

pytestmark = pytest.mark.slow
LOOSE = {"dedup": False, **dict.fromkeys(metrics.thresholds())}
READABLE = ("ok", "ok-warnings")
ROUNDS, FAULTS = 8, 4
SEEDS = int(os.environ.get("LENS_CAMPAIGN", "3"))  # campaigns; a longer search asks for more


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class World:
    """Folders of files, a tar, a table, a store behind HTTP; and what must be true of a catalog over them."""

    def __init__(self, root: Path, store: Store, seed: int) -> None:
        self.rng, self.root, self.store = random.Random(seed), root, store
        self.files, self.tar, self.table = root / "files", root / "tars" / "s.tar", root / "t.parquet"
        self.seed = 1000 * seed
        self.taken_down: set[str] = set()
        self.buried: list[bytes] = []  # of what was taken down
        self.bytes_of: dict[int, str] = {}  # every id that was ever readable
        self.manifests: dict[str, str] = {}  # every manifest's fingerprint
        self.builds: list[Path] = []
        for folder in ("a", "b", "b/c"):
            (self.files / folder).mkdir(parents=True)
            for _ in range(4):
                self.write(self.files / folder / f"{self.new()}.png", png(self.new()))
        self.members = [(f"{self.new()}.png", png(self.new())) for _ in range(5)]
        self.tar.parent.mkdir()
        make_tar(self.tar, self.members)
        self.rows = [png(self.new()) for _ in range(4)]
        self.write_table()
        at = f"http://127.0.0.1:{store.server_address[1]}"
        self.urls = [f"{at}/{self.new()}.png" for _ in range(3)]
        pl.DataFrame({"image": self.urls}).write_parquet(root / "u.parquet")
        self.opened = catalog.open(root / "catalog")

    # ---- what may happen

    def new(self) -> int:
        self.seed += 1
        return self.seed

    def write(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)
        path.with_suffix(".txt").write_text(f"text of {sha(data)[:8]}")

    def write_table(self) -> None:
        pl.DataFrame({"image": self.rows, "text": [f"row {n}" for n in range(len(self.rows))]}).write_parquet(
            self.table
        )

    def some(self) -> Path:
        return self.rng.choice(sorted(self.files.rglob("*.png")))

    def move(self) -> None:
        path = self.some()
        path.rename(self.rng.choice([self.files / "a", self.files / "b"]) / f"{self.new()}.png")

    def swap(self) -> None:
        first, second = self.some(), self.some()
        kept = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(kept)

    def rename_folder(self) -> None:
        folders = sorted(path for path in self.files.rglob("*") if path.is_dir() and path.name not in "ab")
        if folders:
            folders[0].rename(folders[0].with_name(f"c{self.new()}"))

    def replace(self) -> None:
        self.write(self.some(), png(self.new()))

    def cut(self) -> None:
        path = self.some()
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])

    def delete(self) -> None:
        self.some().unlink()

    def copy(self) -> None:
        shutil.copy(self.some(), self.files / "a" / f"{self.new()}.png")

    def add(self) -> None:
        self.write(self.files / "b" / f"{self.new()}.png", png(self.new()))

    def bring_back(self) -> None:
        """The bytes of what was taken down, under another name."""
        if self.taken_down and self.buried:
            self.write(self.files / "a" / f"{self.new()}.png", self.rng.choice(self.buried))

    def rewrite_tar(self) -> None:
        self.members.insert(0, (f"{self.new()}.png", png(self.new())))
        if self.rng.random() < 0.5:
            self.members.pop(self.rng.randrange(len(self.members)))
        make_tar(self.tar, self.members)

    def change_table(self) -> None:
        self.rows[self.rng.randrange(len(self.rows))] = png(self.new())
        self.write_table()

    def silence(self) -> None:
        self.store.silent = frozenset(url.rpartition("/")[2] for url in self.rng.sample(self.urls, 2))

    def take_down(self) -> None:
        rows = self.opened.sql(
            "SELECT image_id, sha256, located(uri) AS uri, byte_offset, byte_length FROM images "
            "WHERE status IN ('ok', 'ok-warnings') ORDER BY image_id"
        ).rows()
        if not rows:
            return
        image_id, digest, uri, offset, length = self.rng.choice(rows)
        try:
            self.buried.append(locate.read(uri, offset, length))
        except LensError:
            pass
        remove(self.opened, [image_id], "asked for", self.builds)
        self.taken_down.add(digest)

    def kill(self) -> None:
        self.run(["ingest", *self.sources], kill_after=self.rng.uniform(0.3, 3.0))
        self.run(["score", "--only", "clarity"], kill_after=self.rng.uniform(0.3, 3.0))

    def kill_build(self) -> None:
        out = self.root / f"killed-{self.new()}"
        self.run(
            ["build-shards", "--no-filters", "--no-dedup", "--out", out],
            kill_after=self.rng.uniform(0.5, 3.0),
        )

    def fill_disk(self) -> None:
        self.run(["ingest", *self.sources], most_bytes=self.rng.choice([0, 100, 3_000, 20_000]))

    def run(self, arguments: list[object], kill_after: float = 60.0, most_bytes: int | None = None) -> None:
        line = [sys.executable, "-m", "lensdata", *map(str, arguments), *(["--workers", "1"])]
        environment = {**os.environ, "LENS_CATALOG": str(self.opened.root), "PYTHONPATH": str(ROOT)}

        def limit() -> None:
            if most_bytes is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

        job = subprocess.Popen(
            line,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=limit,
        )
        try:
            told, _ = job.communicate(timeout=kill_after)
        except subprocess.TimeoutExpired:
            job.kill()
            told, _ = job.communicate()
        assert "Traceback" not in told, told

    # ---- bringing the catalog up to date

    @property
    def sources(self) -> list[Path]:
        return [self.files, self.tar.parent, self.table, self.root / "u.parquet"]

    def settle(self) -> str:
        """What all stages say of the world as it is now."""
        done = ingest(self.opened, self.sources, on=engine.HERE)
        self.store.silent = frozenset()
        again = ingest(self.opened, self.sources, on=engine.HERE)  # whatever was silent
        assert (again.added, again.gone) == (0, 0), again
        score(self.opened, only=("clarity",), on=engine.HERE)
        caption(self.opened, FromSource("alt"))
        bucket(self.opened)
        out = self.root / f"shards-{len(self.builds)}"
        shards.build(self.opened, self.opened.select(**LOOSE).manifest(), out, workers=1)
        self.builds.append(out)
        return str(done)

    def check(self) -> None:
        """The invariants."""
        rows = self.opened.sql(
            "SELECT image_id, sha256, status, status_reason, located(uri) AS uri, byte_offset, byte_length FROM images"
        ).to_dicts()
        known = {(row["uri"], row["byte_offset"]): row for row in rows if row["status"] != "missing"}

        # No image lost without a row.
        for path in self.files.rglob("*.png"):
            row = known[str(path), 0]
            digest = sha(path.read_bytes())
            assert row["sha256"] == digest
            assert (row["status"] == "removed") == (digest in self.taken_down), row
        for _, data in self.members:
            assert any(row["sha256"] == sha(data) for (uri, _), row in known.items() if uri == str(self.tar))

        # No row `ok` whose bytes cannot be read back.
        for row in rows:
            if row["status"] in READABLE:
                data = locate.read(row["uri"], row["byte_offset"], row["byte_length"])
                assert sha(data) == row["sha256"], row
            elif row["status"] != "removed":
                assert row["status_reason"], row

        # Ids stay with their bytes, each once.
        assert len({row["image_id"] for row in rows}) == len(rows)
        for row in rows:
            if row["status"] in READABLE:
                assert self.bytes_of.setdefault(row["image_id"], row["sha256"]) == row["sha256"], row
        retired = set(self.opened.sql("SELECT image_id FROM retired")["image_id"])
        assert retired.isdisjoint(row["image_id"] for row in rows)
        waiting = "SELECT (SELECT count(*) FROM staged) + (SELECT count(*) FROM arrivals)"
        assert self.opened.sql(waiting).item() == 0

        # Nothing taken down in any shard, nor in copies of ours.
        for out in self.builds:
            for path in out.glob("*.tar"):
                with tarfile.open(path) as tar:
                    for member in tar:
                        if member.name.endswith(".png"):
                            data = tar.extractfile(member)
                            assert data is not None and sha(data.read()) not in self.taken_down, path
        for path in (self.opened.root / "imported").rglob("*.tar"):
            with tarfile.open(path) as tar:
                for member in tar:
                    data = tar.extractfile(member)
                    assert data is not None and sha(data.read()) not in self.taken_down, path

        # A manifest never changes.
        for path in (self.opened.root / "manifests").glob("*/manifest.json"):
            info = json.loads(path.read_text())
            assert self.manifests.setdefault(info["name"], info["fingerprint"]) == info["fingerprint"]
        assert not list((self.opened.root / "parts").rglob("*.parquet"))


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_what_always_holds(tmp_path: Path, store: Store, seed: int) -> None:
    world = World(tmp_path, store, seed)
    world.settle()
    world.check()
    faults: list[Callable[[], None]] = [
        world.move, world.swap, world.rename_folder, world.replace, world.cut, world.delete, world.copy, world.add,
        world.rewrite_tar, world.change_table, world.silence, world.take_down, world.bring_back, world.kill,
        world.kill_build, world.fill_disk,
    ]  # fmt: skip
    for n in range(ROUNDS):
        chosen = world.rng.sample(faults, FAULTS)
        told = [fault.__name__ for fault in chosen]
        for fault in chosen:
            fault()
        try:
            done = world.settle()
            world.check()
        except Exception as error:
            raise AssertionError(f"seed {seed}, round {n}: {', '.join(told)}: {error}") from error
        print(f"round {n}: {', '.join(told)}: {done}")
