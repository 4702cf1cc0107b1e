"""Deliberately damaged and unusual files, made on the spot: what a crawl of the web really holds."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 640  # pixels, of the long side of the pictures that are then damaged
ORIENTATION = 0x0112  # the EXIF tag; 6 means "turn by 90 degrees clockwise to view"


def write(out: Path, pictures: list[Image.Image]) -> list[str]:
    """Write the files to OUT, each with a caption sidecar, made of `pictures` in turn (RGB, at least one).
    Returns their names."""
    out.mkdir(parents=True)
    bases = [_scaled(picture) for picture in pictures]
    made: list[str] = []

    def put(name: str, data: bytes, what: str) -> None:
        path = out / name
        path.with_suffix(".txt").write_text(f"A test picture: {what}.", encoding="utf-8")
        path.write_bytes(data)
        made.append(name)

    def base() -> Image.Image:
        return bases[len(made) % len(bases)]

    jpeg = _encoded(base(), "JPEG")
    put("truncated.jpg", jpeg[: len(jpeg) * 3 // 10], "the first 30% of a JPEG file")
    png = _encoded(base(), "PNG")
    put("cut-off.png", png[: len(png) // 2], "the first half of a PNG file")
    put("empty.jpg", b"", "a file of zero bytes")
    page = b"<!doctype html><html><head><title>404 Not Found</title></head><body>Not Found</body></html>\n"
    put("page.jpg", page, "an HTML error page with the name of a JPEG file")
    put("really-a-png.jpg", _encoded(base(), "PNG"), "a PNG file with the name of a JPEG file")
    put("bomb.png", _bomb(60_000), "a PNG file that claims 60000 x 60000 pixels")
    put("cmyk.jpg", _encoded(base().convert("CMYK"), "JPEG"), "a JPEG file in CMYK")
    put("sixteen-bit.png", _encoded(_ramp(), "PNG"), "a grey ramp in a PNG file of 16 bits a sample")
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    put(
        "exif-rotated.jpg",
        _encoded(base(), "JPEG", exif=turned),
        "a JPEG file that is stored lying on its side",
    )
    frames = [base().rotate(angle) for angle in (0, 120, 240)]
    animation = _encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=200)
    put("animated.gif", animation, "a GIF animation of three frames")
    palette = base().quantize(64)
    put(
        "palette-transparent.png",
        _encoded(palette, "PNG", transparency=0),
        "a palette PNG with a transparent colour",
    )
    put(
        "corrupt-exif.jpg",
        _encoded(base(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xee" * 40),
        "a JPEG file with broken EXIF data",
    )
    zeroed = bytearray(_encoded(base(), "JPEG"))
    middle = len(zeroed) // 2
    zeroed[middle : middle + 64] = bytes(64)
    put("zeroed-middle.jpg", bytes(zeroed), "a JPEG file with 64 zero bytes in its middle")
    put(
        "name with spaces, ünïcode & 漢字.jpg",
        _encoded(base(), "JPEG"),
        "a sound JPEG file with an unusual name",
    )
    return made


def _scaled(picture: Image.Image) -> Image.Image:
    scale = SIDE / max(picture.size)
    return picture.convert("RGB").resize(
        (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    )


def _encoded(picture: Image.Image, form: str, **options: Any) -> bytes:
    data = io.BytesIO()
    picture.save(data, form, **options)
    return data.getvalue()


def _ramp() -> Image.Image:
    return Image.fromarray(np.tile(np.linspace(0, 65535, SIDE).astype(np.uint16), (SIDE * 3 // 4, 1)))


def _bomb(side: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
