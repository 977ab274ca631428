"""The official parameters: fetched, checked, unpacked.

AlphaFold's parameters are one tar archive of `params_<model>.npz` files and a licence, published
under CC BY 4.0. Every file is read whole and compared with its network before it gets its name.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import math
import os
import re
import shutil
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path, PurePosixPath
from typing import cast

from foldry.errors import InputError
from foldry.model.config import MULTIMER_MODELS, OFFICIAL_MODELS, preset
from foldry.model.convert import read
from foldry.model.weights import official_shapes
from foldry.model.weights import sha256 as hash_of

ARCHIVE_URL = "https://storage.googleapis.com/alphafold/alphafold_params_2022-12-06.tar"
"""The address in AlphaFold's own scripts/download_alphafold_params.sh."""
ARCHIVE_NAME = "alphafold_params.tar"
NOTICE = (
    "AlphaFold's parameters are by DeepMind Technologies Limited, under CC BY 4.0 "
    "(https://creativecommons.org/licenses/by/4.0/): name the authors (Jumper et al. 2021, "
    "doi:10.1038/s41586-021-03819-2), link to the licence and say what you changed."
)
DEFAULT_MODELS = tuple(name for name in OFFICIAL_MODELS if name.endswith("_ptm"))
COMPLEX_MODELS = tuple(name for name in MULTIMER_MODELS if name.endswith("_v3"))
ARCHIVED_MODELS = OFFICIAL_MODELS + COMPLEX_MODELS
"""Multimer v1 and v2 were in earlier archives."""
PAUSES = (1.0, 2.0, 5.0, 10.0)
"""Seconds before each further attempt after the connection broke off."""
TIMEOUT = 60.0
MAX_ARCHIVE = 16 << 30
MAX_MEMBER = 1 << 30
MAX_MEMBERS = 1000
CHUNK = 1 << 20

Progress = Callable[[int, int], None]
"""Told the bytes that are here and the bytes of the whole."""


class DownloadError(RuntimeError):
    """The network or the server failed: one sentence. What has arrived is kept for resuming."""


class _BrokenError(Exception):
    """The transfer failed in a way that another attempt may mend."""


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
    """Where parameters are kept: `$FOLDRY_WEIGHTS`, or `~/.cache/foldry/weights`."""
    named = os.environ.get("FOLDRY_WEIGHTS")
    return Path(named) if named else Path.home() / ".cache" / "foldry" / "weights"


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
        progress: Told of every megabyte.

    Raises:
        InputError: A name, the archive or the hash is wrong, or the disk is too small.
        DownloadError: The network or the server failed; call again to resume.
    """
    for name in models:
        if name not in ARCHIVED_MODELS:
            raise InputError(
                f"AlphaFold's archive has no model {name!r}: choose from "
                f"{', '.join(ARCHIVED_MODELS)}."
            )
    if tar is not None and not tar.is_file():
        raise InputError(f"{tar} is no file: give the path of AlphaFold's archive.")
    if not re.fullmatch(r"https?://[!-~]+", url):
        raise InputError(f"{url!r} is no address such as https://example.org/archive.tar.")
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise InputError(f"{sha256!r} is no SHA-256: it has 64 hexadecimal digits.")
    folder = folder or default_folder()
    paths = {name: folder / f"params_{name}.npz" for name in models}
    absent = [name for name, path in paths.items() if not path.exists()]
    if not absent:
        return Fetched(list(paths.values()), [], "unknown: nothing was fetched")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone_in(folder):
            checksum = _get(absent, folder, url, tar, sha256, progress)
    except OSError as error:
        raise InputError(f"the parameters cannot be written to {folder}: {error}.") from error
    return Fetched(list(paths.values()), [paths[name] for name in absent], checksum)


def _get(
    models: Sequence[str],
    folder: Path,
    url: str,
    tar: Path | None,
    sha256: str | None,
    progress: Progress | None,
) -> str:
    """Fetch where need be, compare, unpack; says what the archive was compared with."""
    unpacked = sum(map(_num_bytes, models))
    if tar is not None:
        _check_space(folder, unpacked)
        checksum = _check_sha256(tar, sha256) or "unknown: no --sha256 was given"
        unpack(tar, folder, models)
        return checksum
    archive = folder / ARCHIVE_NAME
    if archive.exists():  # unpacking was interrupted
        checksum = _check_sha256(archive, sha256) or "unknown: fetched earlier"
    else:
        checksum = fetch(url, archive, sha256=sha256, spare=unpacked, progress=progress)
    try:
        unpack(archive, folder, models)
    except InputError:
        # It is whole and yet wrong, so that keeping it would only repeat the error.
        archive.unlink()
        raise
    archive.unlink()
    return checksum


def _num_bytes(model: str) -> int:
    """Size of a model's arrays in float32."""
    return sum(4 * math.prod(shape) for shape in official_shapes(preset(model)).values())


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep two processes from writing the same archive."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another `foldry weights get` is at work in {folder}.") from None
        yield
    finally:
        os.close(handle)


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"{folder} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed: free "
            "some, or choose another folder with --folder."
        )


