"""Whatever a header claims, what is said of it fits the catalog's columns; what decoders say is the image's reason."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from catalog import pixels
from tests.fakes import zoo

PNG, BMP = zoo.encode(zoo.picture(), "PNG"), zoo.encode(zoo.picture(), "BMP")
TIFF = zoo.encode(zoo.picture(), "TIFF", tiffinfo={305: "some software"})
NUMBERS = st.one_of(
    st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2**31 - 1, 2**31, 0xFFFFFF81, 2**32 - 1])
)


def fits(header: pixels.Header) -> bool:
    sides = (header.width, header.height, header.frames)
    return all(side is None or 1 <= side < 2**31 for side in sides) and 1 <= header.orientation <= 8


def tiff_with(tag: int, kind: int, count: int, value: int) -> bytes:
    """The TIFF with its tag 305 made another."""
    data = bytearray(TIFF)
    (at,) = struct.unpack_from("<I", data, 4)
    (tags,) = struct.unpack_from("<H", data, at)
    places = [at + 2 + 12 * n for n in range(tags)]
    place = next(p for p in places if struct.unpack_from("<H", data, p)[0] in (tag, 305))
    struct.pack_into("<HHII", data, place, tag, kind, count, value)
    return bytes(data)


@settings(max_examples=200, deadline=None)
@given(width=NUMBERS, height=NUMBERS)
def test_any_size_fits_or_is_refused(width: int, height: int) -> None:
    bmp = bytearray(BMP)
    struct.pack_into("<II", bmp, 18, width, height)
    for data in (bytes(bmp), zoo.huge_png(width, height), b"P6 %d %d 255\n" % (width, height) + bytes(99)):
        header, decoded = pixels.probe(data), pixels.decode(data)
        assert fits(header), (header, width, height)
        assert (decoded.width, decoded.height) == (header.width, header.height)


@settings(max_examples=60, deadline=None)
@given(frames=NUMBERS, orientation=NUMBERS)
def test_any_frame_count_and_orientation_fits(frames: int, orientation: int) -> None:
    animated = PNG[:33] + zoo.png_chunk(b"acTL", struct.pack(">II", frames, 0)) + PNG[33:]
    assert fits(pixels.probe(animated)) and pixels.decode(animated).ok
    for data in (tiff_with(274, 4, 1, orientation), tiff_with(256, 4, 1, frames)):
        assert fits(pixels.probe(data))
    turned = zoo.encode(zoo.picture(), "PNG", exif=zoo.exif(orientation % 2**16))
    assert fits(pixels.probe(turned)) and pixels.decode(turned).ok


def test_the_bmp_that_ended_an_ingest() -> None:
    data = BMP[:18] + struct.pack("<I", 0xFFFFFF81) + BMP[22:]
    header = pixels.probe(data)
    assert (header.status, header.width, header.height) == (pixels.CORRUPT, None, None)
    assert header.reason == "an image of 4294967169x64 pixels"


def test_what_pillow_warns_of_is_the_reason(recwarn: pytest.WarningsRecorder) -> None:
    lost = tiff_with(305, 2, 200, 0xFFFFFF00)  # its text lies beyond the file
    assert pixels.probe(lost).status == pixels.OK_WARNINGS
    decoded = pixels.decode(lost)
    assert (decoded.status, decoded.reason) == (pixels.OK_WARNINGS, "Truncated File Read")
    large = zoo.encode(
        Image.new("L", (9_600, 9_600)), "GIF"
    )  # Pillow calls it a possible bomb; it is within our limit
    assert pixels.probe(large).width == 9_600 and pixels.decode(large).ok
    assert not recwarn.list


def scrambled(data: bytes, share: float) -> bytes:
    at = int(len(data) * share)
    return data[:at] + np.random.default_rng(0).bytes(200) + data[at + 200 :]


@pytest.mark.parametrize(
    ("compression", "says"),
    [("tiff_lzw", "Using code not yet in table"), ("group4", "Bad code word"), ("zstd", "corruption")],
)
def test_what_libtiff_prints_is_the_reason(
    capfd: pytest.CaptureFixture[str], compression: str, says: str
) -> None:
    image = Image.fromarray(zoo.picture(200, 200)).convert("1" if compression == "group4" else "RGB")
    whole = zoo.encode(image, "TIFF", compression=compression)
    assert pixels.decode(whole).status == pixels.OK
    decoded = pixels.decode(scrambled(whole, 0.3))
    assert decoded.status in (pixels.OK_WARNINGS, pixels.CORRUPT) and says in (decoded.reason or "")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        (lambda rows: rows + bytes(1_000), pixels.OK_WARNINGS, "Too much image data"),
        (lambda rows: b"\x09" + rows[1:], pixels.CORRUPT, "unrecognized data stream"),
    ],
)
def test_what_libpng_prints_is_the_reason(
    capfd: pytest.CaptureFixture[str], change: Callable[[bytes], bytes], status: str, says: str
) -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (40, 40, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 40, 40, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(change(rows))),
        (b"IEND", b""),
    )  # fmt: skip
    decoded = pixels.decode(PNG[:8] + b"".join(zoo.png_chunk(*chunk) for chunk in chunks))
    assert decoded.status == status and says in (decoded.reason or "")
    assert capfd.readouterr().err == ""


def test_other_threads_keep_their_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    """Training decodes in threads beside a main thread that prints."""
    data = zoo.encode(zoo.picture(), "WEBP")
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            assert pixels.decode(data).ok

    worker = threading.Thread(target=work)
    worker.start()
    for n in range(300):
        os.write(2, f"line {n}\n".encode())
    stop.set()
    worker.join()
    assert capfd.readouterr().err.splitlines() == [f"line {n}" for n in range(300)]


def test_a_closed_standard_error_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "a.tiff").write_bytes(TIFF)
    code = (
        "import os, sys; from catalog import pixels; os.close(2); "
        "print(pixels.decode(open(sys.argv[1], 'rb').read()).status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.tiff"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "ok\n"
