"""Hostile and damaged parameter files: one sentence each, nothing run, nothing unbounded."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foldry.errors import InputError
from foldry.weights import official
from foldry.weights.official import check_file
from foldry.weights.read import alike, load_weights
from tests.weights.archive import npz, parameters, small_models

__all__ = ["small_models"]
pytestmark = pytest.mark.usefixtures("small_models")
NAME = "alphafold/alphafold_iteration/distogram_head/half_logits//bias"


class Runs:
    """Code that an unsafe reader would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("ran").touch, ())


def zipped(member: bytes, name: str = NAME) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.npy", member)
    return buffer.getvalue()


def header(shape: tuple[int, ...], version: tuple[int, int] = (1, 0)) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    return b"\x93NUMPY" + bytes(version) + buffer.getvalue()[8:]


def with_pickle() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{NAME: np.array([Runs()], dtype=object)})
    return buffer.getvalue()


def damaged() -> bytes:
    content = bytearray(npz(parameters("model_3")))
    content[len(content) // 2] ^= 0xFF
    return bytes(content)


def encrypted() -> bytes:
    content = bytearray(zipped(header((1,)) + bytes(4)))
    central = content.index(b"PK\x01\x02")
    content[6] |= 1
    content[central + 8] |= 1
    return bytes(content)


FILES = {
    "pickle": with_pickle,
    "petabytes claimed": lambda: zipped(header((1 << 50,)) + bytes(8)),
    "more than there is": lambda: zipped(header((100,)) + bytes(8)),
    "a zip bomb": lambda: zipped(header((1 << 18,)) + bytes(1 << 20)),
    "unknown version": lambda: zipped(header((2,), version=(9, 9)) + bytes(8)),
    "no array": lambda: zipped(b"text"),
    "no zip": lambda: b"text",
    "empty": lambda: b"",
    "one array": lambda: header((2,)) + bytes(8),
    "damaged": damaged,
    "encrypted": encrypted,
    "member's name": lambda: zipped(b"text", "\x1b[2J\n\u202e" * 300),
    "endless header": lambda: zipped(header((1,) * 2000) + bytes(4)),
    "cut": lambda: npz(parameters("model_3"))[:-500],
    "name of bytes": lambda: b"PK\x03\x04" + struct.pack("<26s", b"\xff" * 26),
}


@pytest.mark.parametrize("case", FILES)
def test_a_hostile_file_gets_one_sentence(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(official, "MAX_BYTES", 1 << 19)
    path = tmp_path / "params_model_3.npz"
    path.write_bytes(FILES[case]())
    with pytest.raises(InputError, match="cannot be read as parameters") as caught:
        load_weights(path)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000
    assert not Path("ran").exists()


def test_a_file_larger_than_any_network_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(official, "MAX_BYTES", 1 << 19)
    path = tmp_path / "params_model_3.npz"
    path.write_bytes(zipped(header((1 << 18,)) + bytes(1 << 20)))
    for read in (load_weights, check_file):
        with pytest.raises(InputError, match="it holds more than"):
            read(path)


def test_names_and_types_of_arrays_are_quoted(tmp_path: Path) -> None:
    path = tmp_path / "params_model_3.npz"
    odd = np.dtype([("\x1b" * 500, "f4")])
    np.savez(path, **{"\x1b[2J" * 500: np.zeros(2, odd)})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="not as floats") as caught:
        load_weights(path)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


def test_either_byte_order_is_read(tmp_path: Path) -> None:
    path, sound = tmp_path / "params_model_3.npz", parameters("model_3")
    path.write_bytes(npz(sound))
    expected = load_weights(path).state
    path.write_bytes(npz({name: array.astype(">f4") for name, array in sound.items()}))
    state = load_weights(path).state
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


def test_networks_with_the_same_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the real ones
    assert alike("model_2") == ("model_1", "model_2")
    assert alike("model_4_ptm") == ("model_3_ptm", "model_4_ptm", "model_5_ptm")