def _check_sha256(path: Path, expected: str | None) -> str:
    """What the file was compared with, or "" without a hash to compare with."""
    if expected is None:
        return ""
    found = hash_of(path)
    if found != expected.lower():
        raise InputError(
            f"{path} has the SHA-256 {found} and not {expected.lower()}: check the hash, or "
            "delete the file and fetch it again."
        )
    return f"sha256 {found}, as you gave it"


# Fetching


@dataclass(frozen=True)
class _Remote:
    """What the server says of the archive; `md5` and `crc32c` in base64, as Google's servers do."""

    url: str
    size: int
    etag: str | None
    md5: str | None
    crc32c: str | None


def fetch(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    spare: int = 0,
    progress: Progress | None = None,
) -> str:
    """Download a file; go on where an earlier attempt broke off.

    What has arrived is in `<path>.part`, and what the server said of it in `<path>.part.json`; the
    file gets its name when it is whole and equals every hash that is known.

    Args:
        url: http or https.
        path: The file to make.
        sha256: Its hash, where the caller knows it.
        spare: Bytes to be left free on the disk.
        progress: Told of every megabyte.

    Returns:
        What the file was compared with, or `unknown` with the reason.

    Raises:
        InputError: The address or the hash is wrong, or the disk is too small.
        DownloadError: The network or the server failed.
    """
    part = path.with_name(path.name + ".part")
    for pause in (*PAUSES, None):
        try:
            remote = _receive(url, part, spare, progress)
            break
        except _BrokenError as error:
            # Where nothing has arrived yet, the address or the network is at fault.
            if pause is None or not part.exists():
                raise DownloadError(
                    f"{url} could not be fetched ({error}): run the same command again to go on "
                    "where it stopped, or give another address with --mirror."
                ) from error
            time.sleep(pause)
    checksum = _check_sha256(part, sha256) or _check_stated(remote, part)
    part.replace(path)
    _notes(part).unlink()
    return checksum


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _receive(url: str, part: Path, spare: int, progress: Progress | None) -> _Remote:
    """One attempt: a whole file in `part`, or an error with what has arrived."""
    begun = _begun(url, part)
    headers = {"User-Agent": "foldry", "Accept-Encoding": "identity"}
    offset = 0
    if begun is not None and begun.etag is not None:
        # The last byte is asked for again, since a server cannot send the rest of a whole file.
        offset = max(part.stat().st_size - 1, 0)
        headers |= {"Range": f"bytes={offset}-", "If-Range": begun.etag}
    with _open(url, headers) as response:
        if response.status != 206:
            offset = 0
        remote = _read_headers(url, response, offset)
        if offset and not _continues(response, offset, begun, remote):
            part.unlink()
            raise DownloadError(
                f"{url} has changed since the download began, and what had arrived was removed: "
                "run the command again."
            )
        _check_space(part.parent, remote.size - offset + spare)
        _notes(part).write_text(json.dumps({"url": url, "etag": remote.etag, "size": remote.size}))
        arrived = offset
        with part.open("r+b" if offset else "wb") as file:
            file.truncate(offset)
            file.seek(offset)
            for chunk in _chunks(response):
                file.write(chunk)
                arrived += len(chunk)
                if progress is not None:
                    progress(arrived, remote.size)
    if arrived != remote.size:
        raise _BrokenError(f"it broke off after {arrived:,} of {remote.size:,} bytes")
    return remote


