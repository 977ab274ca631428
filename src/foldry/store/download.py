"""HTTP downloads that resume after an interruption and get their final name when complete.

A download of gigabytes fails often and must not begin again each time, but the file on the server
may change between two attempts, and two halves of different files are worse than no file. So the
server's description of the file (address, ETag, size) is kept beside the part that has arrived. The
next attempt asks for the rest with `If-Range`, which makes a server send the whole file if its ETag
has changed. The answer's size and range are compared with the notes before a byte is appended.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from typing import Final, cast

from foldry.errors import DiskFullError, InputError, OutsideError, quoted, reason
from foldry.store.files import remove, write_text, writing
from foldry.store.hashes import file_digest, file_sha256

PAUSES: Final = (1.0, 2.0, 5.0, 10.0)
"""Seconds to wait before each further attempt after a failed connection."""
TIMEOUT: Final = 60.0
CHUNK: Final = 1 << 20
NO_ADDRESS: Final = "download_address"
"""Code of errors that a different address may avoid."""
_AGAIN: Final = "check the network connection and run the same command again to resume"
_ANOTHER: Final = "check the address, or give another"

_HEADERS: Final = {"User-Agent": "foldry", "Accept-Encoding": "identity"}

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the number of bytes that have arrived and the size of the file."""


class _BrokenError(Exception):
    """The transfer failed, but another attempt may succeed."""


@dataclass(frozen=True)
class Remote:
    """A server's description of a file; only Google's servers send hashes, in base64."""

    url: str
    size: int
    etag: str
    hashes: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def md5(self) -> str | None:
        """The MD5 in hexadecimal, if the server states a usable one."""
        with suppress(ValueError):
            digest = base64.b64decode(self.hashes.get("md5", ""), validate=True)
            return digest.hex() if len(digest) == 16 else None
        return None


def check_address(url: str) -> None:
    """Check that a text is the address of a file.

    Raises:
        InputError: It is not an http or https address.
    """
    if not re.fullmatch(r"https?://[!-~]+", url):
        what = f"{quoted(url)} is not an address"
        raise InputError(what, "give one such as https://example.org/archive.tar")


def check_digest(digest: str | None) -> None:
    """Check that a digest is a SHA-256 or None.

    Raises:
        InputError: It is not 64 hexadecimal digits.
    """
    if digest is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise InputError(f"{quoted(digest)} is not a SHA-256", "give 64 hexadecimal digits")


def check_space(folder: Path, needed: int) -> None:
    """Check that a folder's disk has `needed` bytes of free space.

    Raises:
        DiskFullError: The disk has less space.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        what = f"has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed"
        raise DiskFullError(what, "free some, or choose another folder", where=folder)


def check_sha256(path: Path, expected: str | None) -> str:
    """Compare a file with its hash and return a description of the hash; "" if it is None.

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
    """Return the path of an unfinished download."""
    return path.with_name(path.name + ".part")


def fetch(
    url: str,
    path: Path,
    *,
    max_bytes: int,
    sha256: str | None = None,
    md5: str | None = None,
    spare: int = 0,
    progress: Progress | None = None,
) -> str:
    """Download a file, or resume an earlier attempt.

    The bytes that have arrived are in `<path>.part`, the server's description of the file in
    `<path>.part.json`. The file gets its name when it is complete and matches every known hash. The
    caller must hold the folder: only one process at a time may fetch a file.

    Args:
        url: An http or https address.
        path: The file to write.
        max_bytes: Maximum size; a larger file is refused.
        sha256: The file's hash, if known; a wrong one keeps the bytes, as it may be mistyped.
        md5: The hash that the file's publisher states, in hexadecimal, if known.
        spare: Bytes that must remain free on the disk.
        progress: Called after every megabyte.

    Returns:
        The hash that the file was compared with, or `unknown` with the reason.

    Raises:
        InputError: The address or the hash is wrong.
        DiskFullError: The disk is too small.
        OutsideError: The network or the server failed; what has arrived is kept.
    """
    check_address(url)
    check_digest(sha256)
    part = part_of(path)
    for attempt, pause in enumerate((*PAUSES, None), start=2):
        try:
            remote = _receive(url, part, max_bytes, spare, progress)
            break
        except _BrokenError as error:
            # If nothing has arrived yet, waiting will not help.
            if pause is None or not part.exists():
                raise _not_fetched(url, error) from error
            logger.info("Download failed (%s): attempt %d of %d.", error, attempt, len(PAUSES) + 1)
            time.sleep(pause)
    checksum = check_sha256(part, sha256) or _check_stated(remote, part, md5)
    part.replace(path)
    remove(_notes(part))
    return checksum


def ask(url: str, max_bytes: int) -> Remote:
    """Return a server's description of a file, without fetching it.

    Raises:
        InputError: The address is wrong.
        OutsideError: The network or the server failed, or the file is larger than `max_bytes`.
    """
    check_address(url)
    try:
        with _open(url, _HEADERS, "HEAD") as response:
            return _read_headers(url, response, 0, max_bytes)
    except _BrokenError as error:
        raise _not_fetched(url, error) from error


