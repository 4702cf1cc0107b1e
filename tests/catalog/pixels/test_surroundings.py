"""What surrounds the pixels never decides: texts, profiles, private chunks, trailing bytes, whatever their size."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from catalog import pixels
from catalog.pixels import _png
from tests.fakes import zoo

MB = 2**20
NOISE = np.random.default_rng(0).bytes(5 * MB)
PNG = zoo.encode(zoo.picture(), "PNG")
JPEG = zoo.encode(zoo.picture(), "JPEG", quality=90)
WEBP = zoo.encode(zoo.picture(), "WEBP", exif=zoo.exif(1), xmp=b"x" * 4_000)
GIF = zoo.encode(Image.fromarray(zoo.picture()).quantize(32), "GIF")


def in_png(*chunks: tuple[bytes, bytes], last: bool = False) -> bytes:
    at = len(PNG) - 12 if last else 33
    return PNG[:at] + b"".join(zoo.png_chunk(*chunk) for chunk in chunks) + PNG[at:]


def in_jpeg(*segments: tuple[int, bytes]) -> bytes:
    made = (bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments)
    return JPEG[:2] + b"".join(made) + JPEG[2:]


def in_gif(block: bytes) -> bytes:
    at = 13 + 3 * 2 ** ((GIF[10] & 7) + 1)
    return GIF[:at] + block + GIF[at:]


SOUND: dict[str, tuple[bytes, Callable[[], bytes]]] = {
    "png, 3 MB of zTXt": (PNG, lambda: in_png((b"zTXt", b"k\0\0" + zlib.compress(bytes(3 * MB))))),
    "png, 3 MB of iTXt": (PNG, lambda: in_png((b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(3 * MB))))),
    "png, 80 MB of texts": (PNG, lambda: in_png(*[(b"tEXt", b"k\0" + bytes(MB))] * 80)),
    "png, 80 MB of texts behind": (PNG, lambda: in_png(*[(b"tEXt", b"k\0" + bytes(MB))] * 80, last=True)),
    "png, short gAMA, cHRM, pHYs, sRGB, bKGD": (
        PNG, lambda: in_png(*[(kind, b"") for kind in (b"gAMA", b"cHRM", b"pHYs", b"sRGB", b"bKGD")]),
    ),
    "png, checksum of a text": (PNG, lambda: PNG[:33] + b"\0\0\0\1tEXtkabcd" + PNG[33:]),
    "png, bytes behind the end": (PNG, lambda: PNG + b"junk" * 999),
    "png, animation out of order": (PNG, lambda: in_png((b"acTL", bytes(8)), (b"fcTL", b"x" * 26))),
    "jpeg, 80 MB of comments": (JPEG, lambda: in_jpeg(*[(0xFE, b"c" * 65_533)] * 1_280)),
    "jpeg, garbage in APP0 to APP15": (
        JPEG, lambda: in_jpeg(*[(0xE0 + n, NOISE[n * 60_000 :][:60_000]) for n in range(16) if n != 14]),
    ),
    "webp, its claimed size too small": (WEBP, lambda: WEBP[:4] + struct.pack("<I", 60) + WEBP[8:]),
    "webp, its claimed size too large": (WEBP, lambda: WEBP[:4] + struct.pack("<I", 2**31) + WEBP[8:]),
    "webp, bytes behind the end": (WEBP, lambda: WEBP + b"junk" * 99),
    "gif, 5 MB of comment": (GIF, lambda: in_gif(b"\x21\xfe" + (b"\xff" + b"c" * 255) * 20_000 + b"\0")),
    "gif, bytes behind the end": (GIF, lambda: GIF + b"junk" * 99),
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_sound_pixels_are_ok_whatever_surrounds_them(name: str) -> None:
    bare, make = SOUND[name]
    data = make()
    header, decoded, wanted = pixels.probe(data), pixels.decode(data), pixels.decode(bare)
    assert header.status == pixels.OK and (header.width, header.height) == (zoo.WIDTH, zoo.HEIGHT)
    assert (decoded.status, decoded.reason) == (pixels.OK, None)
    assert decoded.rgb is not None and wanted.rgb is not None and np.array_equal(decoded.rgb, wanted.rgb)


@settings(max_examples=80, deadline=None)
@given(
    chunks=st.lists(
        st.tuples(
            st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tIME",
                             b"sPLT", b"hIST", b"bKGD", b"acTL", b"fcTL", b"eXIf", b"prVt"]),
            st.binary(max_size=64),
        ),
        max_size=6,
    ),
    last=st.booleans(),
)  # fmt: skip
def test_no_chunk_around_a_png_makes_it_unreadable(chunks: list[tuple[bytes, bytes]], last: bool) -> None:
    bare = pixels.decode(PNG).rgb
    decoded = pixels.decode(in_png(*chunks, last=last))
    assert decoded.status in (pixels.OK, pixels.OK_WARNINGS)
    assert decoded.rgb is not None and sorted(decoded.rgb.shape) == sorted(bare.shape)
    if decoded.rgb.shape == bare.shape and (b"eXIf" not in dict(chunks)):
        assert np.array_equal(decoded.rgb, bare)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_segment_around_a_jpeg_makes_it_unreadable(data: st.DataObject) -> None:
    markers = st.sampled_from([0xE0, *range(0xE3, 0xEE), 0xEF, 0xFE])
    segments = data.draw(st.lists(st.tuples(markers, st.binary(max_size=64)), max_size=6))
    decoded = pixels.decode(in_jpeg(*segments))
    assert decoded.status == pixels.OK and np.array_equal(decoded.rgb, pixels.decode(JPEG).rgb)


@pytest.mark.parametrize(
    ("marker", "body"),
    [(0xE0, b"JFIF\0\1"), (0xE1, b"Exif\0\0II*\0\x08\0\0\0\5\0\1"), (0xE2, b"ICC_PROFILE\0\1"), (0xE2, b"MPF\0II*\0"),
     (0xED, b"Photoshop 3.0\0008BIM\3\xed\5"), (0xFE, b"")],
)  # fmt: skip
def test_nor_one_that_turbojpeg_leaves_to_pillow(
    marker: int, body: bytes, recwarn: pytest.WarningsRecorder
) -> None:
    odd = zoo.by_name("jpeg-odd-subsampling").data
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
    decoded, bare = pixels.decode(odd[:2] + segment + odd[2:]), pixels.decode(odd)
    assert bare.status == pixels.OK and decoded.rgb is not None and np.array_equal(decoded.rgb, bare.rgb)
    assert not recwarn.list


def test_a_large_profile_is_used_and_one_without_end_is_not() -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", profile, 128)
    at = {bytes(profile[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, green = at[b"rXYZ"], at[b"gXYZ"]
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"  # so that its use can be seen
    profile += NOISE
    profile[:4] = struct.pack(">I", len(profile))
    used = pixels.decode(in_png((b"iCCP", b"k\0\0" + zlib.compress(bytes(profile)))))
    bare = pixels.decode(PNG).rgb
    assert used.status == pixels.OK and not np.array_equal(used.rgb, bare)
    bomb = pixels.decode(in_png((b"iCCP", b"k\0\0" + zlib.compress(bytes(_png.MAX_PROFILE + 1)))))
    assert bomb.status == pixels.OK_WARNINGS and "larger than" in (bomb.reason or "")
    assert np.array_equal(bomb.rgb, bare)


def test_a_webp_cut_behind_its_pixels_is_whole() -> None:
    decoded = pixels.decode(WEBP[:-1_000])
    assert (decoded.status, decoded.reason) == (pixels.OK_WARNINGS, "the file ends inside its XMP chunk")
    assert np.array_equal(decoded.rgb, pixels.decode(WEBP).rgb)
    assert pixels.probe(WEBP[:-1_000]).status == pixels.OK_WARNINGS


def test_texts_are_not_unpacked() -> None:
    """A zTXt of 256 MB in 256 KB of file: nobody asked for it."""
    packer = zlib.compressobj(9)
    bomb = b"".join([*(packer.compress(bytes(16 * MB)) for _ in range(16)), packer.flush()])
    assert pixels.decode(in_png((b"zTXt", b"k\0\0" + bomb))).status == pixels.OK