def _continues(response: HTTPResponse, offset: int, begun: _Remote | None, remote: _Remote) -> bool:
    """Whether the answer is the rest of the file that was begun."""
    expected = f"bytes {offset}-{remote.size - 1}/{remote.size}"
    return (
        begun is not None
        and response.headers.get("Content-Range") == expected
        and (remote.etag, remote.size) == (begun.etag, begun.size)
    )


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := response.read(CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        raise _BrokenError(f"it broke off: {error}") from error


def _begun(url: str, part: Path) -> _Remote | None:
    """What the server said when an earlier attempt began, or None where nothing can be resumed."""
    try:
        notes = json.loads(_notes(part).read_text())
        begun = _Remote(notes["url"], int(notes["size"]), notes["etag"], None, None)
        return begun if begun.url == url and 0 < part.stat().st_size <= begun.size else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _open(url: str, headers: dict[str, str]) -> HTTPResponse:
    """The server's answer, if it is a file."""
    try:
        request = urllib.request.Request(url, headers=headers)
        response = cast(HTTPResponse, urllib.request.urlopen(request, timeout=TIMEOUT))
    except urllib.error.HTTPError as error:
        with error:
            if error.code >= 500 or error.code in (408, 429):
                raise _BrokenError(f"the server answers {error.code} {error.reason}") from error
            raise DownloadError(
                f"the server answers {error.code} {error.reason} for {url}: check the address, or "
                "give another with --mirror."
            ) from error
    except urllib.error.URLError as error:
        raise _BrokenError(str(error.reason)) from error
    except (InvalidURL, ValueError) as error:
        raise InputError(f"{url!r} is no address ({error}).") from error
    except (OSError, HTTPException) as error:
        raise _BrokenError(str(error) or type(error).__name__) from error
    if url.startswith("https:") and not response.url.startswith("https:"):
        response.close()
        raise DownloadError(f"{url} leads to {response.url}, which is not encrypted.")
    return response


def _read_headers(url: str, response: HTTPResponse, offset: int) -> _Remote:
    headers = response.headers
    if headers.get_content_type() == "text/html":
        raise DownloadError(
            f"{url} is a web page and not the archive: check the address, or give another with "
            "--mirror."
        )
    length = headers.get("Content-Length", "")
    if not length.isdecimal() or not 0 < int(length) + offset <= MAX_ARCHIVE:
        raise DownloadError(
            f"the server gives {length or 'nothing'} as the size of {url}, which is not that of "
            "an archive of parameters: give another address with --mirror."
        )
    size = int(length) + offset
    etag = headers.get("ETag")
    stated = {}
    for part in ",".join(headers.get_all("x-goog-hash", [])).split(","):
        kind, _, value = part.strip().partition("=")
        stated[kind] = value
    return _Remote(
        url=url,
        size=size,
        # A weak tag does not promise the same bytes.
        etag=etag if etag and etag.startswith('"') else None,
        md5=stated.get("md5"),
        crc32c=stated.get("crc32c"),
    )


def _check_stated(remote: _Remote, part: Path) -> str:
    """Compare with the hash that the server states, if it does."""
    if remote.md5 is None:
        other = "only a CRC-32C, which is not checked" if remote.crc32c else "none"
        return f"unknown: the server states {other}"
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
    if base64.b64encode(digest).decode() != remote.md5:
        part.unlink()
        _notes(part).unlink()
        raise DownloadError(
            f"what came from {remote.url} is not what the server says it is (MD5 {remote.md5} in "
            "base64) and was removed: run the command again, or give another address with --mirror."
        )
    return f"md5 {digest.hex()}, as the server states it"


# Unpacking


def unpack(archive: Path, folder: Path, models: Sequence[str]) -> None:
    """Take the files of these models, and the licence, out of the archive.

    Raises:
        InputError: The archive is damaged or not AlphaFold's, lacks a model, or holds what no
            archive of parameters holds; nothing of it is left under a final name unchecked.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            members = _members(tar, archive)
            missing = [name for name in models if f"params_{name}.npz" not in members]
            if missing:
                raise InputError(f"{archive} has no {missing[0]}: is it AlphaFold's archive?")
            if "LICENSE" in members:
                _extract(tar, members["LICENSE"], folder / "LICENSE")
            for name in models:
                path = folder / f"params_{name}.npz"
                _extract(tar, members[path.name], path, model=name)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(
            f"{archive} is no whole tar archive ({error}): fetch it again, or give another."
        ) from error


def _members(tar: tarfile.TarFile, archive: Path) -> dict[str, tarfile.TarInfo]:
    """Files by their bare names, each checked; folders in front of a name are not kept."""
    members: dict[str, tarfile.TarInfo] = {}
    for count, member in enumerate(tar):
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts:
            raise InputError(f"{archive} holds {member.name!r}, which leads out of its folder.")
        if not member.isdir() and (not member.isfile() or member.issparse()):
            raise InputError(f"{archive} holds {member.name!r}, which is a link or a device.")
        if member.size > MAX_MEMBER or count >= MAX_MEMBERS or path.name in members:
            raise InputError(
                f"{archive} is not AlphaFold's archive: {member.name!r} is too large, twice "
                "there, or one file too many."
            )
        if member.isfile():
            members[path.name] = member
    return members


def _extract(
    tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, *, model: str | None = None
) -> None:
    """Write one member, compare it with its network, and only then give it its name."""
    partial = path.with_suffix(".partial" + path.suffix)
    source = tar.extractfile(member)
    assert source is not None  # it is a regular file
    try:
        with source, partial.open("wb") as target:
            shutil.copyfileobj(source, target, CHUNK)
        if model is not None:
            read(partial, model)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
