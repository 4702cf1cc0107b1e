"""A zoo of odd and damaged images, made in memory, each with the verdict a careful reader must reach."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from PIL import Image, ImageCms

WIDTH, HEIGHT = 96, 64  # before orientation


@dataclass(frozen=True)
class Animal:
    """One file. `statuses` are the verdicts `decode` may reach; sizes are oriented, None where unknowable."""

    name: str
    data: bytes
    format: str | None
    width: int | None = WIDTH
    height: int | None = HEIGHT
    statuses: tuple[str, ...] = ("ok",)
    frames: int | None = 1
    alpha: bool = False


def picture(width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> np.ndarray:
    """A photo-like picture uint8 [height, width, 3]: smooth colours, edges, a little grain."""
    rng = np.random.default_rng(seed)
    rgb = cv2.resize(
        rng.integers(0, 256, (5, 6, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC
    )
    cv2.circle(rgb, (width // 3, height // 2), height // 4, (230, 40, 30), -1)
    cv2.rectangle(rgb, (width // 2, height // 5), (width * 9 // 10, height // 2), (20, 60, 200), -1)
    grain = rng.normal(0, 4, rgb.shape)
    return np.clip(rgb + grain, 0, 255).astype(np.uint8)


def encode(image: Image.Image | np.ndarray, fmt: str, **options: object) -> bytes:
    """The image as a file of Pillow's format `fmt`."""
    out = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(out, fmt, **options)
    return out.getvalue()


def exif(orientation: int) -> bytes:
    """An EXIF block holding nothing but an orientation (any 16-bit value)."""
    return (
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01"
        + struct.pack(">HH", orientation, 0)
        + bytes(4)
    )


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_16(samples: np.ndarray, extra: bytes = b"") -> bytes:
    """A 16-bit PNG of uint16 [H, W, C] (grey, grey + alpha, RGB, RGBA); `extra` chunks come before IDAT."""
    height, width, channels = samples.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + extra
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


def huge_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims width x height pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(99))) + png_chunk(b"IEND", b"")
    )


def zeroed(data: bytes, share: float = 0.5, count: int = 64) -> bytes:
    """`data` with `count` bytes at `share` of its length set to zero."""
    at = int(len(data) * share)
    return data[:at] + bytes(count) + data[at + count :]


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def _bad_idat(png: bytes) -> bytes:
    """The PNG with the checksum of its last IDAT chunk inverted; the data are whole."""
    end = len(png) - 12
    return png[: end - 4] + bytes(byte ^ 255 for byte in png[end - 4 : end]) + png[end:]


