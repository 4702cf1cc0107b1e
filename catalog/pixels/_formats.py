"""Which format the bytes are, and their header, without decoding a pixel."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from catalog.pixels import _exif, _jpeg, _png, _webp
from catalog.pixels._types import CORRUPT, TOO_LARGE, TRUNCATED, UNSUPPORTED, Damaged

# The readers are called by class, not through Image.open: its bomb check would warn or raise by a global that
# belongs to the host application, and its list includes readers that start other programs (EPS).
_READERS: dict[str, type[ImageFile]] = {
    "png": PngImageFile,
    "webp": WebPImageFile,
    "gif": GifImageFile,
    "avif": AvifImageFile,
    "bmp": BmpImageFile,
    "tiff": TiffImageFile,
    "jp2": Jpeg2KImageFile,
    "ppm": PpmImageFile,
}
PILLOWS = frozenset(_READERS) - {"png", "webp"}  # whose headers it reads, too
_SIGNATURES = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
    (b"BM", "bmp"),
)
_NOT_READ = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"8BPS", "a Photoshop document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\0\0\x01\0", "an icon file"),
)


@dataclass(slots=True)
class PillowHeader:
    """The size as stored, before EXIF orientation, and the open image of a format that Pillow reads."""

    width: int
    height: int
    frames: int
    orientation: int
    image: ImageFile
    complaint: None = None


Opened = _jpeg.JpegHeader | _png.PngHeader | _webp.WebpHeader | PillowHeader


def sniff(data: bytes) -> str:
    """The format's name by its signature. Raises Damaged (unsupported, truncated) for anything else."""
    head = bytes(data[:64])
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        brands = head[8:]
        if any(brand in brands for brand in (b"avif", b"avis")):
            return "avif"
        raise Damaged(UNSUPPORTED, f"a media file of brand {head[8:12].decode('ascii', 'replace').strip()}")
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "ppm"
    if len(head) < 12:
        raise Damaged(TRUNCATED, f"only {len(head)} bytes")
    for signature, what in _NOT_READ:
        if head.startswith(signature):
            raise Damaged(UNSUPPORTED, what)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml")):
        raise Damaged(UNSUPPORTED, "an SVG or other XML document")
    if text.startswith((b"<!doctype", b"<html")):
        raise Damaged(UNSUPPORTED, "an HTML page")
    raise Damaged(UNSUPPORTED, f"not a known image format (starts with {head[:8].hex(' ')})")


def verdict(error: Exception, data: bytes, fmt: str) -> Damaged:
    """The exception of a Pillow reader as a status and a reason."""
    if isinstance(error, Damaged):
        return error
    reason = " ".join(str(error).split()) or type(error).__name__
    lowered = reason.lower()
    if isinstance(error, Image.DecompressionBombError | MemoryError):
        return Damaged(TOO_LARGE, reason)
    if _is_cut(data, fmt) or any(word in lowered for word in ("truncat", "end of file", "unexpected end")):
        return Damaged(TRUNCATED, reason)
    if isinstance(error, NotImplementedError) or any(
        word in lowered for word in ("unsupported", "not supported")
    ):
        return Damaged(UNSUPPORTED, reason)
    return Damaged(CORRUPT, reason)


def _is_cut(data: bytes, fmt: str) -> bool:
    """Whether the container itself says that more bytes should follow."""
    if fmt == "png":
        return _png.complaint(data, checksums=False) is not None
    if fmt == "webp":
        return len(data) < 12 or struct.unpack_from("<I", data, 4)[0] + 8 > len(data)
    if fmt == "gif":
        return b"\x3b" not in data[-64:]
    if fmt == "avif":
        at, boxes = 0, set()
        while at + 8 <= len(data):
            size, kind = struct.unpack_from(">I4s", data, at)
            if size < 8:  # to the end of the file, or a 64-bit size: no verdict
                return False
            boxes.add(kind)
            at += size
        return at != len(data) or not {b"meta", b"mdat"} <= boxes
    return False


def open_pillow(data: bytes, fmt: str) -> ImageFile:
    """The image behind Pillow's reader of `fmt`, header read. Raises whatever the reader raises."""
    return _READERS[fmt](io.BytesIO(data))


def read_header(data: bytes, fmt: str) -> Opened:
    """The header as stored, with all that reading it has opened. Raises whatever the reader raises."""
    if fmt not in PILLOWS:
        return {"jpeg": _jpeg, "png": _png, "webp": _webp}[fmt].read_header(data)
    image = open_pillow(data, fmt)
    try:
        frames = int(getattr(image, "n_frames", 1))
    except Exception:  # a later frame is damaged; the first, which is the one used, is judged when decoded
        frames = 1
    # Pillow turns TIFF upright itself
    orientation = 1 if fmt == "tiff" else _exif.orientation(image.info.get("exif"))
    return PillowHeader(image.width, image.height, frames, orientation, image)
