"""NumPy arrays in a zip archive: written the same whenever, read without trust.

No array of objects is written or read, so that a file never holds code, and nothing is allocated on
the word of a header: an array is as long as its member of the archive, or it is refused.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import numpy as np

MAX_BYTES: Final = 4 << 30
"""The most that all arrays of a file may take, unpacked."""


def write_arrays(
    file: IO[bytes], arrays: Mapping[str, np.ndarray], *, uncompressed: Container[str] = ()
) -> None:
    """Write arrays as `numpy.savez_compressed` does; NumPy alone reads them.

    Args:
        file: A binary file to write.
        arrays: Arrays by name.
        uncompressed: Names of arrays that are stored as they are, since they hardly shrink.
    """
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            stored = name in uncompressed
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def read_arrays(path: Path, max_bytes: int | None = None) -> dict[str, np.ndarray]:
    """All arrays of a file, by name.

    Raises:
        ValueError: The file is missing, damaged, holds something else than plain arrays, or more
            than `max_bytes` (`MAX_BYTES` if left out).
    """
    arrays = {}
    with _checked(path, max_bytes) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
            arrays[member.filename.removesuffix(".npy")] = array
    return arrays


def check_headers(path: Path) -> None:
    """Make sure, by the headers, that a file of arrays is whole and within `MAX_BYTES`.

    Raises:
        ValueError: It is not.
    """
    with _checked(path):
        pass


@contextmanager
def _checked(path: Path, max_bytes: int | None = None) -> Iterator[zipfile.ZipFile]:
    """A file whose arrays are as long as they say, and in bounds; any damage is a ValueError."""
    max_bytes = MAX_BYTES if max_bytes is None else max_bytes
    try:
        with zipfile.ZipFile(path) as archive:
            total = 0
            for member in archive.infolist():
                total += member.file_size
                if total > max_bytes:
                    raise ValueError(f"it holds more than {max_bytes / (1 << 30):g} GiB")
                check_array(archive, member)
            yield archive
    except MemoryError:
        raise
    except Exception as error:  # foreign bytes make zipfile and NumPy raise nearly anything
        raise ValueError(str(error) or type(error).__name__) from error


def check_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Make sure that an array is as long as it says, before memory is taken for it.

    Raises:
        ValueError: It is not, or its format's version is unknown.
    """
    with archive.open(member) as file:
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(np.lib.format.read_magic(file))
        if read_header is None:
            raise ValueError(f"{member.filename} is of an unknown version")
        shape, _, dtype = read_header(file)
        # Values without a width would make any shape fit.
        if math.prod(shape) * max(dtype.itemsize, 1) + file.tell() != member.file_size:
            raise ValueError(f"{member.filename} is not as long as its header says")