def read_address(url: str, max_bytes: int) -> bytes:
    """Return the content of a small file, cut off at `max_bytes`.

    Raises:
        InputError: The address is wrong.
        OutsideError: The network or the server failed.
    """
    check_address(url)
    try:
        data = b""
        with _open(url, _HEADERS) as response:
            for chunk in _chunks(response):
                data += chunk
                if len(data) >= max_bytes:
                    break
        return data[:max_bytes]
    except _BrokenError as error:
        raise _not_fetched(url, error) from error


def _not_fetched(url: str, error: _BrokenError) -> OutsideError:
    return OutsideError(f"could not be fetched ({error})", _AGAIN, where=url, code=NO_ADDRESS)


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _receive(url: str, part: Path, max_bytes: int, spare: int, progress: Progress | None) -> Remote:
    """Make one attempt; afterwards `part` holds the whole file, or what has arrived."""
    begun = _begun(url, part)
    headers, offset = dict(_HEADERS), 0
    if begun is not None:
        # The last byte is fetched again, because a complete file has no rest to send.
        offset = max(part.stat().st_size - 1, 0)
        headers |= {"Range": f"bytes={offset}-", "If-Range": begun.etag}
    with _open(url, headers) as response:
        if response.status != 206:
            offset = 0
        remote = _read_headers(url, response, offset, max_bytes)
        rest = f"bytes {offset}-{remote.size - 1}/{remote.size}"
        if offset and (remote != begun or response.headers.get("Content-Range") != rest):
            remove(part)
            what = "has changed since the download began; the part already fetched was removed"
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


def _begun(url: str, part: Path) -> Remote | None:
    """Return the notes of an earlier attempt, or None if it cannot be resumed."""
    try:
        notes = json.loads(_notes(part).read_text())
        begun = Remote(notes["url"], int(notes["size"]), notes["etag"])
        resumable = begun.url == url and begun.etag and 0 < part.stat().st_size <= begun.size
        return begun if resumable else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _open(url: str, headers: dict[str, str], method: str = "GET") -> HTTPResponse:
    """Return the server's answer.

    Raises:
        _BrokenError: The connection or the server failed for now.
        OutsideError: The server refuses, or redirects to an address that is not encrypted.
    """
    try:
        request = urllib.request.Request(url, headers=headers, method=method)
        response = cast(HTTPResponse, urllib.request.urlopen(request, timeout=TIMEOUT))
    except urllib.error.HTTPError as error:
        with error:
            what = f"the server answers {error.code} {error.reason}"
            if error.code >= 500 or error.code in (408, 429):
                raise _BrokenError(what) from error
            raise OutsideError(f"{what} for {url}", _ANOTHER, code=NO_ADDRESS) from error
    except (InvalidURL, ValueError) as error:
        raise InputError(f"{quoted(url)} is not an address ({reason(error)})") from error
    except (OSError, HTTPException) as error:
        raise _BrokenError(why(error)) from error
    if url.startswith("https:") and not response.url.startswith("https:"):
        response.close()
        what = f"redirects to {response.url}, which is not encrypted"
        raise OutsideError(what, _ANOTHER, where=url, code=NO_ADDRESS)
    return response


def why(error: Exception) -> str:
    """Return why a connection failed, as part of a sentence."""
    cause = getattr(error, "reason", None)
    known = cause if isinstance(cause, BaseException) else error
    if isinstance(known, socket.gaierror):
        return "the server was not found"
    return getattr(known, "strerror", None) or reason(known)


def _read_headers(url: str, response: HTTPResponse, offset: int, max_bytes: int) -> Remote:
    headers = response.headers
    if headers.get_content_type() == "text/html":
        raise OutsideError("is a web page, not the file", _ANOTHER, where=url, code=NO_ADDRESS)
    length = headers.get("Content-Length", "")
    if not length.isdecimal() or not 0 < int(length) + offset <= max_bytes:
        what = f"cannot have the size that its server states ({length or 'none'})"
        raise OutsideError(what, _ANOTHER, where=url, code=NO_ADDRESS)
    etag = headers.get("ETag", "")
    if not etag.startswith('"'):
        etag = ""  # a weak tag does not guarantee the same bytes
    hashes = re.findall(r"(\w+)=([^,\s]+)", ",".join(headers.get_all("x-goog-hash", [])))
    return Remote(url, int(length) + offset, etag, dict(hashes))


def _check_stated(remote: Remote, part: Path, md5: str | None) -> str:
    """Compare a file with the publisher's or the server's hash, and return a description of it."""
    expected, publisher = (md5, "publisher") if md5 else (remote.md5, "server")
    if expected is None:
        other = "only a CRC-32C, which is not checked" if "crc32c" in remote.hashes else "none"
        return f"unknown: the server states {other}"
    found = file_digest(part, "md5").hex()
    if found != expected.lower():
        remove(part)
        remove(_notes(part))
        what = f"does not have the MD5 that its {publisher} states ({expected}) and was removed"
        advice = "run the command again, or give another address"
        raise OutsideError(what, advice, where=remote.url, code=NO_ADDRESS)
    return f"md5 {found}, as the {publisher} states it"
