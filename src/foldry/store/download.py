"""Downloads over HTTP that go on where they broke off, and take their name when they are whole."""

from __future__ import annotations

import base64
import json
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from typing import Final, cast

from foldry.errors import DiskFullError, InputError, OutsideError
from foldry.store.files import remove, write_text, writing
from foldry.store.hashes import file_digest, file_sha256

PAUSES: Final = (1.0, 2.0, 5.0, 10.0)
"""Seconds before each further attempt after the connection broke off."""
TIMEOUT: Final = 60.0
CHUNK: Final = 1 << 20
NO_ADDRESS: Final = "download_address"
"""Code of the errors that another address may avoid."""
_AGAIN: Final = "run the same command again to go on where it stopped, or give another address"
_ANOTHER: Final = "check the address, or give another"

Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes of the whole."""


class _BrokenError(Exception):
    """The transfer failed in a way that another attempt may not."""


@dataclass(frozen=True)
class _Remote:
    """What the server says of a file; the hashes, in base64, come from Google's servers alone."""

    url: str
    size: int
    etag: str
    hashes: Mapping[str, str] = field(default_factory=dict, compare=False)


def check_address(url: str) -> None:
    """Make sure that this may be the address of a file.

    Raises:
        InputError: It is not one.
    """
    if not re.fullmatch(r"https?://[!-~]+", url):
        raise InputError(f"{url!r} is not an address such as https://example.org/archive.tar")


def check_digest(digest: str | None) -> None:
    """Make sure that this may be a SHA-256, or None.

    Raises:
        InputError: It is not one.
    """
    if digest is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise InputError(f"{digest!r} is not a SHA-256", "give 64 hexadecimal digits")


