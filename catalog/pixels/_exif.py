"""EXIF orientation, the one EXIF field that changes pixels. Malformed blocks count as upright."""

from __future__ import annotations

import struct

import cv2
import numpy as np

_ORIENTATION_TAG = 0x0112
_SHORT, _LONG = 3, 4


def orientation(exif: bytes | None) -> int:
    """The orientation 1..8 in an EXIF block, with or without its `Exif` prefix; 1 if absent or broken."""
    if not exif:
        return 1
    tiff = exif[6:] if exif.startswith(b"Exif\0") else exif
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 10:
        return 1
    (ifd,) = struct.unpack_from(order + "I", tiff, 4)
    if ifd + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(order + "H", tiff, ifd)
    last = min(count, (len(tiff) - ifd - 2) // 12)
    for entry in range(last):
        at = ifd + 2 + 12 * entry
        tag, kind = struct.unpack_from(order + "HH", tiff, at)
        if tag == _ORIENTATION_TAG and kind in (_SHORT, _LONG):
            (value,) = struct.unpack_from(order + ("H" if kind == _SHORT else "I"), tiff, at + 8)
            return value if 1 <= value <= 8 else 1
    return 1


def swaps_sides(value: int) -> bool:
    """Whether this orientation exchanges width and height."""
    return value >= 5


def upright(rgb: np.ndarray, value: int) -> np.ndarray:
    """The pixels [H, W, 3] as they are to be seen, given the stored orientation 1..8."""
    if value == 2:
        return cv2.flip(rgb, 1)
    if value == 3:
        return cv2.rotate(rgb, cv2.ROTATE_180)
    if value == 4:
        return cv2.flip(rgb, 0)
    if value == 5:
        return cv2.transpose(rgb)
    if value == 6:
        return cv2.rotate(rgb, cv2.ROTATE_90_CLOCKWISE)
    if value == 7:
        return cv2.rotate(cv2.transpose(rgb), cv2.ROTATE_180)
    if value == 8:
        return cv2.rotate(rgb, cv2.ROTATE_90_COUNTERCLOCKWISE)
    return rgb
