"""The official parameters: downloaded, checked, unpacked.

AlphaFold's parameters are one tar archive of `params_<model>.npz` files and a licence, published
under CC BY 4.0. Every file is read completely and compared with its network before it gets its
name, so a file under that name can be trusted. The archive is kept until all files are unpacked:
if unpacking is interrupted, the 5.3 GB are not downloaded again.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from foldry.errors import BusyError, FoldryError, InputError, quoted, reason
from foldry.model.config import MULTIMER_MODELS, OFFICIAL_MODELS, preset
from foldry.store.download import (
    Progress,
    check_address,
    check_digest,
    check_sha256,
    check_space,
    fetch,
    part_of,
)
from foldry.store.files import check_folder, new_file, remove, write_text
from foldry.store.locks import hold
from foldry.weights.official import file_name, official_shapes
from foldry.weights.read import read_official

ARCHIVE_URL: Final = "https://storage.googleapis.com/alphafold/alphafold_params_2022-12-06.tar"
"""The address in AlphaFold's own scripts/download_alphafold_params.sh."""
ARCHIVE_NAME: Final = "alphafold_params.tar"
WANTED_NAME: Final = f"{ARCHIVE_NAME}.json"
"""A list of the models that the archive beside it was downloaded for."""
NOTICE: Final = (
    "AlphaFold's parameters are by DeepMind Technologies Limited, under CC BY 4.0 "
    "(https://creativecommons.org/licenses/by/4.0/): name the authors (Jumper et al. 2021, "
    "doi:10.1038/s41586-021-03819-2), link to the licence and say what you changed."
)
DEFAULT_MODELS = tuple(name for name in OFFICIAL_MODELS if name.endswith("_ptm"))
COMPLEX_MODELS = tuple(name for name in MULTIMER_MODELS if name.endswith("_v3"))
ARCHIVED_MODELS = OFFICIAL_MODELS + COMPLEX_MODELS
"""All models in the archive; multimer v1 and v2 were in earlier archives."""
MAX_ARCHIVE = 16 << 30
MAX_MEMBER = 1 << 30
MAX_MEMBERS = 1000
_CHUNK: Final = 1 << 20
_ANOTHER: Final = "give AlphaFold's own archive"


@dataclass(frozen=True)
class Fetched:
    """The result of `get`.

    Attributes:
        paths: All requested parameter files.
        new: The files among them that were unpacked by this call.
        checksum: The hash that the archive was compared with, or `unknown` with the reason.
    """

    paths: list[Path]
    new: list[Path]
    checksum: str


def default_folder() -> Path:
    """Return the folder of parameters: `$FOLDRY_WEIGHTS`, or `~/.cache/foldry/weights`.

    Raises:
        InputError: The variable is not set and the user has no home folder.
    """
    named = os.environ.get("FOLDRY_WEIGHTS")
    if named:
        return Path(named)
    try:
        return Path.home() / ".cache" / "foldry" / "weights"
    except RuntimeError:
        what = "This user has no home folder to keep parameters in"
        advice = "set FOLDRY_WEIGHTS to a folder, or name one with `folder`"
        raise InputError(what, advice) from None


def get(
    models: Sequence[str] = DEFAULT_MODELS,
    folder: Path | None = None,
    *,
    url: str = ARCHIVE_URL,
    tar: Path | None = None,
    sha256: str | None = None,
    progress: Progress | None = None,
) -> Fetched:
    """Download official parameters into a folder; files already there stay unchanged.

    Args:
        models: Names such as `model_1_ptm`.
        folder: The folder, made if needed; `default_folder()` if None.
        url: The archive's address, official or of a mirror.
        tar: The archive on this machine, instead of an address.
        sha256: The archive's hash, in hexadecimal, if known.
        progress: Called after every megabyte.

    Raises:
        InputError: A name, the archive or the hash is wrong, or the folder cannot be written.
        DiskFullError: The disk is too small.
        BusyError: Another process downloads parameters into the folder.
        OutsideError: The network or the server failed; call again to resume.
    """
    for name in models:
        if name not in ARCHIVED_MODELS:
            what = f"AlphaFold's archive has no model {quoted(name)}"
            advice = f"choose from {', '.join(ARCHIVED_MODELS)}"
            raise InputError(what, advice, code="archived_models")
    if tar is not None and not tar.is_file():
        raise InputError("is not a file", "give the path of AlphaFold's archive", where=tar)
    check_address(url)
    check_digest(sha256)
    folder = folder or default_folder()
    paths = {name: folder / file_name(name) for name in models}
    for path in paths.values():
        if path.is_dir():
            raise InputError("is a folder", "remove it, or choose another `folder`", where=path)
    if all(path.exists() for path in paths.values()):
        if (folder / ARCHIVE_NAME).exists():  # an earlier call was killed before removing it
            with suppress(BusyError), hold(folder):
                _drop_archive(folder)
        return Fetched(list(paths.values()), [], "unknown: nothing was fetched")
    check_folder(folder)
    with hold(folder):
        absent = [name for name, path in paths.items() if not path.exists()]
        checksum = _get(absent, folder, url, tar, sha256, progress)
    return Fetched(list(paths.values()), [paths[name] for name in absent], checksum)


