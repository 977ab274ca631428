"""NumPy arrays in a zip archive: equal arrays give equal bytes, and files are not trusted.

Arrays of objects are neither written nor read, because they can contain code. Headers are compared
with the archive before memory is allocated: an array whose size differs from that of its archive
member is refused.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import numpy as np

from foldry.errors import quoted, reason

MAX_BYTES: Final = 4 << 30
"""Maximum size of all arrays of a file, unpacked."""


def write_arrays(
    file: IO[bytes], arrays: Mapping[str, np.ndarray], *, uncompressed: Container[str] = ()
) -> None:
    """Write arrays as `numpy.savez_compressed` does, so that `numpy.load` reads them.

    Args:
        file: A binary file to write.
        arrays: Arrays by name.
        uncompressed: Names of arrays that are not compressed because they hardly shrink.
    """
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            stored = name in uncompressed
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def read_arrays(path: Path, max_bytes: int | None = None) -> dict[str, np.ndarray]:
    """Return all arrays of a file by name.

    Args:
        path: The file.
        max_bytes: Maximum size of all arrays. Default: `MAX_BYTES`.

    Raises:
        ValueError: The file is missing, damaged, too large, or has anything but plain arrays.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.npz"
        >>> with path.open("wb") as file:
        ...     write_arrays(file, {"plddt": np.array([0.5, 0.75])})
        >>> read_arrays(path)
        {'plddt': array([0.5 , 0.75])}
    """
    arrays = {}
    with _checked(path, max_bytes) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
            arrays[member.filename.removesuffix(".npy")] = array
    return arrays


def check_headers(path: Path, max_bytes: int | None = None) -> None:
    """Check the headers of a file of arrays: it must be complete and not too large.

    Raises:
        ValueError: It is cut off, damaged, or larger than `max_bytes` (default: `MAX_BYTES`).
    """
    with _checked(path, max_bytes):
        pass


@contextmanager
def _checked(path: Path, max_bytes: int | None = None) -> Iterator[zipfile.ZipFile]:
    """Open a file whose arrays are complete and within the limit; any damage is a ValueError."""
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
        raise ValueError(reason(error)) from error


def check_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Check that an array is as long as its header says, before memory is allocated for it.

    Raises:
        ValueError: The length differs, or the version of the format is unknown.
    """
    with archive.open(member) as file:
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(np.lib.format.read_magic(file))
        if read_header is None:
            raise ValueError(f"{quoted(member.filename)} has an unknown version")
        shape, _, dtype = read_header(file)
        # Values of width 0 would fit any shape.
        if math.prod(shape) * max(dtype.itemsize, 1) + file.tell() != member.file_size:
            raise ValueError(f"{quoted(member.filename)} is not as long as its header says")
