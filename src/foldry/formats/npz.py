"""NumPy arrays in a zip archive: equal arrays give equal bytes, and files are not trusted.

Arrays of objects are neither written nor read, because they can contain code. Headers are compared
with the archive before memory is allocated: an array whose size differs from that of its archive
member is refused.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from foldry.errors import quoted, reason
from foldry.store.files import MAX_RATIO

MAX_BYTES: Final = 4 << 30
"""Maximum size of all arrays of a file, unpacked."""
_MAX_MEMBERS: Final = 10_000


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
    with _opened(path, max_bytes) as archive:
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
    with _opened(path, max_bytes):
        pass


def find_array(
    data: bytes, names: Sequence[str], max_unpacked: int
) -> tuple[np.ndarray | None, list[str]]:
    """Return the array of an .npy file, or that of the first of the names in an .npz file.

    Args:
        data: Content of the file.
        names: Names of arrays, best first.
        max_unpacked: Limit on an array that is more than `MAX_RATIO` times its compressed size.

    Returns:
        The array, or None; and the names of all arrays of an .npz file. Others are not read.

    Raises:
        ValueError: The file is damaged, the array is too large, or the file has anything but plain
            arrays.
    """
    with _any_damage():
        if not data.startswith(b"PK"):
            return _read_array(io.BytesIO(data), len(data), "the array"), []
        if data.count(b"PK\1\2") > _MAX_MEMBERS:
            raise ValueError(f"it has more than {_MAX_MEMBERS} members")
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = [each.removesuffix(".npy") for each in archive.namelist()]
            if any(each.endswith("data.pkl") for each in found):
                raise ValueError("it is a PyTorch file, which can contain code")
            name = next(filter(found.__contains__, names), None)
            if name is None:
                return None, found
            info = archive.infolist()[found.index(name)]
            if info.file_size > max(max_unpacked, MAX_RATIO * info.compress_size):
                raise ValueError(f"{quoted(name)} unpacks to over {MAX_RATIO} times its size")
            with archive.open(info) as file:
                return _read_array(file, info.file_size, info.filename), found


@contextmanager
def _opened(path: Path, max_bytes: int | None = None) -> Iterator[zipfile.ZipFile]:
    """Open a file whose arrays are complete and within the limit; any damage is a ValueError."""
    max_bytes = MAX_BYTES if max_bytes is None else max_bytes
    with _any_damage(), zipfile.ZipFile(path) as archive:
        total = 0
        for member in archive.infolist():
            total += member.file_size
            if total > max_bytes:
                raise ValueError(f"it holds more than {max_bytes / (1 << 30):g} GiB")
            check_array(archive, member)
        yield archive


def check_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Check that an array is as long as its header says, before memory is allocated for it.

    Raises:
        ValueError: The length differs, or the version of the format is unknown.
    """
    with archive.open(member) as file:
        _check_header(file, member.file_size, member.filename)


def _check_header(file: IO[bytes], size: int, name: str) -> None:
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(np.lib.format.read_magic(file))
    if read_header is None:
        raise ValueError(f"{quoted(name)} has an unknown version")
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError(f"{quoted(name)} holds Python objects, which can contain code")
    # Values of width 0 would fit any shape.
    if math.prod(shape) * max(dtype.itemsize, 1) + file.tell() != size:
        raise ValueError(f"{quoted(name)} is not as long as its header says")


def _read_array(file: Any, size: int, name: str) -> np.ndarray:
    if size > MAX_BYTES:
        raise ValueError(f"{quoted(name)} holds more than {MAX_BYTES >> 30} GiB")
    _check_header(file, size, name)
    file.seek(0)
    array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    return array


@contextmanager
def _any_damage() -> Iterator[None]:
    """Turn the errors of foreign bytes, which make zipfile and NumPy raise nearly anything."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(reason(error)) from error