def _get(
    models: Sequence[str],
    folder: Path,
    url: str,
    tar: Path | None,
    sha256: str | None,
    progress: Progress | None,
) -> str:
    """Download if needed, compare and unpack; return the `checksum` of `Fetched`."""
    needed = sum(map(_num_bytes, models))
    if tar is not None:
        check_space(folder, needed)
        checksum = check_sha256(tar, sha256) or "unknown: no hash was given"
        unpack(tar, folder, models)
        return checksum
    archive = folder / ARCHIVE_NAME
    write_text(folder / WANTED_NAME, json.dumps(list(models)))
    try:
        if archive.exists():  # unpacking was interrupted
            checksum = check_sha256(archive, sha256) or "unknown: fetched earlier"
        else:
            checksum = fetch(
                url, archive, max_bytes=MAX_ARCHIVE, sha256=sha256, spare=needed, progress=progress
            )
        try:
            unpack(archive, folder, models)
        except InputError:
            # It is complete but wrong: the next attempt would fail in the same way.
            remove(archive)
            raise
    finally:
        if not archive.exists() and not part_of(archive).exists():
            remove(folder / WANTED_NAME)  # nothing has arrived
    _drop_archive(folder)
    return checksum


def _drop_archive(folder: Path) -> None:
    """Remove an archive if every model that it was downloaded for is unpacked."""
    try:
        wanted = json.loads((folder / WANTED_NAME).read_text("utf-8"))
        needed = not all((folder / file_name(name)).exists() for name in wanted)
    except (OSError, ValueError, TypeError):
        needed = False
    if not needed:
        remove(folder / ARCHIVE_NAME)
        remove(folder / WANTED_NAME)


def _num_bytes(model: str) -> int:
    """Return the size of a model's arrays in float32, in bytes."""
    return sum(4 * math.prod(shape) for shape in official_shapes(preset(model)).values())


def unpack(archive: Path, folder: Path, models: Sequence[str]) -> None:
    """Unpack the parameter files of some models, and the licence, from the archive.

    Raises:
        InputError: The archive is damaged or not AlphaFold's, lacks a model, or has a member that
            does not belong in it. Only checked files get their final name.
    """
    members: dict[str, tarfile.TarInfo] = {}
    try:
        with tarfile.open(archive, "r:") as tar:
            members = _members(tar, archive)
            wanted = {file_name(model): model for model in models}
            for name, model in wanted.items():
                if name not in members:
                    raise InputError(f"has no {model}", _ANOTHER, where=archive)
            for name in ("LICENSE", *wanted):
                if name in members:
                    _extract(tar, members[name], folder / name, wanted.get(name), archive)
    except FoldryError:
        raise
    except (tarfile.TarError, EOFError, ValueError, OverflowError, MemoryError) as error:
        # A damaged header may state any size: MemoryError is then a fault of the archive.
        if members and isinstance(error, MemoryError):
            raise
        what = f"is not a complete tar archive ({reason(error)})"
        raise InputError(what, "fetch it again, or give another", where=archive) from None


def _members(tar: tarfile.TarFile, archive: Path) -> dict[str, tarfile.TarInfo]:
    """Return the checked members that are files, by their names without folders."""
    members: dict[str, tarfile.TarInfo] = {}
    for count, member in enumerate(tar):
        path, problem = PurePosixPath(member.name), ""
        if path.is_absolute() or ".." in path.parts:
            problem = "leads out of its folder"
        elif not member.isdir() and (not member.isfile() or member.issparse()):
            problem = "is a link or a device"
        elif not 0 <= member.size <= MAX_MEMBER:
            problem = "is too large"
        elif count >= MAX_MEMBERS or path.name in members:
            problem = "occurs twice, or is one file too many"
        if problem:
            what = f"holds {quoted(member.name, 200)}, which {problem}"
            raise InputError(what, _ANOTHER, where=archive)
        if member.isfile():
            members[path.name] = member
    return members


def _extract(
    tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, model: str | None, archive: Path
) -> None:
    """Write one member under a temporary name, compare it with its network, then name it."""
    source = tar.extractfile(member)
    assert source is not None  # it is a regular file
    with source, new_file(path, sync=True) as target:
        shutil.copyfileobj(source, target, _CHUNK)
        target.flush()
        if model is not None:
            try:
                read_official(Path(target.name), model)
            except InputError as error:  # its message has the temporary name
                where = f"{archive}, {path.name}"
                raise InputError(error.what, _ANOTHER, where=where, code=error.code) from error