def check_space(folder: Path, needed: int) -> None:
    """Make sure that so many bytes are free.

    Raises:
        DiskFullError: They are not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        what = f"has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed"
        raise DiskFullError(what, "free some, or choose another folder", where=folder)


def check_sha256(path: Path, expected: str | None) -> str:
    """Compare a file with its hash; returns what it was compared with, or "" without a hash.

    Raises:
        InputError: The file has another hash.
    """
    if expected is None:
        return ""
    found = file_sha256(path)
    if found != expected.lower():
        what = f"has the SHA-256 {found} and not {expected.lower()}"
        raise InputError(what, "check the hash, or delete the file and fetch it again", where=path)
    return f"sha256 {found}, as you gave it"


def part_of(path: Path) -> Path:
    """Where the beginning of a download is kept until it is whole."""
    return path.with_name(path.name + ".part")


def fetch(
    url: str,
    path: Path,
    *,
    max_bytes: int,
    sha256: str | None = None,
    spare: int = 0,
    progress: Progress | None = None,
) -> str:
    """Download a file; go on where an earlier attempt broke off.

    What has arrived is in `<path>.part`, and what the server said of it in `<path>.part.json`; the
    file gets its name when it is whole and equals every hash that is known. Only one process at a
    time may fetch a file: the caller holds its folder.

    Args:
        url: http or https.
        path: The file to make.
        max_bytes: A larger file is refused.
        sha256: Its hash, where the caller knows it.
        spare: Bytes to be left free on the disk.
        progress: Called after every megabyte.

    Returns:
        What the file was compared with, or `unknown` with the reason.

    Raises:
        InputError: The address or the hash is wrong.
        DiskFullError: The disk is too small.
        OutsideError: The network or the server failed; what has arrived is kept.
    """
    check_address(url)
    check_digest(sha256)
    part = part_of(path)
    for pause in (*PAUSES, None):
        try:
            remote = _receive(url, part, max_bytes, spare, progress)
            break
        except _BrokenError as error:
            # Where nothing has arrived yet, the address or the network is at fault.
            if pause is None or not part.exists():
                what = f"could not be fetched ({error})"
                raise OutsideError(what, _AGAIN, where=url, code=NO_ADDRESS) from error
            time.sleep(pause)
    checksum = check_sha256(part, sha256) or _check_stated(remote, part)
    part.replace(path)
    remove(_notes(part))
    return checksum


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _receive(
    url: str, part: Path, max_bytes: int, spare: int, progress: Progress | None
) -> _Remote:
    """One attempt: a whole file in `part`, or an error with what has arrived."""
    begun = _begun(url, part)
    headers = {"User-Agent": "foldry", "Accept-Encoding": "identity"}
    offset = 0
    if begun is not None:
        # The last byte is asked for again, since a server cannot send the rest of a whole file.
        offset = max(part.stat().st_size - 1, 0)
        headers |= {"Range": f"bytes={offset}-", "If-Range": begun.etag}
    with _open(url, headers) as response:
        if response.status != 206:
            offset = 0
        remote = _read_headers(url, response, offset, max_bytes)
        rest = f"bytes {offset}-{remote.size - 1}/{remote.size}"
        if offset and (remote != begun or response.headers.get("Content-Range") != rest):
            remove(part)
            what = "has changed since the download began, and what had arrived was removed"
            raise OutsideError(what, "run the command again", where=url)
        check_space(part.parent, remote.size - offset + spare)
        write_text(_notes(part), json.dumps({"url": url, "etag": remote.etag, "size": remote.size}))
        with writing(part), part.open("r+b" if offset else "wb") as file:
            file.truncate(offset)
            file.seek(offset)
            for chunk in _chunks(response):
                file.write(chunk)
                if progress is not None:
                    progress(file.tell(), remote.size)
            arrived = file.tell()
    if arrived != remote.size:
        raise _BrokenError(f"it broke off after {arrived:,} of {remote.size:,} bytes")
    return remote


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
        begun = _Remote(notes["url"], int(notes["size"]), notes["etag"])
        resumable = begun.url == url and begun.etag and 0 < part.stat().st_size <= begun.size
        return begun if resumable else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _open(url: str, headers: dict[str, str]) -> HTTPResponse:
    """The server's answer, if it is a file."""
    try:
        request = urllib.request.Request(url, headers=headers)
        response = cast(HTTPResponse, urllib.request.urlopen(request, timeout=TIMEOUT))
    except urllib.error.HTTPError as error:
        with error:
            what = f"the server answers {error.code} {error.reason}"
            if error.code >= 500 or error.code in (408, 429):
                raise _BrokenError(what) from error
            raise OutsideError(f"{what} for {url}", _ANOTHER, code=NO_ADDRESS) from error
    except (InvalidURL, ValueError) as error:
        raise InputError(f"{url!r} is not an address ({error})") from error
    except (OSError, HTTPException) as error:
        reason = str(getattr(error, "reason", error))
        raise _BrokenError(reason or type(error).__name__) from error
    if url.startswith("https:") and not response.url.startswith("https:"):
        response.close()
        what = f"leads to {response.url}, which is not encrypted"
        raise OutsideError(what, _ANOTHER, where=url, code=NO_ADDRESS)
    return response


def _read_headers(url: str, response: HTTPResponse, offset: int, max_bytes: int) -> _Remote:
    headers = response.headers
    if headers.get_content_type() == "text/html":
        raise OutsideError("is a web page, not the file", _ANOTHER, where=url, code=NO_ADDRESS)
    length = headers.get("Content-Length", "")
    if not length.isdecimal() or not 0 < int(length) + offset <= max_bytes:
        what = f"cannot be of the size that its server states ({length or 'none'})"
        raise OutsideError(what, _ANOTHER, where=url, code=NO_ADDRESS)
    etag = headers.get("ETag", "")
    if not etag.startswith('"'):
        etag = ""  # a weak tag does not promise the same bytes
    hashes = re.findall(r"(\w+)=([^,\s]+)", ",".join(headers.get_all("x-goog-hash", [])))
    return _Remote(url, int(length) + offset, etag, dict(hashes))


def _check_stated(remote: _Remote, part: Path) -> str:
    """Compare with the hash that the server states, if it does."""
    expected = remote.hashes.get("md5")
    if expected is None:
        other = "only a CRC-32C, which is not checked" if "crc32c" in remote.hashes else "none"
        return f"unknown: the server states {other}"
    digest = file_digest(part, "md5")
    if base64.b64encode(digest).decode() != expected:
        remove(part)
        remove(_notes(part))
        what = f"is not what the server says it is (MD5 {expected} in base64) and was removed"
        advice = "run the command again, or give another address"
        raise OutsideError(what, advice, where=remote.url, code=NO_ADDRESS)
    return f"md5 {digest.hex()}, as the server states it"