def _jpegs(rgb: np.ndarray) -> list[Animal]:
    plain = encode(rgb, "JPEG", quality=90)
    progressive = encode(rgb, "JPEG", quality=90, progressive=True)
    damaged = ("ok-warnings", "corrupt", "ok")  # zeros may decode as valid, if wrong, codes
    frame = plain.index(b"\xff\xc0")
    huge = plain[: frame + 5] + struct.pack(">HH", 60000, 50000) + plain[frame + 9 :]
    odd = bytearray(encode(rgb, "JPEG", subsampling=0))
    odd[odd.index(b"\xff\xc0") + 11] = (
        0x31  # luma three times as wide as chroma: valid, and few decoders take it
    )
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    animals = [
        Animal("jpeg", plain, "jpeg"),
        Animal("jpeg-progressive", progressive, "jpeg"),
        Animal("jpeg-odd-subsampling", bytes(odd), "jpeg"),
        Animal(
            "jpeg-12-bit",
            plain[: frame + 4] + b"\x0c" + plain[frame + 5 :],
            "jpeg",
            statuses=("unsupported",),
        ),
        Animal("jpeg-444", encode(rgb, "JPEG", subsampling=0), "jpeg"),
        Animal("jpeg-grey", encode(Image.fromarray(rgb).convert("L"), "JPEG"), "jpeg"),
        Animal("jpeg-cmyk", encode(Image.fromarray(rgb).convert("CMYK"), "JPEG", quality=95), "jpeg"),
        Animal("jpeg-srgb-profile", encode(rgb, "JPEG", icc_profile=srgb), "jpeg"),
        Animal(
            "jpeg-bad-profile",
            encode(rgb, "JPEG", icc_profile=b"not a profile" * 20),
            "jpeg",
            statuses=("ok-warnings",),
        ),
        Animal(
            "jpeg-grey-rgb-profile",
            encode(Image.fromarray(rgb).convert("L"), "JPEG", icc_profile=srgb),
            "jpeg",
        ),
        Animal("jpeg-bad-exif", encode(rgb, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"), "jpeg"),
        Animal("jpeg-exif-99", encode(rgb, "JPEG", exif=exif(99)), "jpeg"),
        Animal("jpeg-garbage-after-end", plain + b"garbage" * 40, "jpeg"),
        Animal("jpeg-no-end-marker", plain[:-2], "jpeg", statuses=("ok-warnings",)),
        Animal("jpeg-cut-30", cut(plain, 0.3), "jpeg", statuses=("truncated",)),
        Animal("jpeg-cut-90", cut(plain, 0.9), "jpeg", statuses=("truncated",)),
        Animal("jpeg-progressive-cut-90", cut(progressive, 0.9), "jpeg", statuses=("truncated",)),
        Animal("jpeg-cut-then-end-marker", cut(plain, 0.7) + b"\xff\xd9", "jpeg", statuses=("corrupt",)),
        Animal("jpeg-header-only", plain[:100], "jpeg", None, None, ("truncated",), None),
        Animal("jpeg-zeroed", zeroed(plain, 0.8), "jpeg", statuses=damaged),
        Animal("jpeg-progressive-zeroed", zeroed(progressive, 0.8), "jpeg", statuses=damaged),
        Animal(
            "jpeg-stray-bytes", plain[:-2] + b"\x12\x34" * 20 + plain[-2:], "jpeg", statuses=("ok-warnings",)
        ),
        Animal("jpeg-bomb", huge, "jpeg", 50000, 60000, ("too-large",)),
    ]
    for value in range(1, 9):
        size = (HEIGHT, WIDTH) if value >= 5 else (WIDTH, HEIGHT)
        animals.append(Animal(f"jpeg-exif-{value}", encode(rgb, "JPEG", exif=exif(value)), "jpeg", *size))
    return animals


def _pngs(rgb: np.ndarray) -> list[Animal]:
    image = Image.fromarray(rgb)
    plain = encode(rgb, "PNG")
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1)))
    rgba, la = image.copy(), image.convert("L")
    rgba.putalpha(alpha)
    la.putalpha(alpha)
    opaque = image.copy()
    opaque.putalpha(255)
    ramp = np.linspace(0, 65535, WIDTH * HEIGHT).astype(np.uint16).reshape(HEIGHT, WIDTH)
    ancillary = plain.index(b"IDAT") - 4
    in_data = len(plain) // 2
    flipped = plain[:in_data] + bytes([plain[in_data] ^ 1]) + plain[in_data + 1 :]
    apng = encode(rgb, "PNG", save_all=True, append_images=[Image.fromarray(255 - rgb)], duration=50)
    return [
        Animal("png", plain, "png"),
        Animal("png-1bit", encode(image.convert("1"), "PNG"), "png"),
        Animal("png-palette", encode(image.quantize(16), "PNG"), "png"),
        Animal("png-palette-trns", encode(image.quantize(16), "PNG", transparency=3), "png", alpha=True),
        Animal(
            "png-rgb-trns", encode(rgb, "PNG", transparency=tuple(map(int, rgb[5, 5]))), "png", alpha=True
        ),
        Animal("png-grey", encode(image.convert("L"), "PNG"), "png"),
        Animal("png-grey-alpha", encode(la, "PNG"), "png", alpha=True),
        Animal("png-rgba", encode(rgba, "PNG"), "png", alpha=True),
        Animal("png-rgba-opaque", encode(opaque, "PNG"), "png"),
        Animal("png-exif-6", encode(rgb, "PNG", exif=exif(6)), "png", HEIGHT, WIDTH),
        Animal("png-16-grey", png_16(ramp[:, :, None]), "png"),
        Animal(
            "png-16-grey-trns",
            png_16(ramp[:, :, None], png_chunk(b"tRNS", struct.pack(">H", ramp[0, 9]))),
            "png",
            alpha=True,
        ),
        Animal("png-16-grey-alpha", png_16(np.dstack([ramp, ramp])), "png", alpha=True),
        Animal("png-16-rgb", png_16(rgb.astype(np.uint16) * 257), "png"),
        Animal("png-16-rgba", png_16(np.dstack([rgb.astype(np.uint16) * 257, ramp])), "png", alpha=True),
        Animal("png-16-bad-checksum", _bad_idat(png_16(ramp[:, :, None])), "png", statuses=("ok-warnings",)),
        Animal("png-animated", apng, "png", frames=2),
        Animal("png-cut-60", cut(plain, 0.6), "png", statuses=("truncated",)),
        Animal("png-no-end", plain[:-12], "png", statuses=("ok-warnings",)),
        Animal("png-bad-idat-checksum", _bad_idat(plain), "png", statuses=("ok-warnings",)),
        Animal("png-zeroed", zeroed(plain), "png", statuses=("corrupt", "ok-warnings")),
        Animal("png-flipped-bit", flipped, "png", statuses=("corrupt", "ok-warnings")),
        Animal(
            "png-bad-checksum",
            plain[: ancillary - 2] + b"xx" + plain[ancillary:],
            "png",
            None,
            None,
            ("corrupt",),
            None,
        ),
        Animal("png-bomb", huge_png(50000, 40000), "png", 50000, 40000, ("too-large",)),
    ]


