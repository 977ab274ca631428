"""The official parameters: fetched, checked, unpacked.

AlphaFold's parameters are one tar archive of `params_<model>.npz` files and a licence, published
under CC BY 4.0. Every file is read whole and compared with its network before it gets its name.
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

from foldry.errors import BusyError, InputError
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
"""Names the models that the archive beside it was fetched for."""
NOTICE: Final = (
    "AlphaFold's parameters are by DeepMind Technologies Limited, under CC BY 4.0 "
    "(https://creativecommons.org/licenses/by/4.0/): name the authors (Jumper et al. 2021, "
    "doi:10.1038/s41586-021-03819-2), link to the licence and say what you changed."
)
DEFAULT_MODELS = tuple(name for name in OFFICIAL_MODELS if name.endswith("_ptm"))
COMPLEX_MODELS = tuple(name for name in MULTIMER_MODELS if name.endswith("_v3"))
ARCHIVED_MODELS = OFFICIAL_MODELS + COMPLEX_MODELS
"""Multimer v1 and v2 were in earlier archives."""
MAX_ARCHIVE = 16 << 30
MAX_MEMBER = 1 << 30
MAX_MEMBERS = 1000
_CHUNK: Final = 1 << 20
_ANOTHER: Final = "give AlphaFold's own archive"


@dataclass(frozen=True)
class Fetched:
    """What `get` has done.

    Attributes:
        paths: The parameter files asked for, the ones that were there before included.
        new: Those of them that were unpacked now.
        checksum: What the archive was compared with, or `unknown` with the reason.
    """

    paths: list[Path]
    new: list[Path]
    checksum: str


def default_folder() -> Path:
    """Where parameters are kept: `$FOLDRY_WEIGHTS`, or `~/.cache/foldry/weights`.

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
    """Bring official parameters into a folder; what is there already is left as it is.

    Args:
        models: Names such as `model_1_ptm`.
        folder: `default_folder()` if None; made if need be.
        url: The archive's address, official or a mirror's.
        tar: The archive on this machine, instead of an address.
        sha256: The archive's hash, in hexadecimal, where the user knows it.
        progress: Called after every megabyte.

    Raises:
        InputError: A name, the archive or the hash is wrong, or the folder cannot be written.
        DiskFullError: The disk is too small.
        BusyError: Another process fetches parameters into the folder.
        OutsideError: The network or the server failed; call again to resume.
    """
    for name in models:
        if name not in ARCHIVED_MODELS:
            what = f"AlphaFold's archive has no model {name!r}"
            raise InputError(what, f"choose from {', '.join(ARCHIVED_MODELS)}")
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
        if (folder / ARCHIVE_NAME).exists():
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
    """Fetch where need be, compare, unpack; returns what the archive was compared with."""
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
            # It is whole and yet wrong, so that keeping it would only repeat the error.
            remove(archive)
            raise
    finally:
        if not archive.exists() and not part_of(archive).exists():
            remove(folder / WANTED_NAME)  # nothing has arrived
    _drop_archive(folder)
    return checksum


def _drop_archive(folder: Path) -> None:
    """Remove an archive of which everything that it was fetched for is unpacked."""
    try:
        wanted = json.loads((folder / WANTED_NAME).read_text("utf-8"))
        needed = not all((folder / file_name(name)).exists() for name in wanted)
    except (OSError, ValueError, TypeError):
        needed = False
    if not needed:
        remove(folder / ARCHIVE_NAME)
        remove(folder / WANTED_NAME)


def _num_bytes(model: str) -> int:
    """Size of a model's arrays in float32."""
    return sum(4 * math.prod(shape) for shape in official_shapes(preset(model)).values())


def unpack(archive: Path, folder: Path, models: Sequence[str]) -> None:
    """Take the files of these models, and the licence, out of the archive.

    Raises:
        InputError: The archive is damaged or not AlphaFold's, lacks a model, or holds what no
            archive of parameters holds; nothing of it is left under a final name unchecked.
    """
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
    except (tarfile.TarError, EOFError) as error:
        what = f"is not a complete tar archive ({error})"
        raise InputError(what, "fetch it again, or give another", where=archive) from error


def _members(tar: tarfile.TarFile, archive: Path) -> dict[str, tarfile.TarInfo]:
    """Files by their bare names, each checked; folders in front of a name are not kept."""
    members: dict[str, tarfile.TarInfo] = {}
    for count, member in enumerate(tar):
        path, problem = PurePosixPath(member.name), ""
        if path.is_absolute() or ".." in path.parts:
            problem = "leads out of its folder"
        elif not member.isdir() and (not member.isfile() or member.issparse()):
            problem = "is a link or a device"
        elif member.size > MAX_MEMBER or count >= MAX_MEMBERS or path.name in members:
            problem = "is too large, there twice, or one file too many"
        if problem:
            what = f"holds {member.name!r}, which {problem}"
            raise InputError(what, _ANOTHER, where=archive)
        if member.isfile():
            members[path.name] = member
    return members


def _extract(
    tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, model: str | None, archive: Path
) -> None:
    """Write one member, compare it with its network, and only then give it its name."""
    source = tar.extractfile(member)
    assert source is not None  # it is a regular file
    with source, new_file(path, sync=True) as target:
        shutil.copyfileobj(source, target, _CHUNK)
        target.flush()
        if model is not None:
            try:
                read_official(Path(target.name), model)
            except InputError as error:  # it names the file under its temporary name
                where = f"{archive}, {path.name}"
                raise InputError(error.what, _ANOTHER, where=where, code=error.code) from error
