"""Predicted aligned errors as a picture in the greens of AlphaFold DB."""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np
from jaxtyping import Float, UInt8

from foldry.errors import InputError

_GREENS: Final = "00441b 006d2c 238b45 41ab5d 74c476 a1d99b c7e9c0 e5f5e0 f7fcf5"
"""ColorBrewer's sequential scheme, from the smallest to the largest error."""
_SMALLEST, _LARGEST = 512, 2048
"""Sizes in pixels below which residues are repeated, and above which they are left out."""
_LEVEL: Final = 6


def pae_png(pae: Float[np.ndarray, "N N"], max_pae: float) -> bytes:
    """Return the PNG picture of predicted aligned errors, dark where they are small.

    Columns are scored residues from left to right, rows are aligned residues from top to bottom.
    There are no axes, so that a page can place the picture over its own.

    Args:
        pae: Row i is aligned on residue i, Å.
        max_pae: The error of the lightest colour, Å.

    Raises:
        InputError: The matrix is not square or has no rows, or a number is not finite.

    Example:
        >>> pae_png(np.zeros((2, 2)), 31.75)[:8]
        b'\\x89PNG\\r\\n\\x1a\\n'
    """
    size = len(pae)
    if pae.shape != (size, size) or not size or not np.isfinite(pae).all() or not max_pae > 0:
        raise InputError("The predicted aligned errors are not a matrix", "check the prediction")
    if size < _SMALLEST:
        places = np.repeat(np.arange(size), -(-_SMALLEST // size))
    else:
        width = min(size, _LARGEST)
        places = np.arange(width) * size // width
    shown = pae[places][:, places] * (255 / max_pae)
    return _png(np.clip(np.rint(shown), 0, 255).astype(np.uint8), _palette())


def _palette() -> UInt8[np.ndarray, "256 3"]:
    """Return the colours of the scheme and those between them."""
    colours = np.array([list(bytes.fromhex(each)) for each in _GREENS.split()], np.float64)
    places = np.linspace(0, len(colours) - 1, 256)
    mixed = [np.interp(places, np.arange(len(colours)), channel) for channel in colours.T]
    return np.asarray(np.rint(np.stack(mixed, axis=1)), np.uint8)


def _png(pixels: UInt8[np.ndarray, "H W"], palette: UInt8[np.ndarray, "256 3"]) -> bytes:
    """Return a PNG file (ISO/IEC 15948) with a palette."""
    height, width = pixels.shape
    # Eight bits per pixel, palette; the first byte of each row names its filter: none.
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    rows = np.insert(pixels, 0, 0, axis=1).tobytes()
    chunks = {
        b"IHDR": header,
        b"PLTE": palette.tobytes(),
        b"IDAT": zlib.compress(rows, _LEVEL),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks.items())


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
