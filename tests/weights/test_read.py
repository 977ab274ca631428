"""Hostile and damaged parameter files: one sentence each, nothing run, nothing unbounded."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldry.errors import InputError
from foldry.formats import npz as arrays
from foldry.weights.read import alike, load_weights
from tests.weights.archive import npz, parameters, small_models

__all__ = ["small_models"]
pytestmark = pytest.mark.usefixtures("small_models")
NAME = "alphafold/alphafold_iteration/distogram_head/half_logits//bias"


class Runs:
    """What an unsafe reader would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("ran").touch, ())


def zipped(member: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{NAME}.npy", member)
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
    "cut": lambda: npz(parameters("model_3"))[:-500],
    "name of bytes": lambda: b"PK\x03\x04" + struct.pack("<26s", b"\xff" * 26),
}


@pytest.mark.parametrize("case", FILES)
def test_a_hostile_file_gets_one_sentence(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(arrays, "MAX_BYTES", 1 << 19)
    path = tmp_path / "params_model_3.npz"
    path.write_bytes(FILES[case]())
    with pytest.raises(InputError, match="cannot be read as parameters") as caught:
        load_weights(path)
    assert "\n" not in str(caught.value)
    assert not Path("ran").exists()


def test_networks_with_the_same_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the real ones
    assert alike("model_2") == ("model_1", "model_2")
    assert alike("model_4_ptm") == ("model_3_ptm", "model_4_ptm", "model_5_ptm")
