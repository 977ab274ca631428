"""The picture of predicted aligned errors, decoded by a browser."""

from __future__ import annotations

import base64
import json
import struct
import zlib

import numpy as np
import pytest

from foldry.errors import InputError
from foldry.formats.pae_png import pae_png
from tests.browser import Page

PIXELS = """(async () => {
  const image = new Image();
  image.src = %s;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixel = (x, y) => [...context.getImageData(x, y, 1, 1).data];
  return [canvas.width, canvas.height, %s.map(([x, y]) => pixel(x, y))];
})()"""
DARK, MIDDLE, LIGHT = [0x00, 0x44, 0x1B, 255], [0x74, 0xC4, 0x76, 255], [0xF7, 0xFC, 0xF5, 255]


def decoded(data: bytes) -> np.ndarray:
    """The red, green and blue of all pixels, without a library for pictures."""
    chunks, at = {}, 8
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", data, at + 8 + size)[0] == zlib.crc32(kind + content)
        chunks[kind] = content
        at += size + 12
    width, height = struct.unpack_from(">II", chunks[b"IHDR"])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()
    palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(256, 3)
    return np.asarray(palette[rows[:, 1:]])


@pytest.mark.browser
def test_a_browser_shows_aligned_residues_as_rows() -> None:
    pae = np.array([[0.0, 16.0, 32.0], [0, 0, 0], [32, 0, 0]])
    source = "data:image/png;base64," + base64.b64encode(pae_png(pae, 32.0)).decode()
    places = [[0, 0], [256, 0], [512, 0], [0, 256], [0, 512], [512, 512]]
    with Page(800, 600) as page:
        width, height, pixels = page.evaluate(PIXELS % (json.dumps(source), places))
    assert (width, height) == (513, 513)
    assert pixels[:1] + pixels[2:] == [DARK, LIGHT, DARK, LIGHT, DARK]
    assert np.abs(np.subtract(pixels[1], MIDDLE)).max() <= 2


def test_errors_become_lighter_and_saturate() -> None:
    pae = np.tile(np.linspace(0, 40, 600), (600, 1))
    pixels = decoded(pae_png(pae, 30.0))
    brightness = pixels.sum(axis=2, dtype=int)
    assert pixels.shape == (600, 600, 3)
    assert (brightness == brightness[:1]).all()
    assert (np.diff(brightness[0]) >= 0).all()
    assert pixels[0, 0].tolist() == DARK[:3]
    assert (pixels[0, 451:] == LIGHT[:3]).all()
    assert len(np.unique(brightness[0])) > 200


@pytest.mark.parametrize(("size", "width"), [(1, 512), (300, 600), (512, 512), (3000, 2048)])
def test_size_in_pixels(size: int, width: int) -> None:
    pae = np.zeros((size, size), np.float32)
    pae[-1] = 30
    pixels = decoded(pae_png(pae, 30.0))
    assert pixels.shape == (width, width, 3)
    if size <= width:
        assert (pixels[-1] == LIGHT[:3]).all()


def test_the_same_errors_give_the_same_bytes() -> None:
    pae = np.random.default_rng(0).uniform(0, 31, (90, 90))
    assert pae_png(pae, 31.75) == pae_png(pae.copy(), 31.75)
    assert pae_png(pae, 31.75) != pae_png(pae.T, 31.75)


@pytest.mark.parametrize(
    "pae", [np.zeros((0, 0)), np.zeros((2, 3)), np.full((2, 2), np.nan), np.zeros(4)]
)
def test_what_is_no_matrix_is_refused(pae: np.ndarray) -> None:
    with pytest.raises((InputError, TypeError), match=r"not a matrix|type"):
        pae_png(pae, 31.75)