def _others(rgb: np.ndarray) -> list[Animal]:
    image = Image.fromarray(rgb)
    rgba = image.copy()
    rgba.putalpha(Image.fromarray(np.tile(np.arange(HEIGHT, dtype=np.uint8)[:, None] * 4, (1, WIDTH))))
    inverse = Image.fromarray(255 - rgb)
    webp, gif, avif = encode(rgb, "WEBP"), encode(image.quantize(32), "GIF"), encode(rgb, "AVIF")
    vp8x = bytearray(encode(rgba, "WEBP"))
    vp8x[24:30] = (16000).to_bytes(3, "little") + (16000).to_bytes(3, "little")
    return [
        Animal("webp", webp, "webp"),
        Animal("webp-lossless", encode(rgb, "WEBP", lossless=True), "webp"),
        Animal("webp-rgba", encode(rgba, "WEBP"), "webp", alpha=True),
        Animal("webp-exif-8", encode(rgb, "WEBP", exif=exif(8)), "webp", HEIGHT, WIDTH),
        Animal(
            "webp-animated",
            encode(rgb, "WEBP", save_all=True, append_images=[inverse, image]),
            "webp",
            frames=3,
        ),
        Animal("webp-cut-50", cut(webp, 0.5), "webp", statuses=("truncated",)),
        Animal("webp-bomb", bytes(vp8x), "webp", 16001, 16001, ("too-large",)),
        Animal("gif", gif, "gif"),
        Animal("gif-animated", encode(image, "GIF", save_all=True, append_images=[inverse]), "gif", frames=2),
        Animal("gif-transparent", encode(image.quantize(32), "GIF", transparency=0), "gif", alpha=True),
        Animal("gif-cut-50", cut(gif, 0.5), "gif", statuses=("truncated",)),
        Animal("avif", avif, "avif"),
        Animal("avif-exif-6", encode(rgb, "AVIF", exif=exif(6)), "avif", HEIGHT, WIDTH),
        Animal("avif-cut-50", cut(avif, 0.5), "avif", None, None, ("truncated",), None),
        Animal("bmp", encode(rgb, "BMP"), "bmp"),
        Animal("bmp-cut-50", cut(encode(rgb, "BMP"), 0.5), "bmp", statuses=("truncated",)),
        Animal("tiff", encode(rgb, "TIFF"), "tiff"),
        Animal("tiff-lzw-cmyk", encode(image.convert("CMYK"), "TIFF", compression="tiff_lzw"), "tiff"),
        Animal(
            "tiff-float",
            encode(Image.fromarray(rgb[..., 0].astype(np.float32) / 255), "TIFF"),
            "tiff",
            statuses=("ok-warnings",),
        ),
        Animal("tiff-lab", encode(image.convert("RGB").convert("LAB"), "TIFF"), "tiff"),
        Animal("tiff-pages", encode(rgb, "TIFF", save_all=True, append_images=[inverse]), "tiff", frames=2),
        Animal("ppm", encode(rgb, "PPM"), "ppm"),
        Animal("jp2", encode(rgb, "JPEG2000"), "jp2"),
    ]


def _strangers() -> list[Animal]:
    def stranger(name: str, data: bytes, status: str) -> Animal:
        return Animal(name, data, None, None, None, (status,), None)

    return [
        stranger("empty", b"", "truncated"),
        stranger("one-byte", b"\xff", "truncated"),
        stranger("text", b"This is not an image, whatever the name says.", "unsupported"),
        stranger("html", b"<!DOCTYPE html><html><body>404 not found</body></html>", "unsupported"),
        stranger("svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported"),
        stranger("pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "unsupported"),
        stranger("heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), "unsupported"),
        stranger("zeros", bytes(500), "unsupported"),
    ]


@cache
def animals() -> tuple[Animal, ...]:
    """The whole zoo; built once per process."""
    rgb = picture()
    return (*_jpegs(rgb), *_pngs(rgb), *_others(rgb), *_strangers())


def by_name(name: str) -> Animal:
    return next(animal for animal in animals() if animal.name == name)
