"""Bytes to pixels: every animal of the zoo gets the right verdict, and the pixels are the right ones."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile, ImageOps

from catalog import pixels
from catalog.pixels import _png
from tests.fakes import zoo

ANIMALS = [pytest.param(animal, id=animal.name) for animal in zoo.animals()]


@pytest.mark.parametrize("animal", ANIMALS)
def test_every_animal_gets_its_verdict(animal: zoo.Animal) -> None:
    decoded = pixels.decode(animal.data)
    assert decoded.status in animal.statuses
    assert (decoded.format, decoded.width, decoded.height) == (animal.format, animal.width, animal.height)
    assert decoded.frames == animal.frames
    if decoded.status in (pixels.OK, pixels.OK_WARNINGS):
        assert decoded.rgb is not None and decoded.ok
        assert decoded.rgb.dtype == np.uint8
        assert decoded.rgb.shape == (animal.height, animal.width, 3)
        assert decoded.alpha == animal.alpha
    else:
        assert decoded.status in pixels.FAILURES
        assert decoded.rgb is None and not decoded.ok
    assert (decoded.reason is None) == (decoded.status == pixels.OK)


@pytest.mark.parametrize("animal", ANIMALS)
def test_header_agrees_with_pixels(animal: zoo.Animal) -> None:
    header = pixels.probe(animal.data)
    decoded = pixels.decode(animal.data)
    assert (header.format, header.width, header.height) == (decoded.format, decoded.width, decoded.height)
    if header.status != pixels.OK:
        assert (header.status, header.reason) == (decoded.status, decoded.reason)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF"])
def test_orientation_is_pillows(fmt: str, orientation: int) -> None:
    options = {"exif": zoo.exif(orientation)} if fmt != "TIFF" else {"tiffinfo": {274: orientation}}
    data = zoo.encode(zoo.picture(), fmt, **options)
    image = Image.open(io.BytesIO(data))
    image.load()
    expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    decoded = pixels.decode(data)
    assert decoded.rgb is not None
    assert np.abs(decoded.rgb.astype(int) - expected).max() <= 3
    assert (decoded.width, decoded.height) == (expected.shape[1], expected.shape[0])


def test_scaled_decode_keeps_orientation_and_short_side() -> None:
    data = zoo.encode(zoo.picture(640, 400), "JPEG", exif=zoo.exif(6))
    decoded = pixels.decode(data, side=100)
    assert (decoded.width, decoded.height) == (400, 640)
    assert decoded.rgb is not None and decoded.rgb.shape == (160, 100, 3)


@pytest.mark.parametrize(
    ("side", "shape"), [((200, 320), (320, 200)), ((201, 320), (640, 400)), ((50, 40), (80, 50))]
)
def test_scaled_decode_leaves_a_width_and_a_height(side: tuple[int, int], shape: tuple[int, int]) -> None:
    decoded = pixels.decode(zoo.encode(zoo.picture(640, 400), "JPEG", exif=zoo.exif(6)), side=side)
    assert decoded.rgb is not None and decoded.rgb.shape[:2] == shape


def test_scaled_decode_of_what_turbojpeg_refuses() -> None:
    decoded = pixels.decode(zoo.by_name("jpeg-odd-subsampling").data, side=16)
    assert decoded.status == pixels.OK
    assert decoded.rgb is not None and decoded.rgb.shape == (16, 24, 3)


@settings(max_examples=40, deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300), side=st.integers(1, 320))
def test_side_is_never_undershot_nor_enlarged(width: int, height: int, side: int) -> None:
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(zoo.picture(300, 300)[:height, :width]))
    decoded = pixels.decode(data, side=side)
    assert decoded.rgb is not None
    rows, columns = decoded.rgb.shape[:2]
    assert min(rows, columns) >= min(side, width, height)
    assert rows <= height and columns <= width
    assert (
        min(rows, columns) < 2 * max(side, 1) + 2 or min(width, height) // 8 >= side
    )  # as small as scales allow


def test_16_bit_ramp_is_scaled_not_saturated() -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.rint(ramp.astype(np.float64) * 255 / 65535).astype(np.uint8)
    grey = pixels.decode(zoo.png_16(ramp[:, :, None])).rgb
    assert grey is not None
    assert np.array_equal(grey, np.dstack([expected] * 3))
    rgb = pixels.decode(zoo.png_16(np.dstack([ramp, ramp.T, ramp[::-1]]))).rgb
    assert rgb is not None
    assert np.array_equal(rgb, np.dstack([expected, expected.T, expected[::-1]]))
    damaged = pixels.decode(zoo.by_name("png-16-bad-checksum").data).rgb
    whole = pixels.decode(zoo.by_name("png-16-grey").data).rgb
    assert damaged is not None and whole is not None and np.array_equal(damaged, whole)
    tiff = pixels.decode(zoo.encode(Image.fromarray(ramp), "TIFF")).rgb
    assert tiff is not None and np.array_equal(tiff[..., 0], expected)


@pytest.mark.parametrize(
    "name", ["png-rgba", "png-16-rgba", "png-grey-alpha", "png-palette-trns", "webp-rgba"]
)
def test_alpha_lies_over_the_chosen_background(name: str) -> None:
    animal = zoo.by_name(name)
    image = Image.open(io.BytesIO(animal.data))
    rgba = np.asarray(image.convert("RGBA")).astype(float)
    weight = rgba[..., 3:] / 255
    for background in ((255, 255, 255), (0, 0, 0), (10, 200, 90)):
        expected = rgba[..., :3] * weight + np.array(background) * (1 - weight)
        decoded = pixels.decode(animal.data, background=background)
        assert decoded.rgb is not None
        assert np.abs(decoded.rgb - expected).max() <= 1.5


def test_animation_gives_its_first_frame() -> None:
    first = zoo.picture()
    for fmt, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        data = zoo.encode(first, fmt, save_all=True, append_images=[Image.fromarray(255 - first)], **options)
        decoded = pixels.decode(data)
        assert decoded.frames == 2
        assert decoded.rgb is not None and np.array_equal(decoded.rgb, first)


def test_adobe_cmyk_is_not_inverted() -> None:
    rgb = np.zeros((32, 32, 3), np.uint8)
    rgb[:] = (250, 20, 10)
    data = zoo.encode(Image.fromarray(rgb).convert("CMYK"), "JPEG", quality=95)
    decoded = pixels.decode(data, side=8)
    assert decoded.rgb is not None
    assert np.abs(decoded.rgb.astype(int) - rgb[0, 0]).max() <= 4


def _swapped_profile() -> bytes:
    """An sRGB profile whose red and green primaries have changed places: easy to see whether it was used."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", profile, 128)
    at = {bytes(profile[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, green = at[b"rXYZ"], at[b"gXYZ"]
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_an_embedded_profile_is_applied(fmt: str) -> None:
    rgb = np.zeros((32, 32, 3), np.uint8)
    rgb[:] = (220, 40, 60)
    options = (
        {"quality": 95, "subsampling": 0} if fmt == "JPEG" else {"lossless": True} if fmt == "WEBP" else {}
    )
    decoded = pixels.decode(zoo.encode(rgb, fmt, icc_profile=_swapped_profile(), **options))
    assert decoded.status == pixels.OK
    assert decoded.rgb is not None
    assert np.abs(decoded.rgb[16, 16].astype(int) - (40, 220, 60)).max() <= 6


def test_srgb_profile_changes_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = pixels.decode(zoo.encode(zoo.picture(), "PNG")).rgb
    tagged = pixels.decode(zoo.encode(zoo.picture(), "PNG", icc_profile=srgb)).rgb
    assert plain is not None and tagged is not None and np.array_equal(plain, tagged)


def test_damage_that_the_strict_decoder_sees_is_never_plainly_ok() -> None:
    plain = zoo.encode(zoo.picture(256, 192), "JPEG", quality=90)
    start = plain.index(b"\xff\xda") + 20
    noticed = 0
    for at in range(start, len(plain) - 100, (len(plain) - start) // 40):
        data = plain[:at] + bytes(64) + plain[at + 64 :]
        try:
            simplejpeg.decode_jpeg(data, strict=True)
        except ValueError:
            noticed += 1
            assert pixels.decode(data).status in (pixels.OK_WARNINGS, pixels.CORRUPT)
    assert noticed > 5


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_damage_raises(data: st.DataObject) -> None:
    animal = data.draw(st.sampled_from([a for a in zoo.animals() if len(a.data) > 20]))
    changed = bytearray(animal.data)
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    changed = changed[: data.draw(st.integers(1, len(changed)))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header, decoded = pixels.probe(bytes(changed)), pixels.decode(bytes(changed), side=32)
    assert (header.width, header.height, header.format) == (decoded.width, decoded.height, decoded.format)
    if decoded.rgb is not None:
        assert decoded.rgb.dtype == np.uint8 and decoded.rgb.ndim == 3


@settings(max_examples=30, deadline=None)
@given(
    share=st.floats(0.02, 0.98),
    name=st.sampled_from(["jpeg", "jpeg-progressive", "png", "webp", "gif", "bmp", "avif"]),
)
def test_a_cut_file_is_truncated(share: float, name: str) -> None:
    assert pixels.decode(zoo.cut(zoo.by_name(name).data, share)).status == pixels.TRUNCATED


def test_the_hosts_pillow_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setattr(pixels, "MAX_PIXELS", 96 * 64 - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("jpeg", "png", "gif", "webp"):
            header = pixels.probe(zoo.by_name(name).data)
            assert (header.status, header.width, header.height) == (pixels.TOO_LARGE, 96, 64)
    assert Image.MAX_IMAGE_PIXELS == 100
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_malformed_exif_never_raises() -> None:
    from catalog.pixels._exif import orientation

    rng = np.random.default_rng(1)
    good = zoo.exif(6)
    assert orientation(good) == 6 and orientation(good[6:]) == 6
    for length in range(len(good)):
        assert orientation(good[:length]) in (1, 6)
    for _ in range(300):
        assert 1 <= orientation(b"Exif\0\0" + rng.choice([b"II*\0", b"MM\0*"]) + rng.bytes(30)) <= 8


def _made(
    width: int,
    colour: int,
    rows: bytes,
    *before: tuple[bytes, bytes],
    after: tuple[bytes, bytes] | None = None,
):
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height = len(rows) // (1 + width * (3 if colour == 2 else 1))
    packed = zlib.compress(rows)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)), *before]
    chunks += [(b"IDAT", packed[:100]), (b"IDAT", packed[100:]), *([after] if after else []), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def _profile() -> bytes:
    return b"x\0\0" + zlib.compress(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


_TURNED = (b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0")


@pytest.mark.parametrize("colour", [0, 2])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), None), (((b"gAMA", struct.pack(">I", 100_000)),), None), (((b"iCCP", _profile()),), None),
        (((b"iCCP", b"x\0\0" + zlib.compress(b"no profile")),), None), ((_TURNED,), None), ((), _TURNED),
        (((b"tRNS", b"\0\1\0\2\0\3"),), None), (((b"sBIT", b"\5\5\5"),), None), (((b"tEXt", b"a\0b"),), None),
    ],
)  # fmt: skip
def test_libpng_gives_what_pillow_gives(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
    colour: int,
    before: tuple,
    after: tuple | None,
) -> None:
    rng, width, channels = np.random.default_rng(0), 33, 3 if colour == 2 else 1
    before = tuple((k, b[:2] if k == b"tRNS" and colour == 0 else b[:1] if k == b"sBIT" and colour == 0 else b)
                   for k, b in before)  # fmt: skip
    rows = b"".join(bytes([y % 5]) + rng.bytes(width * channels) for y in range(21))
    data = _made(width, colour, rows, *before, after=after)
    fast = pixels.decode(data)
    monkeypatch.setattr(_png, "plain", lambda data, header: None)
    slow = pixels.decode(data)
    assert fast.ok and (fast.rgb == slow.rgb).all()
    assert (fast.status, fast.reason, fast.alpha) == (slow.status, slow.reason, slow.alpha)
    assert capfd.readouterr().err == "", "libpng speaks to the terminal"


def test_a_damaged_png_is_left_to_pillow() -> None:
    rows = b"".join(b"\0" + np.random.default_rng(y).bytes(99) for y in range(21))
    whole = _made(33, 2, rows)
    assert _plainly(whole) is not None
    for data in (
        whole[:-12],
        whole[:-20] + b"\7\7\7\7" + whole[-16:],
        _made(33, 2, rows[:-50] + b"\x09" * 50)[:-40],
    ):
        assert _plainly(data) is None and pixels.decode(data).status != pixels.OK
    hidden = whole[:8] + whole[33:41] + whole[8:]  # IHDR is not the first chunk
    assert pixels.probe(hidden).status == pixels.CORRUPT
    huge = _made(33, 2, rows, (b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)))
    assert not pixels.decode(huge).ok


def _plainly(data: bytes) -> np.ndarray | None:
    return _png.plain(data, _png.read_header(data))
