"""Downloading with img2dataset, run as a tool of its own: its pins cannot share an environment with ours.

It is asked for the bytes as they come (`disable_all_reencoding`), in shards of SHARD URLs. A finished shard is a tar,
a Parquet file of what became of each URL, and a _stats.json that is written last; img2dataset skips those at the next
run, so a killed download goes on.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog import extras, pixels
from catalog.bytes import locate, tar
from catalog.errors import BadInput, LensError
from catalog.notices import Progress, say
from lensdata.sources.lists import guard

VARIABLE = "LENS_IMG2DATASET"
RELEASE = "img2dataset==1.47.*"
OVERRIDES = Path(__file__).with_name("img2dataset-overrides.txt")
SHARD = 1000
STALL_SECONDS = 900.0  # 1000 URLs that all time out take a sixth of it
POLL_SECONDS = 0.2
FIXED = {
    "input_format": "parquet", "url_col": "url", "output_format": "webdataset", "resize_mode": "no",
    "disable_all_reencoding": "True", "extract_exif": "False", "compute_hash": "sha256", "enable_wandb": "False",
    "incremental_mode": "incremental", "number_sample_per_shard": str(SHARD),
}  # fmt: skip
TUNABLE = {"processes_count": str(os.cpu_count() or 1), "thread_count": "32", "timeout": "10"}
HIDDEN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
PIP_TO_UV = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_CERT": "SSL_CERT_FILE",
}
UNUSABLE = (pixels.UNSUPPORTED, pixels.CORRUPT, pixels.TRUNCATED)

Outcome = bytes | tuple[str, str]  # the bytes of an image, or (status, reason)


class Damaged(Exception):
    """A finished shard whose files are not what they were when written: a machine that lost its power."""

    def __init__(self, shard: int) -> None:
        super().__init__(shard)
        self.shard = shard


def command() -> list[str]:
    """The command line that is img2dataset: what LENS_IMG2DATASET says, an `img2dataset` that is installed, or uv,
    which installs it apart. Raises Missing if there is none of them."""
    if given := os.environ.get(VARIABLE):
        try:
            return shlex.split(given)
        except ValueError as error:
            raise BadInput(f"{VARIABLE} is no command line: {error}") from None
    if found := shutil.which("img2dataset"):
        return [found]
    if uv := _uv():
        # Python below 3.13, which lacks a module that img2dataset imports
        python = sys.executable if sys.version_info < (3, 13) else "<3.13"
        return [
            uv, "tool", "run", "--python", python, "--from", RELEASE, "--overrides", str(OVERRIDES), "img2dataset",
        ]  # fmt: skip
    hint = f"or set {VARIABLE} to the command that is img2dataset"
    raise extras.Missing(
        f"a list of URLs needs uv, which runs img2dataset apart: {extras.install('http')}, {hint}"
    )


def _uv() -> str | None:
    try:
        import uv

        return str(uv.find_uv_bin())
    except (ImportError, FileNotFoundError):
        return shutil.which("uv")


def download(urls: list[str], raw: Path) -> None:
    """Fetch `urls` to `raw`, or what of them is not there yet. Raises LensError if the tool fails before the end."""
    shards = -(-len(urls) // SHARD)
    if all(_finished(raw, number) for number in range(shards)):
        return
    line = command()
    raw.mkdir(parents=True, exist_ok=True)
    listed, log = raw / "urls.list", raw / "log.txt"  # neither ends like what img2dataset looks for
    pq.write_table(pa.table({"url": urls}), listed)
    given = {part.partition("=")[0] for part in line}
    options = {**FIXED, **{key: value for key, value in TUNABLE.items() if f"--{key}" not in given}}
    line += [
        f"--url_list={listed}", f"--output_folder={raw}", *(f"--{key}={value}" for key, value in options.items()),
    ]  # fmt: skip
    say(f"ingest: downloading {len(urls)} URLs with img2dataset")
    with log.open("wb") as output, Progress(len(urls), "download", "URLs") as bar:
        process = subprocess.Popen(
            [sys.executable, str(Path(guard.__file__)), *line], env=_environment(), stdin=subprocess.PIPE,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            stalled = _watch(process, raw, shards, bar)
        finally:
            assert process.stdin is not None
            process.stdin.close()  # which ends all that still runs
            process.wait()
    missing = [number for number in range(shards) if not _finished(raw, number)]
    if stalled:
        say(
            f"ingest: img2dataset finished nothing for {STALL_SECONDS:.0f} s; {len(missing)} groups of URLs given up"
        )
        for number in missing:
            _give_up(raw, number)
    elif missing:
        tail = " / ".join(
            deque((x.strip() for x in log.read_text(errors="replace").splitlines() if x.strip()), 3)
        )
        raise LensError(
            f"img2dataset ended (exit code {process.returncode}) before {len(missing)} of {shards} groups of URLs were "
            f"done; its last lines: {locate.without_login(tail) or 'none'}; run the same command again to go on"
        )


def _environment() -> dict[str, str]:
    """The tool's: without what is of our Python environment, without trackers and updates. uv reads none of pip's
    settings, so that it finds packages where pip does it is told pip's."""
    mine = {key: value for key, value in os.environ.items() if key not in HIDDEN}
    pips = {uvs: mine[pips] for pips, uvs in PIP_TO_UV.items() if pips in mine and uvs not in mine}
    return mine | pips | {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled", "WANDB_SILENT": "true"}


def _watch(process: subprocess.Popen[bytes], raw: Path, shards: int, bar: Progress) -> bool:
    """Wait for the end; whether it had to be given up because nothing happened any more."""
    done, since = 0, time.monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)
        now = sum(_finished(raw, number) for number in range(shards)) if process.poll() is not None else len(
            list(raw.glob("*_stats.json"))
        )  # fmt: skip
        if now > done:
            bar.advance(min(now * SHARD, bar.total or 0) - bar.done)
            done, since = now, time.monotonic()
        if process.poll() is not None:
            return False
        if time.monotonic() - since > STALL_SECONDS:
            return True


