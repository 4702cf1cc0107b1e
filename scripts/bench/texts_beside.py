#!/usr/bin/env python3
"""A table of very many texts beside few images: the memory of listing them as the table grows, and the time of a row
over that of merely reading it with Python's csv.

Run it by hand: python scripts/bench/texts_beside.py [--rows 1000000,4000000]
Each size runs in a process of its own. The table's rows stand in the reverse of the order that the listing needs.
"""

from __future__ import annotations

import argparse
import csv
import io
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from PIL import Image

IMAGES = 50


def fill(folder: Path, rows: int) -> Path:
    """A folder of IMAGES images and a captions.csv of `rows` rows, of which IMAGES name one; its path."""
    folder.mkdir()
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, "PNG")
    for n in range(0, rows, rows // IMAGES):
        (folder / f"{n:09d}.png").write_bytes(buffer.getvalue())
    table = folder / "captions.csv"
    with table.open("w") as file:
        file.write("filename,caption\n")
        for n in reversed(range(rows)):
            file.write(f"{n:09d}.png,a caption of number {n} that is long enough to be one\n")
    return table


def one(rows: int) -> None:
    """List a folder and print what it took."""
    from lensdata.sources import Survey, open

    with tempfile.TemporaryDirectory() as folder:
        table = fill(Path(folder) / "images", rows)
        start = time.process_time()
        with table.open(newline="") as file:
            assert sum(1 for _ in csv.reader(file)) == rows + 1
        bare = time.process_time() - start
        start = time.process_time()
        given = [item.given for item in open(table.parent).list(Survey(), Path(folder) / "catalog")]
        taken = time.process_time() - start
    assert None not in given and len(given) >= IMAGES
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"{rows} rows: {taken / bare:.1f} times csv's CPU time; peak memory {peak:.0f} MB")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="1000000,4000000")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one)
        return
    for rows in given.rows.split(","):
        subprocess.run([sys.executable, __file__, "--one", rows], check=True)


if __name__ == "__main__":
    main()