def _paths(raw: Path, number: int) -> tuple[Path, Path, Path]:
    return raw / f"{number:05d}.tar", raw / f"{number:05d}.parquet", raw / f"{number:05d}_stats.json"


def _finished(raw: Path, number: int) -> bool:
    return _paths(raw, number)[2].is_file()


def _give_up(raw: Path, number: int) -> None:
    archive, results, stats = _paths(raw, number)
    archive.unlink(missing_ok=True)
    results.unlink(missing_ok=True)
    stats.write_text("{}")


def forget(raw: Path, number: int) -> None:
    """Remove a shard, so that it is downloaded again."""
    for path in _paths(raw, number):
        path.unlink(missing_ok=True)


class Results:
    """What a finished download brought, by the number of the URL; shards are opened one after the other."""

    def __init__(self, raw: Path) -> None:
        self.raw, self.number = raw, -1
        self.rows: dict[int, dict[str, Any]] = {}
        self.members: dict[int, tuple[int, int]] = {}
        self.given_up = False

    def outcome(self, position: int) -> Outcome:
        """The bytes of the URL at `position`, if they are an image's by their header, or why there are none.

        Raises Damaged.
        """
        if position // SHARD != self.number:
            self._open(position // SHARD)
        if self.given_up:
            return pixels.MISSING, f"the download of its group of URLs did nothing for {STALL_SECONDS:.0f} s"
        row = self.rows.get(position)
        if row is None:
            return pixels.MISSING, "img2dataset gave no result for it"
        if row["status"] != "success":
            return pixels.MISSING, str(row["error_message"] or row["status"])
        data = self._bytes(position)
        if hashlib.sha256(data).hexdigest() != row["sha256"]:
            raise Damaged(self.number)
        header = pixels.probe(data)
        if header.status in UNUSABLE:
            return header.status, f"{len(data)} bytes came, which are not kept: {header.reason}"
        return data

    def _open(self, number: int) -> None:
        archive, results, _ = _paths(self.raw, number)
        self.number, self.rows, self.members = number, {}, {}
        self.given_up = not results.exists() and not archive.exists()
        if self.given_up:
            return
        try:
            table = pq.read_table(results, columns=["key", "status", "error_message", "sha256"])
            self.rows = {int(row["key"]): row for row in table.to_pylist()}
            with archive.open("rb") as file:
                for member in tar.members(file):
                    stem, _, ending = member.name.partition(".")
                    if ending == "jpg":  # as it names whatever comes
                        self.members[int(stem)] = (member.offset, member.size)
        except (OSError, pa.ArrowException, tar.Broken, ValueError):
            raise Damaged(number) from None

    def _bytes(self, position: int) -> bytes:
        if position not in self.members:
            raise Damaged(self.number)
        offset, size = self.members[position]
        with _paths(self.raw, self.number)[0].open("rb") as file:
            file.seek(offset)
            return file.read(size)
